from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.models.training import TrainFiles, TrainOptions, train

    files = TrainFiles(
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.checkpoint,
        snakemake.output.history,
        snakemake.params.scratch,
        snakemake.input.motifs or None,
    )
    train(
        files,
        TrainOptions(**snakemake.params.options),
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
    )
