from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.activitymethods import compare_activity

    given = snakemake.input
    compare_activity(
        snakemake.params.samples,
        given.activity,
        given.chromvar,
        snakemake.output.table,
        snakemake.output.separation,
        seed=snakemake.params.seed,
    )
