from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.report.card import write_card

    write_card(
        snakemake.input.weights,
        snakemake.input.calibration,
        snakemake.input.metrics,
        snakemake.output.card,
        training=snakemake.params.training,
        comparison=snakemake.input.comparison,
        left_out=snakemake.input.left_out or None,
        found=snakemake.input.found or None,
        learned=snakemake.input.learned or None,
        start=snakemake.params.start,
    )
