from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.qualitytable import quality_table

    given = snakemake.input
    quality_table(snakemake.params.samples, given.cells, given.profiles, snakemake.output.table)
