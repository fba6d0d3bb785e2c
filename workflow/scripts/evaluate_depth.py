from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.evaluation.depth import evaluate_depth

    evaluate_depth(
        snakemake.input.weights,
        snakemake.input.calibration,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.depth,
        model=snakemake.wildcards.model,
        keeps=snakemake.params.depths,
        max_windows=snakemake.params.max_windows,
        seed=snakemake.params.seed,
        given=snakemake.params.given,
        case_matters=snakemake.params.case_matters,
        threads=snakemake.threads,
    )
