from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.evaluation.baselines import evaluate_baselines

    evaluate_baselines(
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.input.motifs,
        snakemake.output.metrics,
        snakemake.output.depth,
        dict(zip(snakemake.params.names, snakemake.output.curves, strict=True)),
        keeps=snakemake.params.depths,
        max_windows=snakemake.params.max_windows,
        depth_seed=snakemake.params.seed,
        threads=snakemake.threads,
        test_windows=snakemake.params.test_windows,
        given=snakemake.input.given,
    )
