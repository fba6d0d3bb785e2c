from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.differential import differential_tfs

    differential_tfs(
        list(snakemake.input.activity),
        snakemake.output.table,
        min_cells=snakemake.params.min_cells,
        lenders=list(snakemake.input.lenders),
    )
