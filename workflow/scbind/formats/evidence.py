"""On which evidence the prediction of a TF is based: ChIP-seq, or only its motif."""

from __future__ import annotations

CHIP = "chip"  # the TF was assayed by ChIP-seq in a training line
MOTIF = "motif"  # only its motif matrix is known; the network predicts it with the weights that all TFs share
DESCRIBED = "evidence", "motif_group"  # columns that tables of results have beside the reliability of a TF


def marked(tf: str, by_motif: bool) -> str:
    """Return the name of a TF as it is displayed: with a mark if the TF has no ChIP-seq."""
    return f"{tf} (motif)" if by_motif else tf
