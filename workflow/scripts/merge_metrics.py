from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.evaluation import merge_metrics

    merge_metrics([*snakemake.input.models, snakemake.input.baselines], snakemake.output.metrics)
