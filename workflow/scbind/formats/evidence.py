"""On which evidence the prediction of a TF is based: ChIP-seq, or only its motif."""

from __future__ import annotations

from collections.abc import Collection, Mapping

CHIP = "chip"  # the TF was assayed by ChIP-seq in a training line
MOTIF = "motif"  # only its motif matrix is known; the network predicts it with the weights that all TFs share
DESCRIBED = "evidence", "motif_group"  # columns that tables of results have beside the reliability of a TF


def evidence(facts: Mapping) -> list[str]:
    """Evidence of each TF of a model, in the order of ``tfs``; ``chip`` for all in models of older versions."""
    return facts.get("evidence", [CHIP] * len(facts["tfs"]))


def assayed_tfs(facts: Mapping) -> list[str]:
    """TFs of a model that have ChIP-seq in its training data. ``facts`` are those of the model."""
    return [tf for tf, kind in zip(facts["tfs"], evidence(facts), strict=True) if kind == CHIP]


def names_of_extended(facts: Mapping) -> dict[str, str]:
    """TF of the model that a model extends -> its name in this one, which may be spelled as in the dataset.

    Empty if the model extends none.

    Examples
    --------
    >>> names_of_extended({"tfs": ["Ctcf", "SPI1", "MYTF"], "extends": {"tfs": ["CTCF", "SPI1"]}})
    {'CTCF': 'Ctcf', 'SPI1': 'SPI1'}
    """
    return dict(zip(facts.get("extends", {}).get("tfs", []), facts["tfs"], strict=False))


def marked(tf: str, by_motif: bool) -> str:
    """Return the name of a TF as it is displayed: with a mark if the TF has no ChIP-seq."""
    return f"{tf} (motif)" if by_motif else tf


def shared_motifs(groups: Mapping[str, str], by_motif: Collection[str]) -> list[list[str]]:
    """Return the TFs of each group whose motifs cannot be distinguished, if one of them has no ChIP-seq.

    ``groups``: TF -> ``motif_group``; ``by_motif``: TFs without ChIP-seq.

    Examples
    --------
    >>> shared_motifs({"JUN": "JUN", "JUND": "JUN", "ELF1": "ELF1", "ELF2": "ELF1", "TCF7": "TCF7"}, ["JUND", "TCF7"])
    [['JUN', 'JUND']]
    """
    found: dict[str, list[str]] = {}
    for tf, group in groups.items():
        found.setdefault(group, []).append(tf)
    return [tfs for tfs in found.values() if len(tfs) > 1 and not set(by_motif).isdisjoint(tfs)]
