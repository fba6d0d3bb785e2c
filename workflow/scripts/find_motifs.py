from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.discovery.find import FoundFiles, find_motifs

    find_motifs(
        FoundFiles(
            snakemake.input.dataset,
            snakemake.params.reference,
            snakemake.input.known,
            snakemake.output.found,
            snakemake.output.known_or_found,
            snakemake.output.candidates,
            snakemake.output.table,
        ),
        snakemake.params.windows,
        snakemake.params.seed,
    )
