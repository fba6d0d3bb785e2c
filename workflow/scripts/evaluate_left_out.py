from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.core.devices import prediction_device
    from scbind.evaluation.leftout import LeftOutFiles, evaluate_left_out

    files = LeftOutFiles(
        snakemake.input.trained,
        snakemake.input.known,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.weights,
        snakemake.output.calibration,
        snakemake.output.metrics,
        snakemake.output.depth,
    )
    evaluate_left_out(
        files,
        snakemake.wildcards.model,
        int(snakemake.wildcards.fold),
        valid_windows=snakemake.params.valid_windows,
        calibration_seed=snakemake.params.calibration_seed,
        test_windows=snakemake.params.test_windows,
        keeps=snakemake.params.keeps,
        depth_windows=snakemake.params.depth_windows,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        device=prediction_device(snakemake.resources.gpu),
    )
