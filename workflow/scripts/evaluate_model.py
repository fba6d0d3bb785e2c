from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.core.devices import prediction_device
    from scbind.evaluation.evaluate import evaluate_model

    evaluate_model(
        snakemake.input.weights,
        snakemake.input.calibration,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.metrics,
        snakemake.output.curves,
        model=snakemake.wildcards.model,
        max_windows=snakemake.params.max_windows,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        given=snakemake.params.given,
        case_matters=snakemake.params.case_matters,
        device=prediction_device(snakemake.resources.gpu),
    )
