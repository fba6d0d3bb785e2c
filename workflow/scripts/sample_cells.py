from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.lenders import sample_cells

    sample_cells(snakemake.input.embedding, snakemake.wildcards.sample, snakemake.output.embedding)
