from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.formats.bundlefile import read_about
    from scbind.formats.evidence import assayed_tfs
    from scbind.formats.motiftfs import choose_motif_tfs

    extends = snakemake.input.extends
    known = assayed_tfs(read_about(extends)["facts"]) if extends else []
    choose_motif_tfs(
        snakemake.params.tfs,
        [*snakemake.params.assayed, *known],
        snakemake.output.chosen,
        release=snakemake.params.release,
        taxon=snakemake.params.taxon,
        path=snakemake.input.matrices or None,
        aliases=snakemake.params.aliases,
    )
