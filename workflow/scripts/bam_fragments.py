from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.frombam import bam_to_fragments
    from scbind.formats.genome import ChromSizes

    bam_to_fragments(
        snakemake.input.bam,
        snakemake.output.fragments,
        ChromSizes.read(snakemake.input.sizes),
        barcode_tag=snakemake.params.barcode_tag,
    )
