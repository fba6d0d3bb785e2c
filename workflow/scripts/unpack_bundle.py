from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.models.unpack import unpack_bundle

    added = snakemake.params.motif_tfs
    unpack_bundle(
        snakemake.input.bundle,
        snakemake.params.folder,
        snakemake.wildcards.model,
        window=snakemake.params.window,
        context=snakemake.params.context,
        metrics=snakemake.output.metrics,
        evaluation=snakemake.output.evaluation,
        motif_tfs=added and {**added, "path": snakemake.input.matrices or None},
    )
