from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.umap import embed_umap

    embed_umap(snakemake.input.embedding, snakemake.output.umap, snakemake.params.seed)
