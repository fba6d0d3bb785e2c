from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.formats.motiftfs import choose_motif_tfs

    choose_motif_tfs(
        snakemake.params.tfs,
        snakemake.params.assayed,
        snakemake.output.chosen,
        release=snakemake.params.release,
        taxon=snakemake.params.taxon,
        path=snakemake.input.matrices or None,
        aliases=snakemake.params.aliases,
        extends=snakemake.input.extends or None,
    )
