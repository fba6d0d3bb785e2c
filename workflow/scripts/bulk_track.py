from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.bulk.tracks import insertion_track

    output = snakemake.output
    insertion_track(
        snakemake.params.tracks, snakemake.input.sizes, output.bigwig, output.facts, output.fragments
    )
