from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.expression import tf_expression

    tf_expression(
        list(snakemake.input.activity),
        list(snakemake.input.rna),
        snakemake.output.table,
        min_cells=snakemake.params.min_cells,
        taxon=snakemake.params.taxon,
    )
