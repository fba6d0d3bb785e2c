from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.evaluation.merge import merge_metrics

    given = snakemake.input
    merge_metrics([*given.models, given.baselines, *given.oracle, *given.published], snakemake.output.metrics)
