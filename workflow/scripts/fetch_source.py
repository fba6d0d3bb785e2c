from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.plan.fetch import fetch

    row = snakemake.params.row
    fetch(
        row["url"],
        snakemake.output.file,
        sha256=row["sha256"],
        md5=row["md5"],
        size=row["size"],
        place=row["place"],
        asked=snakemake.params.asked,
        timeout=snakemake.params.timeout,
    )
