from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.reference.prepare import prepare_reference

    prepare_reference(
        snakemake.input.fasta,
        snakemake.output.fasta,
        snakemake.output.sizes,
        snakemake.output.codes,
        snakemake.output.exclude,
        exclude=snakemake.input.exclude or None,
        chrom_sizes=snakemake.input.chrom_sizes or None,
    )
