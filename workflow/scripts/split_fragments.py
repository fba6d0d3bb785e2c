from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.pseudobulk import split_fragments

    samples = snakemake.params.samples
    split_fragments(
        dict(zip(samples, snakemake.input.fragments, strict=True)),
        dict(zip(samples, snakemake.input.cells, strict=True)),
        snakemake.params.cell_type,
        snakemake.input.sizes,
        snakemake.output.fragments,
    )
