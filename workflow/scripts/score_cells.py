from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.demo.truth import score_cells

    score_cells(
        snakemake.input.binding,
        snakemake.input.truth,
        snakemake.input.position,
        snakemake.input.cell,
        snakemake.input.cells,
        snakemake.input.windows,
        snakemake.params.reference,
        snakemake.output.table,
        snakemake.params.held_out,
        max_cells=snakemake.params.max_cells,
        seed=snakemake.params.seed,
        model=snakemake.params.model,
        networks=dict(
            zip(
                snakemake.params.networks,
                zip(snakemake.input.checkpoints, snakemake.input.calibrations, strict=True),
                strict=True,
            )
        ),
        network_cells=snakemake.params.network_cells,
        threads=snakemake.threads,
    )
