from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from scbind.dataset.hidden import hidden_tfs
    from scbind.models.training import TrainFiles, TrainOptions, train

    files = TrainFiles(
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.weights,
        snakemake.output.history,
        # as in train_model
        Path(snakemake.output.weights).with_name("scratch"),
        snakemake.input.motifs or None,
        snakemake.input.known,
    )
    fold = int(snakemake.wildcards.fold)
    hidden = hidden_tfs(snakemake.input.known, fold, snakemake.params.folds, snakemake.params.seed)
    train(
        files,
        TrainOptions(**snakemake.params.options),
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
        require_gpu=bool(snakemake.resources.require_gpu),
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
        hidden=hidden,
    )
