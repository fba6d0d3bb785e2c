from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    from scbind.dataset.build import LineFiles, build_dataset
    from scbind.formats.bundlefile import read_about
    from scbind.formats.geometry import Geometry

    given = snakemake.input
    extended = {path: read_about(path) for path in given.extends}
    files = map(LineFiles, given.tracks, given.peaks, given.facts, given.fragments)
    relaxed = iter(given.relaxed)
    chip = [
        {"cell_line": line, "tf": tf, "path": path, "relaxed": next(relaxed) if has_relaxed else None}
        for (line, tf, has_relaxed), path in zip(snakemake.params.chip, given.chip, strict=True)
    ]
    build_dataset(
        snakemake.params.reference,
        dict(zip(snakemake.params.cell_lines, files, strict=True)),
        chip,
        snakemake.params.splits,
        Geometry(**snakemake.params.geometry),
        snakemake.output.folder,
        training=snakemake.params.training,
        given={
            name: json.loads(Path(about).read_text())["facts"]
            for name, about in zip(snakemake.params.given, given.given, strict=True)
        },
        extended={f"{about['name']} of {path}": about["facts"] for path, about in extended.items()},
        experiments=snakemake.params.experiments,
    )
