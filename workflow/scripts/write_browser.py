from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.report.browser import BrowserFiles, write_browser

    given = snakemake.input
    types = snakemake.params.types
    files = BrowserFiles(
        genome=snakemake.params.genome,
        fasta=given.fasta,
        tracks=dict(zip(snakemake.params.samples, given.tracks, strict=True)),
        types=dict(zip(types, snakemake.params.slugs, strict=True)),
        all_types=snakemake.params.all_types,
        coverage=dict(zip(types, given.coverage, strict=True)),
        peaks=dict(zip(types, given.peaks, strict=True)),
        consensus=given.consensus,
        genes=given.genes or None,
        differential=given.differential,
        sites=given.sites or None,
    )
    write_browser(files, snakemake.output.session, snakemake.output.hub)
