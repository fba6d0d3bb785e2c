"""Add TFs with ChIP-seq to a model that was trained elsewhere. Only what belongs to these TFs is trained.

A model of few TFs has few bound windows, from which it would have to learn how a match and the openness of a window
become a probability. The model of a bundle knows this from other TFs. Its network must have been trained with
``strangers`` (:mod:`scbind.models.sharedway`), so that the weights that all TFs share predict a TF that it has not
seen. The training starts from this prediction, and a penalty keeps what belongs to the new TFs near it: the fewer bound
windows there are, the stronger it is. All other weights stay as they are, and so do the predictions and the calibration
of the TFs of the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scbind.core.errors import InputError
from scbind.core.runlog import say
from scbind.formats.bundlefile import AGAIN, WEIGHTS, check_widths, read_bundle
from scbind.formats.evidence import CHIP, MOTIF, evidence
from scbind.formats.symbols import match_symbols
from scbind.models.base import BindingNetwork, build_network
from scbind.models.bundle import check_described
from scbind.models.modelfile import parse_model
from scbind.models.motiftfs import PER_TF_INSIDE, assayed_part, widened
from scbind.models.towers import PULL

MATRICES = "scan.learned"  # the changes of the matrices by training


@dataclass(frozen=True)
class Base:
    """The model of a bundle that is extended, without its TFs without ChIP-seq.

    Attributes
    ----------
    name
        Its name in the bundle.
    state, facts, options
        As of :func:`scbind.models.modelfile.read_model`.
    sha256
        SHA-256 of its model file.
    """

    name: str
    state: Mapping[str, Tensor]
    facts: dict
    options: dict
    sha256: str


def read_base(bundle: str | Path, window: int, context: int) -> Base:
    """Read the model of a bundle that is to be extended.

    Parameters
    ----------
    bundle
        ``.scbind.zip``.
    window, context
        Widths in bp of windows and context in this run.

    Raises
    ------
    InputError
        If the bundle is damaged (:func:`scbind.formats.bundlefile.read_bundle`), or its model has other windows or was
        not trained for other TFs.
    """
    found = read_bundle(bundle)
    stored = parse_model(found.members[WEIGHTS], bundle, AGAIN)
    check_described(bundle, found.about, stored["facts"])
    check_widths(bundle, stored["facts"], window, context)
    if not stored["options"].get("strangers"):
        problem = "its network was not trained for other TFs (options.strangers is 0)"
        raise InputError(bundle, problem, "use another bundle, or remove the key", "key models.*.extends")
    if dropped := evidence(stored["facts"]).count(MOTIF):
        say(
            f"{found.about['name']}: its {dropped} TFs without ChIP-seq are left out; models.*.motif_tfs adds them"
        )
    state, facts = assayed_part(stored["state"], stored["facts"], stored["options"])
    digest = found.about["members"][WEIGHTS]["sha256"]
    return Base(found.about["name"], state, facts, stored["options"], digest)


def extended_facts(base: Base, data_facts: Mapping, *, case_matters: bool) -> dict:
    """Return the facts of the extended model.

    Its TFs are those of the base, followed by those of the dataset that the base lacks. A TF that both have is trained
    further, and has the spelling of the dataset. ``dataset_tfs`` lists the TFs of the dataset, and ``trained`` those of
    them that have a bound training window. ``extends`` holds the facts of the base, and ``mapped`` is the number of TFs
    whose matches the map contains: those of the base.

    Parameters
    ----------
    base
        The model that is extended.
    data_facts
        Facts of the dataset (:func:`scbind.models.training.data_facts`). Splits, lines and depths of the new facts are
        these.
    case_matters
        Whether TFs whose symbols differ only in case are different TFs.
    """
    own, theirs = data_facts["tfs"], base.facts
    same = match_symbols(own, theirs["tfs"], case_matters=case_matters)
    spelled = {other: tf for tf, other in same.items()}
    tfs = [spelled.get(tf, tf) for tf in theirs["tfs"]] + [tf for tf in own if tf not in same]
    trained = [tf for tf in own if data_facts["bound_train"][tf] > 0]
    bound = dict.fromkeys(own, 0) | {spelled.get(tf, tf): n for tf, n in theirs["bound_train"].items()}
    modelled = dict.fromkeys(tfs, False) | dict(zip(tfs, theirs["modelled"], strict=False))
    assayed = [dict(zip(own, row, strict=True)) for row in data_facts["assayed"]]
    return {
        **data_facts,
        "tfs": tfs,
        "evidence": [CHIP] * len(tfs),
        "modelled": [modelled[tf] or tf in trained for tf in tfs],
        "bound_train": bound | {tf: data_facts["bound_train"][tf] for tf in trained},
        "assayed": [[row.get(tf, False) for tf in tfs] for row in assayed],
        "deepest": theirs["deepest"],
        "mapped": theirs.get("mapped", len(theirs["tfs"])),
        "dataset_tfs": own,
        "trained": trained,
        "extends": {**theirs, "name": base.name},
    }


class Extension:
    """Makes a network learn what belongs to some of its TFs, and nothing else.

    Parameters
    ----------
    network
        A new network with ``facts``, the settings of the base, and the matrices of new TFs. It gets the weights of the
        base, so it predicts new TFs as if they had no ChIP-seq. Its own state then holds only the trained part of a
        weight that belongs to TFs; :meth:`state` is that of a model file.
    base
        The model that is extended. Its setting ``pull`` is the strength of the penalty.
    facts
        From :func:`extended_facts`. The TFs in ``trained`` are trained; of those that the base has, not the matrix,
        because the map, and so all other TFs, depend on it.

    Attributes
    ----------
    columns
        int64, the TFs of the dataset among all, in the order of ``dataset_tfs``.
    """

    def __init__(self, network: BindingNetwork, base: Base, facts: Mapping):
        fresh, sizes = network.state_dict(), (len(base.facts["tfs"]), len(facts["tfs"]))
        self.before = {name: widened(name, base.state[name], fresh[name], *sizes) for name in fresh}
        network.load_state_dict(self.before)
        network.leave_out = 0.0
        self.columns, own = (
            torch.tensor([facts["tfs"].index(tf) for tf in facts[key]]) for key in ("dataset_tfs", "trained")
        )
        bound = sum(facts["bound_train"][tf] for tf in facts["trained"])
        self.pull = base.options.get("pull", PULL) / max(1, bound)
        new = own[own >= len(base.facts["tfs"])]
        self.parts: dict[str, tuple[nn.Module, str]] = {}
        for name, axis in _axes_of_tfs(network, facts, base.options).items():
            rows = new if name == MATRICES else own
            if len(rows):
                place, _, leaf = name.rpartition(".")
                self.parts[name] = network.get_submodule(place), leaf
                inside = len(facts["tfs"]) if PER_TF_INSIDE in name else None
                split = _Rows(self.before[name], rows, axis, inside)
                parametrize.register_parametrization(*self.parts[name], split)
        kept = {id(each.original) for each in self._trained().values()}
        for values in network.parameters():
            values.requires_grad_(id(values) in kept)

    def _trained(self) -> dict[str, parametrize.ParametrizationList]:
        return {name: module.parametrizations[leaf] for name, (module, leaf) in self.parts.items()}

    def penalty(self) -> Tensor:
        """Penalty that pulls the weights towards those that a TF without ChIP-seq has, or that the base has."""
        parts = self._trained().values()
        return self.pull * sum(each[0].moved(each.original).square().sum() for each in parts)

    def state(self) -> dict[str, Tensor]:
        """What was trained, and the rest as it was: averaging over steps changes even a constant, by rounding."""
        trained = {name: each[0](each.original).detach() for name, each in self._trained().items()}
        return self.before | trained


class _Rows(nn.Module):
    """A weight of which only the rows of some TFs are trained.

    ``axis`` is that of the TFs. If ``inside`` is their number, the first axis is partners x TFs. What is constant is no
    buffer, because Lightning averages buffers over steps, too.
    """

    def __init__(self, whole: Tensor, rows: Tensor, axis: int, inside: int | None):
        super().__init__()
        self.axis, self.inside = axis, inside
        start = self._split(whole).index_select(axis, rows)
        self._constant = {whole.device: (whole, rows, start)}

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """The whole weight, the numbers of the rows, and what they are at the start."""
        if device not in self._constant:
            first = next(iter(self._constant.values()))
            self._constant[device] = tuple(values.to(device) for values in first)
        return self._constant[device]

    def forward(self, own: Tensor) -> Tensor:
        """The whole weight, with the rows ``own``."""
        whole, rows, _ = self._on(own.device)
        joined = self._split(whole).index_copy(self.axis, rows, own)
        return joined.flatten(0, 1) if self.inside else joined

    def right_inverse(self, whole: Tensor) -> Tensor:
        """The rows of a whole weight."""
        return self._split(whole).index_select(self.axis, self._on(whole.device)[1])

    def moved(self, own: Tensor) -> Tensor:
        """How far the rows are from the start."""
        return own - self._on(own.device)[2]

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(0, (-1, self.inside)) if self.inside else values


def _axes_of_tfs(network: BindingNetwork, facts: Mapping, options: Mapping) -> dict[str, int]:
    """Return the axis of the TFs of each parameter that has one; for ``PER_TF_INSIDE``, that behind the partners."""
    more = {**facts, "tfs": [*facts["tfs"], "another"], "evidence": [*facts["evidence"], CHIP]}
    wider, axes = dict(build_network(facts["architecture"], more, dict(options)).named_parameters()), {}
    for name, values in network.named_parameters():
        changed = [axis for axis, size in enumerate(values.shape) if size != wider[name].shape[axis]]
        if changed:
            axes[name] = 1 if PER_TF_INSIDE in name else changed[0]
    return axes
