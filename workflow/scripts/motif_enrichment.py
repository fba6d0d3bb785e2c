from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.enrichment import motif_enrichment

    motif_enrichment(
        list(snakemake.input.binding),
        list(snakemake.input.cells),
        snakemake.input.windows,
        snakemake.params.reference,
        snakemake.input.motifs,
        snakemake.output.table,
        min_cells=snakemake.params.min_cells,
        best=snakemake.output.sites,
        **snakemake.params.options,
    )
