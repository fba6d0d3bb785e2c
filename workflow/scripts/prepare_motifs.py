from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.formats.motiffiles import prepare_motifs

    prepare_motifs(
        snakemake.params.tfs,
        snakemake.output.motifs,
        release=snakemake.params.release,
        taxon=snakemake.params.taxon,
        path=snakemake.input.matrices or None,
        aliases=snakemake.params.aliases,
    )
