from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.dataset.build import build_dataset

    lines, relaxed = snakemake.params.cell_lines, iter(snakemake.input.relaxed)
    chip = [
        {"cell_line": line, "tf": tf, "path": path, "relaxed": next(relaxed) if has_relaxed else None}
        for (line, tf, has_relaxed), path in zip(snakemake.params.chip, snakemake.input.chip, strict=True)
    ]
    build_dataset(
        snakemake.params.reference,
        dict(zip(lines, snakemake.input.tracks, strict=True)),
        dict(zip(lines, snakemake.input.peaks, strict=True)),
        chip,
        snakemake.params.splits,
        snakemake.output.folder,
        **snakemake.params.geometry,
        regions=dict(zip(lines, snakemake.input.facts, strict=True)),
        fragments=dict(zip(lines, snakemake.input.fragments, strict=True)),
    )
