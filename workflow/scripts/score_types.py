from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.demo.typescores import score_types

    score_types(
        snakemake.input.activity,
        snakemake.input.cells,
        snakemake.input.truth,
        snakemake.output.table,
        seed=snakemake.params.seed,
        chromvar=snakemake.input.chromvar or None,
    )
