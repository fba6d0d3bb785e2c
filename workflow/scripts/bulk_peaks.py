from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.macs3 import call_track_peaks

    call_track_peaks(
        snakemake.input.bigwig,
        snakemake.input.sizes,
        snakemake.output.peaks,
        qvalue=snakemake.params.qvalue,
        extsize=snakemake.params.extsize,
        regions=snakemake.input.facts,
    )
