from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.abundance import abundance

    abundance(list(snakemake.input.cells), snakemake.input.populations, snakemake.output.table)
