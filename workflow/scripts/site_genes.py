from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.sitegenes import site_genes

    site_genes(
        list(snakemake.input.peaks),
        list(snakemake.input.rna),
        snakemake.input.genes,
        snakemake.input.sizes,
        snakemake.output.table,
        snakemake.output.arrays,
        **snakemake.params.options,
    )
