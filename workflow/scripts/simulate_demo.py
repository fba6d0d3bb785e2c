from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from scbind.demo.simulate import simulate

    simulate(Path(snakemake.output.truth).parent, **snakemake.params.options)
