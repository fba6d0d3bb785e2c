from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from scbind.report.page import ReportFiles, write_report

    given = snakemake.input
    names = (
        "metrics",
        "depth",
        "methods",
        "separation",
        "left_out",
        "needed",
        "differential",
        "differential_sites",
        "site_counts",
        "populations",
        "population_cells",
        "abundance",
        "targets",
        "links",
        "expression",
        "motifs",
        "sites",
        "variants",
        "explain",
        "found",
        "learned",
    )
    truth = {f"truth_{Path(table).stem}": table for table in given.truth}
    curves = [*given.curves, *given.baseline_curves, *given.oracle_curves]
    files = ReportFiles(
        activity=given.activity,
        cells=given.cells,
        lenders=given.lenders,
        profiles=dict(zip(snakemake.params.samples, given.profiles, strict=True)),
        windows=given.windows,
        tables={name: given[name] for name in names if given[name]} | truth,
        curves=dict(zip([*snakemake.params.tested, *snakemake.params.baselines], curves, strict=True)),
        training=dict(zip(snakemake.params.models, given.training, strict=True)),
        bundle=given.bundle or None,
        extends=given.extends or None,
        applied_to=snakemake.params.applied_to,
        models=snakemake.params.models,
        peaks=dict(zip(snakemake.params.cell_types, given.peaks, strict=True)),
        types=given.types,
        provenance=[*given.cards, *given.provenance],
        matrices=given.matrices,
        found_matrices=given.found_matrices or None,
        weights=given.weights,
        tracks=dict(zip(snakemake.params.cell_lines, given.tracks, strict=True)),
        target=snakemake.params.borrow_fragments,
        smallest_type=snakemake.params.min_cells,
        assay=snakemake.params.assay,
        looser=snakemake.params.looser,
        genes=given.genes or None,
        sizes=given.sizes,
    )
    write_report(snakemake.output.page, files, snakemake.output.figures, snakemake.output.warnings)
