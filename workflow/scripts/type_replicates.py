from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.replicates import CallOptions, make_replicates

    folder = dict(zip(snakemake.params.of_type, snakemake.input.pieces, strict=True))
    make_replicates(
        {
            name: [f"{folder[sample]}/{snakemake.wildcards.slug}.parquet" for sample in samples]
            for name, samples in snakemake.params.samples.items()
        },
        snakemake.input.sizes,
        snakemake.output.replicates,
        snakemake.params.compared,
        CallOptions(**snakemake.params.options),
        threads=snakemake.threads,
    )
