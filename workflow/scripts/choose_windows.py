from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.choice import choose_windows
    from scbind.formats.geometry import Geometry

    choose_windows(
        snakemake.input.peaks,
        snakemake.params.reference,
        snakemake.input.exclude,
        snakemake.output.windows,
        Geometry(**snakemake.params.geometry),
    )
