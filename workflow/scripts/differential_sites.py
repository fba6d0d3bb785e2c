from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.sites import differential_sites

    differential_sites(
        list(snakemake.input.binding),
        list(snakemake.input.cells),
        snakemake.input.windows,
        snakemake.input.sizes,
        snakemake.output.table,
        snakemake.output.counts,
        snakemake.output.bed,
        min_cells=snakemake.params.min_cells,
        **snakemake.params.options,
    )
