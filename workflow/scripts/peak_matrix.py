from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.core.files import read_rows
    from scbind.peaks.matrix import peak_matrix

    peak_matrix(
        snakemake.input.position,
        snakemake.input.cell,
        snakemake.input.cells,
        snakemake.input.sizes,
        snakemake.input.peaks,
        snakemake.output.matrix,
        annotation=snakemake.input.annotation or None,
        types=[row["cell_type"] for row in read_rows(snakemake.input.types)],
    )
