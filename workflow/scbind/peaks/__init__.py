"""Peak calling, pseudobulks of cell types, and consensus peaks."""
