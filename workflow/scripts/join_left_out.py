from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.evaluation.leftouttable import join_left_out

    given = snakemake.input
    join_left_out(given.folds, given.depths, given.metrics, snakemake.output.table, snakemake.output.depth)
