from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.cells.lenders import find_lenders

    find_lenders(
        snakemake.input.cells,
        snakemake.output.lenders,
        target_fragments=snakemake.params.borrow_fragments,
        max_neighbours=snakemake.params.max_neighbours,
        weights=snakemake.params.weights,
    )
