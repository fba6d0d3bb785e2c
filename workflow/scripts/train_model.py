from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.models.training import train

    train(
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.checkpoint,
        snakemake.output.history,
        snakemake.params.scratch,
        motifs=snakemake.input.motifs or None,
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
        code=snakemake.params.code,
        **snakemake.params.hyper,
    )
