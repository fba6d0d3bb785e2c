from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.report.loci import LociFiles, write_loci

    given = snakemake.input
    types = snakemake.params.types
    files = LociFiles(
        genome=snakemake.params.genome,
        fasta=given.fasta,
        sizes=given.sizes,
        tracks=dict(zip(snakemake.params.samples, given.tracks, strict=True)),
        types=dict(zip(types, snakemake.params.slugs, strict=True)),
        all_types=snakemake.params.all_types,
        coverage=dict(zip(types, given.coverage, strict=True)),
        consensus=given.consensus,
        sites=given.sites,
        differential=given.differential,
        genes=given.genes or None,
    )
    write_loci(files, snakemake.output[0])
