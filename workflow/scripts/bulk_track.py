from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.tracks import insertion_track

    insertion_track(
        snakemake.params.tracks, snakemake.input.sizes, snakemake.output.bigwig, snakemake.output.facts
    )
