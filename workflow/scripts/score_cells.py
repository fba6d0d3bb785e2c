from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.demo.truth import ScoredFiles, ScoreOptions, score_cells

    given, params = snakemake.input, snakemake.params
    kinds = ("binding", "truth", "position", "cell", "cells", "windows")
    networks = zip(given.checkpoints, given.calibrations, strict=True)
    score_cells(
        ScoredFiles(*(given[kind] for kind in kinds), reference=params.reference),
        snakemake.output.table,
        ScoreOptions(**params.options),
        networks=dict(zip(params.networks, networks, strict=True)),
        threads=snakemake.threads,
    )
