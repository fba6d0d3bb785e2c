from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.variants import VariantOptions, variant_effects

    given = snakemake.input
    files = zip(given.position, given.cell, given.cells, strict=True)
    samples = [dict(zip(("position", "cell", "cells"), each, strict=True)) for each in files]
    variant_effects(
        given.variants,
        dict(zip(snakemake.params.samples, samples, strict=True)),
        given.weights,
        given.calibration,
        snakemake.params.reference,
        snakemake.output.table,
        snakemake.output.strongest,
        VariantOptions(**snakemake.params.options),
    )
