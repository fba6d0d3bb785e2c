from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.targets import tf_targets

    tf_targets(
        list(snakemake.input.binding),
        list(snakemake.input.cells),
        snakemake.input.windows,
        snakemake.input.genes,
        snakemake.input.sizes,
        snakemake.output.table,
        min_cells=snakemake.params.min_cells,
        **snakemake.params.options,
    )
