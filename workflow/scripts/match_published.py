from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.evaluation.published import match_published

    given = snakemake.input
    match_published(snakemake.wildcards.published, [*given.models, given.baselines], snakemake.output.metrics)
