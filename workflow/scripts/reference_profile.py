from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.binding.inference import reference_profile
    from scbind.core.devices import prediction_device

    files = zip(snakemake.input.position, snakemake.input.cell, snakemake.input.cells, strict=True)
    samples = {
        sample: dict(zip(("position", "cell", "cells"), paths, strict=True))
        for sample, paths in zip(snakemake.params.samples, files, strict=True)
    }
    reference_profile(
        snakemake.input.checkpoint,
        snakemake.input.calibration,
        snakemake.input.readout,
        snakemake.input.windows,
        samples,
        snakemake.params.reference,
        snakemake.output.profile,
        draws=snakemake.params.draws,
        seed=snakemake.params.seed,
        device=prediction_device(snakemake.resources.gpu),
        precision=snakemake.params.precision,
    )
