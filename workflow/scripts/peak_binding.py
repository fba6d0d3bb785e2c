from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.peakbinding import peak_binding

    peak_binding(
        list(snakemake.input.binding),
        list(snakemake.input.cells),
        snakemake.input.windows,
        snakemake.input.peaks,
        snakemake.input.sizes,
        snakemake.output.matrix,
        snakemake.output.network,
        min_cells=snakemake.params.min_cells,
        **snakemake.params.options,
    )
