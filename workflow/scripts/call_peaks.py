from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.macs3 import call_fragment_peaks

    call_fragment_peaks(
        snakemake.input.fragments,
        snakemake.input.sizes,
        snakemake.output.peaks,
        qvalue=snakemake.params.qvalue,
        extsize=snakemake.params.extsize,
        max_fragments=snakemake.params.max_fragments,
    )
