from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.tracks import insertion_track

    output = snakemake.output
    insertion_track(
        snakemake.params.tracks, snakemake.input.sizes, output.bigwig, output.facts, output.fragments
    )
