from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.discovery.compared import compare_found

    compare_found(
        snakemake.input.table,
        snakemake.input.candidates,
        snakemake.input.known,
        snakemake.output.table,
        release=snakemake.params.release,
        taxon=snakemake.params.taxon,
        path=snakemake.input.matrices or None,
    )
