from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.models.bundle import BundleFiles, make_bundle

    given = snakemake.input
    make_bundle(
        BundleFiles(given.weights, given.calibration, given.history, given.card, given.motifs, given.metrics),
        snakemake.output.bundle,
        snakemake.wildcards.model,
        comparators=snakemake.params.comparators,
        species=snakemake.params.species,
        licence=snakemake.params.licence,
        training_data=snakemake.params.training_data,
        extends=given.extends or None,
    )
