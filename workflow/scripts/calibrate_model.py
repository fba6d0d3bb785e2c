from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.models.calibration import calibrate

    calibrate(
        snakemake.input.weights,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.calibration,
        max_windows=snakemake.params.max_windows,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        extends=snakemake.input.extends or None,
    )
