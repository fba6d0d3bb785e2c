from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.binding.activity import activity_matrix

    activity_matrix(
        list(snakemake.input.shards),
        snakemake.input.cells,
        snakemake.output.activity,
        metrics=snakemake.input.metrics,
    )
