from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.models.bundle import BundleFiles, make_bundle

    given, said = snakemake.input, snakemake.params
    make_bundle(
        BundleFiles(given.weights, given.calibration, given.history, given.card, given.motifs, given.metrics),
        snakemake.output.bundle,
        snakemake.wildcards.model,
        comparators=said.comparators,
        species=said.species,
        licence=said.licence,
        training_data=said.training_data,
    )
