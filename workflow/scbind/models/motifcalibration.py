"""Calibration and expected reliability of TFs without ChIP-seq.

No window is labelled for them. When a model is calibrated, the assayed TFs stand in: each is added to the network once
more as if it had no ChIP-seq, with its matrix of the motif release, and predicted on the validation windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scbind.formats.evidence import MOTIF, evidence
from scbind.models.abstention import ABSTAIN_GAIN, level_of
from scbind.models.base import build_network
from scbind.models.modelfile import read_model
from scbind.models.motiftfs import as_motif_tfs, assayed_part
from scbind.models.predictor import Predictor

FEWEST = 5  # minimum number of stand-ins of known accuracy; with fewer, no accuracy is expected
# Fraction of the stand-ins that are less accurate than what is assumed for a TF without ChIP-seq.
CAUTION = 0.25
NO_NUMBERS = dict.fromkeys(("auprc_expected", "gain_expected", "min_depth"))  # nothing can be expected


def stand_ins(weights: str | Path) -> Predictor | None:
    """Return the assayed TFs of a model as TFs without ChIP-seq; ``None`` if it was not trained to predict such TFs.

    The predictor has the modelled TFs of the model in the same order, with names of their own.
    """
    stored = read_model(weights)
    if not stored["options"].get("strangers"):
        return None
    state, facts = assayed_part(stored["state"], stored["facts"], stored["options"])
    state, facts = as_motif_tfs(state, facts, stored["options"])
    network = build_network(facts["architecture"], facts, stored["options"])
    network.load_state_dict(state)
    return Predictor(network, facts, None)


def of_any_motif_tf(parameters: np.ndarray, measured: Mapping[str, Mapping]) -> dict:
    """Return what a calibration says of any TF without ChIP-seq that is added to the model.

    ``parameters``, (4,), are fitted to the stand-ins, and ``measured`` is their reliability. The result has
    ``parameters`` and ``reliability`` (:func:`expected_reliability`).
    """
    rounded = [round(float(value), 6) for value in parameters]
    return {"parameters": rounded, "reliability": expected_reliability(measured)}


def add_motif_calibration(stored: dict, facts: dict) -> None:
    """Add the TFs without ChIP-seq of a model to its calibration, and record the evidence of all TFs.

    All of them get what the calibration says of any such TF (:func:`of_any_motif_tf`, under ``motif_tfs``), with
    ``evidence`` ``motif`` and ``motif_group`` (:func:`scbind.formats.motifgroups.motif_groups`). If scbind abstains on
    the assayed TFs whose motif cannot be distinguished from that of a TF, it abstains on this one, too
    (:func:`of_weak_motif`).

    Parameters
    ----------
    stored
        The calibration (:func:`scbind.models.calibration.calibrate`); it is changed.
    facts
        Facts of the whole model.
    """
    known, kinds = stored["reliability"], dict(zip(facts["tfs"], evidence(facts), strict=True))
    new = [tf for tf, kind in kinds.items() if kind == MOTIF and tf not in known]
    if not new:
        return
    stored["tfs"] = [*stored["tfs"], *new]
    groups = dict(zip(facts["tfs"], facts["motif_group"], strict=True))
    alike = facts.get("alike", {})
    for tf in new:
        stored["parameters"][tf] = stored["motif_tfs"]["parameters"]
        weak = of_weak_motif([known[other] for other in alike.get(tf, []) if other in known])
        known[tf] = weak or dict(stored["motif_tfs"]["reliability"])
    for tf in known:
        known[tf] |= {"evidence": kinds[tf], "motif_group": groups[tf]}


def of_weak_motif(assayed: Sequence[Mapping]) -> dict | None:
    """Return the reliability of a TF with the motif of assayed TFs on which scbind abstains; ``None`` otherwise.

    ``assayed``: reliability of the assayed TFs with this motif (:func:`scbind.models.abstention.reliability`). Those of
    level ``unknown`` do not count. scbind must abstain on all others, of which there must be one.
    """
    known = [each for each in assayed if each["level"] != "unknown"]
    if not known or not all(each["abstained"] for each in known):
        return None
    return NO_NUMBERS | {"level": "low", "abstained": True}


def expected_reliability(measured: Mapping[str, Mapping]) -> dict:
    """Return the reliability that a TF without ChIP-seq is expected to have.

    The weights that all TFs share were fitted to the stand-ins, so these are predicted somewhat better than a TF that
    the training did not see.

    The information content of a matrix does not predict how accurate its TF will be: among 29 TFs left out of the
    training on real data, its correlation with AUPRC was -0.2. So the same accuracy is expected of all such TFs.
    The value that all but ``CAUTION`` of the stand-ins exceed decides about the level, and whether scbind abstains.

    Parameters
    ----------
    measured
        Stand-in -> its values of :func:`scbind.models.abstention.reliability`. Those of level ``unknown`` do not count.

    Returns
    -------
    dict
        ``auprc_expected`` and ``gain_expected``: medians of ``auprc_least``, and of its ratio to the prevalence.
        ``level``, ``min_depth`` and ``abstained``: as of an assayed TF. With fewer than ``FEWEST`` stand-ins, the level
        is ``unknown`` and the numbers are ``None``.
    """
    known = [each for each in measured.values() if each["level"] != "unknown"]
    if len(known) < FEWEST:
        return NO_NUMBERS | {"level": "unknown", "abstained": True}
    least = np.array([each["auprc_least"] for each in known])
    gain = least / [each["prevalence"] for each in known]
    depths = [each["min_depth"] for each in known if each["min_depth"] is not None]
    level = level_of(float(np.quantile(least, CAUTION)))
    return {
        "auprc_expected": round(float(np.median(least)), 4),
        "gain_expected": round(float(np.median(gain)), 2),
        "level": level,
        "min_depth": float(np.quantile(depths, 1 - CAUTION)) if level != "low" else None,
        "abstained": level == "low" or float(np.quantile(gain, CAUTION)) < ABSTAIN_GAIN,
    }
