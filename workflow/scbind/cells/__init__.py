"""Single cells: counting, quality, embedding, doublets, names, neighbours, clusters."""
