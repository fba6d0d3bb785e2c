"""Calibration and expected reliability of TFs without ChIP-seq.

No window is labelled for them. The assayed TFs stand in: they are predicted on the validation windows through what all
TFs share, without their own weights, as if they had no ChIP-seq.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scbind.formats.evidence import CHIP, MOTIF
from scbind.models.base import build_network
from scbind.models.modelfile import read_model
from scbind.models.motiftfs import assayed_part, evidence, without_own
from scbind.models.predictor import Predictor


def shared_predictor(weights: str | Path) -> Predictor | None:
    """Return the assayed TFs of a model as TFs without ChIP-seq; ``None`` for a model without motif TFs."""
    stored = read_model(weights)
    if MOTIF not in evidence(stored["facts"]):
        return None
    state, facts = assayed_part(stored["state"], stored["facts"], stored["options"])
    network = build_network(facts["architecture"], facts, stored["options"])
    network.load_state_dict(without_own(state))
    return Predictor(network, facts, None)
