from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.report.logoplot import draw_explained

    draw_explained(snakemake.input.table, snakemake.output.figures)
