from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.peaks.coverage import coverage_track

    coverage_track(snakemake.input.fragments, snakemake.input.sizes, snakemake.output.bigwig)
