from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.pooling import split_sample

    split_sample(
        snakemake.input.fragments,
        snakemake.input.cells,
        snakemake.input.table,
        snakemake.input.sizes,
        snakemake.output.pieces,
    )
