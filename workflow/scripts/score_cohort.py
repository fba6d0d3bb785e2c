from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.demo.cohortscore import CohortResults, score_cohort

    given = snakemake.input
    score_cohort(
        CohortResults(
            cells=list(given.cells),
            populations=given.populations,
            population_cells=given.population_cells,
            abundance=given.abundance,
            links=given.links or None,
            regulation=list(given.regulation),
            sites=given.sites or None,
        ),
        given.truth,
        snakemake.output.links,
        snakemake.output.populations,
    )
