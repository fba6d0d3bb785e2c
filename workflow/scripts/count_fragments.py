from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.count import count_fragments

    count_fragments(
        snakemake.input.fragments,
        snakemake.input.sizes,
        snakemake.output.position,
        snakemake.output.cell,
        snakemake.output.barcodes,
        snakemake.output.profile,
        min_fragments=snakemake.params.min_fragments,
        barcodes=snakemake.input.barcodes or None,
        genes=snakemake.input.genes or None,
        sample=snakemake.wildcards.sample,
        reference=snakemake.params.reference,
    )
