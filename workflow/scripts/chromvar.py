from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.chromvar import chromvar_deviations

    given = snakemake.input
    chromvar_deviations(
        given.peaks,
        given.lenders,
        snakemake.params.reference,
        given.motifs,
        snakemake.output.deviations,
        seed=snakemake.params.seed,
    )
