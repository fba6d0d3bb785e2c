from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.calibration import calibrate

    calibrate(
        snakemake.input.checkpoint,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.calibration,
        threads=snakemake.threads,
    )
