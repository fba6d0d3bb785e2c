from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.pseudobulk import list_cell_types

    list_cell_types(
        dict(zip(snakemake.params.samples, snakemake.input.cells, strict=True)),
        snakemake.output.table,
        snakemake.output.pseudobulks,
        groups=snakemake.params.groups,
        donors=snakemake.params.donors,
        min_cells=snakemake.params.min_cells,
        min_fragments=snakemake.params.min_fragments,
        small_types=snakemake.params.small_types,
    )
