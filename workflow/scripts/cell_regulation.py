from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.regulation import cell_regulation

    cell_regulation(
        snakemake.input.binding,
        snakemake.input.windows,
        snakemake.input.sites,
        snakemake.input.links,
        snakemake.input.active,
        snakemake.output.matrix,
        **snakemake.params.options,
    )
