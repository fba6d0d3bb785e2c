from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.plan.versions import record_versions

    record_versions(snakemake.output.versions)
