from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.peaks import call_pseudobulk_peaks

    call_pseudobulk_peaks(
        snakemake.input.fragments,
        list(snakemake.input.fallback),
        snakemake.input.sizes,
        snakemake.output.peaks,
        snakemake.output.status,
        qvalue=snakemake.params.qvalue,
        extsize=snakemake.params.extsize,
        min_cells=snakemake.params.min_cells,
        min_fragments=snakemake.params.min_fragments,
    )
