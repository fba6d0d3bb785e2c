from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.binding.choice import choose_windows

    choose_windows(
        snakemake.input.peaks,
        snakemake.params.reference,
        snakemake.input.exclude,
        snakemake.output.windows,
        **snakemake.params.geometry,
    )
