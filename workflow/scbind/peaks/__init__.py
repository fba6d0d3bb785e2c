"""Calling peaks, pseudobulks of cell types, and peaks that sets agree on."""
