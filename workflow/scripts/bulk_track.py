from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.bulk.tracks import insertion_track

    output = snakemake.output
    rows = zip(snakemake.params.tracks, snakemake.input.tracks, strict=True)
    tracks = [row | {"path": path} for row, path in rows]
    insertion_track(tracks, snakemake.input.sizes, output.bigwig, output.facts, output.fragments)
