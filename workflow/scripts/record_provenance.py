from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.provenance import record

    record(
        snakemake.params.config,
        snakemake.params.sheets,
        snakemake.input,
        *snakemake.output,
    )
