from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.consensus import consensus_peaks

    consensus_peaks(
        [*snakemake.input.types, *snakemake.input.samples],
        snakemake.input.sizes,
        snakemake.input.exclude,
        snakemake.output.peaks,
        width=snakemake.params.width,
    )
