from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.splitting import split_sample

    split_sample(
        snakemake.input.fragments,
        snakemake.input.cells,
        snakemake.input.table,
        snakemake.input.sizes,
        snakemake.output.pieces,
    )
