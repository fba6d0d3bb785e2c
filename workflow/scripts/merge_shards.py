from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.merging import merge_shards

    merge_shards(
        list(snakemake.input.shards),
        snakemake.input.windows,
        snakemake.input.cells,
        snakemake.params.reference,
        snakemake.output.binding,
        provenance=snakemake.params.provenance,
    )
