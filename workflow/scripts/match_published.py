from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.evaluation.published import match_published

    match_published(
        snakemake.wildcards.published,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.metrics,
    )
