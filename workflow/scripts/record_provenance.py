from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.plan.provenance import record

    record(
        snakemake.params.config,
        dict(zip(snakemake.params.sheets, snakemake.input.sheets, strict=True)),
        snakemake.params.environments,
        snakemake.input.data,
        *snakemake.output,
    )
