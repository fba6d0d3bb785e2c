from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from scbind.report.page import write_report

    given, models = snakemake.input, list(snakemake.params.models)
    truth = {Path(table).stem: table for table in given.truth}
    write_report(
        snakemake.output.page,
        list(given.activity),
        cells=list(given.cells),
        windows=given.windows,
        metrics=given.metrics,
        curves=dict(
            zip(
                [*models, *snakemake.params.baselines],
                [*given.curves, *given.baseline_curves, *given.oracle_curves],
                strict=True,
            )
        ),
        training=dict(zip(models, given.training, strict=True)),
        models=models,
        depth=given.depth,
        needed=given.needed,
        differential=given.differential,
        populations=given.populations,
        population_cells=given.population_cells,
        targets=given.targets or None,
        motifs=given.motifs or None,
        peaks=dict(zip(snakemake.params.cell_types, given.peaks, strict=True)),
        types=given.types,
        truth_cells=truth.get("cells"),
        truth_types=truth.get("types"),
        figures_dir=snakemake.output.figures,
        provenance=[*given.cards, *given.provenance],
    )
