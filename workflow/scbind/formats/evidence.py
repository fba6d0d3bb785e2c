"""What the prediction of a TF rests on."""

from __future__ import annotations

CHIP = "chip"  # the TF was assayed by ChIP-seq in a training line
MOTIF = "motif"  # only its motif matrix is known; the network predicts it through what all TFs share
DESCRIBED = "evidence", "motif_group"  # columns that tables of results have beside the reliability of a TF
