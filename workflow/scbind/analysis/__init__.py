"""Answers from binding and activity: differential TFs, populations, targets, motifs."""
