from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.rna import sample_rna

    sample_rna(
        snakemake.input.rna, snakemake.input.cells, snakemake.output.counts, sample=snakemake.wildcards.sample
    )
