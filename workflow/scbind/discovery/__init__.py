"""Motifs found in the training windows: enriched words, refined to matrices, tested on other windows."""
