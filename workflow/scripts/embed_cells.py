from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.embedding import EmbedOptions, embed

    kinds = ("barcodes", "position", "cell", "peaks", "profile")
    files = {kind: snakemake.input[kind] for kind in kinds}
    samples = {
        sample: {kind: files[kind][number] for kind in kinds}
        for number, sample in enumerate(snakemake.params.samples)
    }
    embed(
        samples,
        snakemake.input.sizes,
        snakemake.output.embedding,
        EmbedOptions(**snakemake.params.options),
        group=snakemake.wildcards.group,
        labels=dict(zip(snakemake.params.labelled, snakemake.input.labels, strict=True)) or None,
        exclude=snakemake.input.exclude,
        batches=snakemake.params.batches or None,
    )
