from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.populations import find_populations

    find_populations(
        list(snakemake.input.activity),
        list(snakemake.input.peaks),
        snakemake.output.table,
        cells_output=snakemake.output.cells,
        **snakemake.params.options,
    )
