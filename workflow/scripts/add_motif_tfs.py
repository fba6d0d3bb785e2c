from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.models.motiftfs import add_from_release

    add_from_release(
        snakemake.input.trained,
        snakemake.input.known,
        snakemake.output.weights,
        snakemake.output.motifs,
        snakemake.params.tfs,
        release=snakemake.params.release,
        taxon=snakemake.params.taxon,
        path=snakemake.input.matrices or None,
        aliases=snakemake.params.aliases,
    )
