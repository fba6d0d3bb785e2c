from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.pseudobulk import list_cell_types

    list_cell_types(list(snakemake.input.cells), snakemake.output.table)
