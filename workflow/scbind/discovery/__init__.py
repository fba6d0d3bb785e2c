"""Motifs found in the training windows: enriched words, refined to matrices, tried on other windows."""
