from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.analysis.tfactive import tf_active

    tf_active(list(snakemake.input.activity), snakemake.input.expression or None, snakemake.output.matrix)
