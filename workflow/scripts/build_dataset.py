from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.dataset.build import build_dataset

    lines = snakemake.params.cell_lines
    build_dataset(
        snakemake.params.reference,
        dict(zip(lines, snakemake.input.tracks, strict=True)),
        dict(zip(lines, snakemake.input.peaks, strict=True)),
        snakemake.params.chip,
        snakemake.params.splits,
        snakemake.output.folder,
        **snakemake.params.geometry,
        regions=dict(zip(lines, snakemake.input.facts, strict=True)),
        fragments=dict(zip(lines, snakemake.input.fragments, strict=True)),
    )
