"""A training that starts from the weights that all TFs share, of a model that was trained elsewhere.

A model of few TFs has few bound windows, from which it has to learn how a match and the openness of a window become a
probability. A pretrained model knows this from other TFs. Its network must have been trained with ``strangers``
(:mod:`scbind.models.sharedway`), so that its shared weights alone predict a TF that it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scbind.core.errors import InputError
from scbind.formats.bundlefile import AGAIN, WEIGHTS, check_widths, read_bundle
from scbind.formats.evidence import CHIP
from scbind.models.base import BindingNetwork, build_network
from scbind.models.modelfile import parse_model

PLACE = "models.*.pretrained"


@dataclass(frozen=True)
class Pretrained:
    """What a training takes from a pretrained model.

    Attributes
    ----------
    name
        Its name in the bundle.
    facts, options
        Its facts (:func:`scbind.models.training.data_facts`), and the settings of its network.
    weights
        Name -> weights that do not belong to a TF.
    sha256
        SHA-256 of its model file.
    """

    name: str
    facts: dict
    options: dict
    weights: dict[str, Tensor]
    sha256: str

    def load_into(self, network: BindingNetwork) -> None:
        """Give a network, built with the same ``options``, these weights; those of its TFs stay as they are."""
        network.load_state_dict(self.weights, strict=False)


def read_pretrained(bundle: str | Path, window: int, context: int) -> Pretrained:
    """Read the shared weights of the model in a bundle.

    Parameters
    ----------
    bundle
        ``.scbind.zip``.
    window, context
        Widths in bp of windows and context in the training that starts from it.

    Raises
    ------
    InputError
        If the bundle is damaged (:func:`scbind.formats.bundlefile.read_bundle`), or its model has other windows or no
        weights that fit another TF.
    """
    found = read_bundle(bundle)
    stored = parse_model(found.members[WEIGHTS], bundle, AGAIN)
    check_widths(bundle, stored["facts"], window, context)
    if not stored["options"].get("strangers"):
        problem = "its network was not trained for other TFs (options.strangers is 0)"
        raise InputError(bundle, problem, "use another bundle, or remove the key", f"key {PLACE}")
    return Pretrained(
        found.about["name"],
        stored["facts"],
        stored["options"],
        _shared_weights(stored),
        found.about["members"][WEIGHTS]["sha256"],
    )


def _shared_weights(stored: Mapping) -> dict[str, Tensor]:
    """Weights of a stored model whose shape does not depend on its TFs."""
    facts, state = stored["facts"], stored["state"]
    tfs = [*facts["tfs"], "another"]
    wider = facts | {"tfs": tfs, "evidence": [CHIP] * len(tfs)}
    network = build_network(facts["architecture"], wider, stored["options"])
    # Only parameters: other numbers in the state, such as the largest depth, describe the training data.
    return {name: state[name] for name, own in network.named_parameters() if own.shape == state[name].shape}
