from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.links import tf_links

    tf_links(
        list(snakemake.input.binding),
        list(snakemake.input.cells),
        snakemake.input.windows,
        snakemake.input.genes,
        snakemake.input.sizes,
        snakemake.input.sites,
        snakemake.input.active,
        snakemake.output.table,
        snakemake.output.network,
        min_cells=snakemake.params.min_cells,
        **snakemake.params.options,
    )
