from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.reference.mappability import prepare_mappability

    prepare_mappability(
        snakemake.input.bigwig,
        snakemake.params.reference,
        snakemake.output.mappability,
    )
