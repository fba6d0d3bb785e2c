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
        # A killed training resumes from here. It is not an output, because Snakemake removes outputs of failed jobs.
        Path(snakemake.output.weights).with_name("scratch"),
        snakemake.input.motifs or None,
        snakemake.input.get("released"),
        snakemake.input.get("extends") or None,
    )
    folds, hidden = snakemake.params.get("folds"), ()
    if folds:  # the TFs of one fold are left out
        fold = int(snakemake.wildcards.fold)
        hidden = hidden_tfs(snakemake.input.released, fold, folds, snakemake.params.seed)
    train(
        files,
        TrainOptions(**snakemake.params.options),
        code=snakemake.params.code,
        gpus=snakemake.resources.gpu,
        require_gpu=bool(snakemake.resources.require_gpu),
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
        hidden=hidden,
        case_matters=snakemake.params.get("case_matters", False),
    )
