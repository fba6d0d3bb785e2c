from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.explain import Question, explain_loci

    given = snakemake.input
    files = zip(given.position, given.cell, given.cells, strict=True)
    samples = [dict(zip(("position", "cell", "cells"), each, strict=True)) for each in files]
    explain_loci(
        [Question(**question) for question in snakemake.params.questions],
        dict(zip(snakemake.params.samples, samples, strict=True)),
        given.weights,
        given.calibration,
        snakemake.params.reference,
        snakemake.output.table,
        snakemake.params.min_cells,
    )
