from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.pooling import merge_pieces

    merge_pieces(
        [f"{folder}/{snakemake.wildcards.slug}.parquet" for folder in snakemake.input.pieces],
        snakemake.input.sizes,
        snakemake.output.fragments,
    )
