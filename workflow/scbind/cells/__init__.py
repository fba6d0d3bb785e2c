"""Single cells: counting, quality control, embedding, doublets, cell types, neighbours, clusters."""
