from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from scbind.demo.cohort import Cohort
    from scbind.demo.simulate_cohort import simulate_cohort

    options = dict(snakemake.params.options)
    simulate_cohort(
        Path(snakemake.output.truth).parent,
        cell_seed=options.pop("cell_seed"),
        cohort=Cohort(**options),
        seed=snakemake.params.seed,
        chromosome_mb=tuple(snakemake.params.chromosome_mb),
    )
