from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.plan.provenance import record

    record(
        snakemake.params.config,
        snakemake.params.sheets,
        snakemake.input,
        *snakemake.output,
    )
