from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.evaluation.merge import merge_depths

    merge_depths(
        [*snakemake.input.models, snakemake.input.baselines],
        snakemake.params.reference,
        snakemake.output.depth,
        snakemake.output.needed,
    )
