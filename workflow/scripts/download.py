from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.plan.fetch import fetch

    fetch(snakemake.params.url, snakemake.output.file, snakemake.params.sha256 or None)
