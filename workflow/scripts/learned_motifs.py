from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.discovery.learned import describe_learned

    describe_learned(
        snakemake.input.weights,
        snakemake.input.motifs,
        snakemake.output.table,
        release=snakemake.params.release,
        taxon=snakemake.params.taxon,
        path=snakemake.input.matrices or None,
    )
