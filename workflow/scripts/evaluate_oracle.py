from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.demo.oracle import evaluate_oracle

    evaluate_oracle(
        snakemake.input.truth,
        snakemake.input.dataset,
        snakemake.params.reference,
        snakemake.output.metrics,
        snakemake.output.curves,
        given=snakemake.input.given,
    )
