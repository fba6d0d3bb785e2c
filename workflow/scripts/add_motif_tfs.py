from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.models.addition import add_chosen

    add_chosen(
        snakemake.input.trained,
        snakemake.input.known,
        snakemake.input.chosen,
        snakemake.output.weights,
        snakemake.output.motifs,
        snakemake.input.extends or None,
    )
