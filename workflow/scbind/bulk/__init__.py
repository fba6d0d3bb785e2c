"""Bulk ATAC-seq tracks: ends of fragments, the Tn5 shift, insertions per base."""
