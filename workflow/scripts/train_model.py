from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from scbind.models.training import train

    train(
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.checkpoint,
        snakemake.output.history,
        # A killed training goes on from here. Not an output: Snakemake removes the outputs of failed jobs.
        Path(snakemake.output.checkpoint).with_name("scratch"),
        motifs=snakemake.input.motifs or None,
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
        workers=snakemake.resources.workers,
        code=snakemake.params.code,
        **snakemake.params.hyper,
    )
