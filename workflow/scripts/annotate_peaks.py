from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.annotation import annotate_peaks

    annotate_peaks(
        snakemake.input.peaks,
        snakemake.input.genes,
        snakemake.input.sizes,
        snakemake.output.table,
        promoter=snakemake.params.promoter,
    )
