from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.celltracks import cell_type_tracks

    cell_type_tracks(
        snakemake.input.binding,
        snakemake.input.table,
        snakemake.input.sizes,
        snakemake.output.tracks,
        min_probability=snakemake.params.min_probability,
    )
