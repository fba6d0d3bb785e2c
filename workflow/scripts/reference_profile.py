from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.network import NetworkFiles
    from scbind.binding.referenceprofile import ProfileOptions, reference_profile
    from scbind.core.devices import prediction_device

    given = snakemake.input
    files = zip(given.position, given.cell, given.lenders, strict=True)
    samples = {
        sample: dict(zip(("position", "cell", "cells"), paths, strict=True))
        for sample, paths in zip(snakemake.params.samples, files, strict=True)
    }
    reference_profile(
        NetworkFiles(
            given.weights, given.calibration, given.readout, given.windows, snakemake.params.reference
        ),
        samples,
        snakemake.output.profile,
        ProfileOptions(**snakemake.params.options),
        device=prediction_device(snakemake.resources.gpu),
    )
