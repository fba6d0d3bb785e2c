from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.baselines import evaluate_baselines

    curves = {name: path for name, path in snakemake.output.items() if name != "metrics"}
    evaluate_baselines(
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.input.motifs,
        snakemake.output.metrics,
        curves,
        threads=snakemake.threads,
    )
