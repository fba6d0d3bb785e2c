from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.demo.truth import ScoredFiles, ScoreOptions, score_cells

    given = snakemake.input
    kinds = ("binding", "truth", "position", "cell", "lenders", "windows")
    networks = zip(given.weights, given.calibrations, strict=True)
    score_cells(
        ScoredFiles(*(given[kind] for kind in kinds), reference=snakemake.params.reference),
        snakemake.output.table,
        ScoreOptions(**snakemake.params.options),
        networks=dict(zip(snakemake.params.networks, networks, strict=True)),
        threads=snakemake.threads,
    )
