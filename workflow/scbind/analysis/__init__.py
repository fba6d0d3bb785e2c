"""Analyses of binding and TF activity: differential TFs, populations, target genes, motifs."""
