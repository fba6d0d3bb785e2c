from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.consensus import choose_type_peaks

    given = snakemake.input
    choose_type_peaks(
        given.called or None,
        {name: f"{given.replicates}/{name}/called.narrowPeak" for name in snakemake.params.replicates},
        list(given.samples),
        given.sizes,
        snakemake.output.peaks,
        snakemake.output.status,
        min_replicates=snakemake.params.min_replicates,
        facts=snakemake.params.facts,
    )
