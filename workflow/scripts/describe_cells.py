from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.described import describe_cells

    describe_cells(
        snakemake.input.embedding, snakemake.input.umap, snakemake.output.cells, snakemake.params.metadata
    )
