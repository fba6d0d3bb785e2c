from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.activity import activity_matrix
    from scbind.core.files import read_rows

    activity_matrix(
        list(snakemake.input.shards),
        snakemake.input.cells,
        snakemake.output.activity,
        metrics=snakemake.input.metrics,
        types=[row["cell_type"] for row in read_rows(snakemake.input.types)],
    )
