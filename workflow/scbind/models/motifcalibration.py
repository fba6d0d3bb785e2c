"""Calibration and expected reliability of TFs without ChIP-seq.

No window is labelled for them. The assayed TFs stand in: they are predicted on the validation windows through what all
TFs share, without their own weights, as if they had no ChIP-seq.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scbind.formats.evidence import MOTIF
from scbind.models.abstention import ABSTAIN_GAIN, level_of
from scbind.models.base import build_network
from scbind.models.modelfile import read_model
from scbind.models.motiftfs import assayed_part, evidence, without_own
from scbind.models.predictor import Predictor

PEERS = 7  # stand-ins from which the reliability of a TF without ChIP-seq is expected


def shared_predictor(weights: str | Path) -> Predictor | None:
    """Return the assayed TFs of a model as TFs without ChIP-seq; ``None`` for a model without motif TFs."""
    stored = read_model(weights)
    if MOTIF not in evidence(stored["facts"]):
        return None
    state, facts = assayed_part(stored["state"], stored["facts"], stored["options"])
    network = build_network(facts["architecture"], facts, stored["options"])
    network.load_state_dict(without_own(state))
    return Predictor(network, facts, None)


def add_motif_calibration(stored: dict, facts: dict, parameters: np.ndarray, measured: Mapping) -> None:
    """Add the TFs without ChIP-seq to a calibration, and say of all TFs what they rest on.

    All of them get the same ``parameters``, (4,), fitted to the stand-ins. The reliability of each is expected from
    the ``PEERS`` stand-ins whose matrices have the most similar information content (``measured``: TF -> the values of
    :func:`scbind.models.abstention.reliability`). It has these keys:

    - ``evidence``: ``motif``; the others get ``chip``. ``motif_group``: see :func:`motif_groups`.
    - ``auprc_expected``: median ``auprc_least`` of the peers. It decides ``level`` as ``auprc_least`` of an assayed TF.
    - ``gain_expected``: median of their ``auprc_least`` over their prevalence, which decides ``abstained``.
    - ``min_depth``: the largest of the peers'. ``None`` if the level is unknown or low.

    Parameters
    ----------
    stored
        The calibration of the assayed TFs (:func:`scbind.models.calibration.calibrate`); it is changed.
    facts
        Facts of the whole model.
    """
    known = stored["reliability"]
    kinds = dict(zip(facts["tfs"], evidence(facts), strict=True))
    groups = dict(zip(facts["tfs"], facts["motif_group"], strict=True))
    information = dict(zip(facts["tfs"], facts["information"], strict=True))
    new = [tf for tf, kind in kinds.items() if kind == MOTIF]
    stored["tfs"] = [*stored["tfs"], *new]
    for tf in new:
        stored["parameters"][tf] = [round(float(value), 6) for value in parameters]
        known[tf] = expected_reliability(information[tf], information, measured)
    for tf in known:
        known[tf] |= {"evidence": kinds[tf], "motif_group": groups[tf]}


def expected_reliability(bits: float, information: Mapping[str, float | None], measured: Mapping) -> dict:
    """Reliability of a TF whose matrix has ``bits`` of information, from its peers; see above."""
    usable = [tf for tf in measured if measured[tf]["level"] != "unknown" and information[tf] is not None]
    peers = [measured[tf] for tf in sorted(usable, key=lambda tf: abs(information[tf] - bits))[:PEERS]]
    if len(peers) < PEERS:
        unknown = dict.fromkeys(("auprc_expected", "gain_expected", "min_depth"))
        return unknown | {"level": "unknown", "abstained": True}
    least = float(np.median([peer["auprc_least"] for peer in peers]))
    gain = float(np.median([peer["auprc_least"] / peer["prevalence"] for peer in peers]))
    level = level_of(least)
    depths = [peer["min_depth"] for peer in peers if peer["min_depth"] is not None]
    return {
        "auprc_expected": round(least, 4),
        "gain_expected": round(gain, 2),
        "level": level,
        "min_depth": max(depths) if depths and level != "low" else None,
        "abstained": level == "low" or gain < ABSTAIN_GAIN,
    }
