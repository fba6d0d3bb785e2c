"""The files of a trained model: weights with their facts, and the calibration. Nothing in them can be executed.

A model file is in the safetensors format. Its header holds one JSON text with the facts, the options of the network
and a checksum, because safetensors itself does not notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from scbind.core.errors import InputError, said
from scbind.core.files import atomic, file_sha256, require
from scbind.formats.evidence import CHIP, MOTIF

KEY = "scbind"  # of the JSON text in the header; a single key, because safetensors does not keep the order of keys
# Errors that a file may cause if it was truncated or edited, or is not a model.
DAMAGE = (
    SafetensorError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    EOFError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
FACTS = {  # facts that are needed to build and compare models, and their types
    "architecture": str,
    "genome": str,
    "chromosomes": dict,
    "tfs": list,
    "modelled": list,
    "bound_train": dict,
    "cell_lines": list,
    "assayed": list,
    "window": int,
    "context": int,
    "mappability": bool,
    "depth": dict,
    "splits": dict,
}
ORDER = CHIP, MOTIF  # of the TFs of a model by their evidence
PARAMETERS = 4  # calibration parameters per TF: slope, intercept, and the change of each with depth


def write_model(path: str | Path, state: Mapping[str, torch.Tensor], facts: dict, options: dict) -> None:
    """Write a model file. The same content gives the same bytes.

    Parameters
    ----------
    path
        The new file, written whole or not at all.
    state
        Weights of the network by name, on any device.
    facts
        See :func:`scbind.models.training.data_facts`: plain types only.
    options
        Settings of the architecture.
    """
    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
    held = {"facts": facts, "options": options}
    held["sha256"] = _digest(tensors, held)
    content = save(tensors, {KEY: json.dumps(held, sort_keys=True)})
    with atomic(path) as scratch:
        scratch.write_bytes(content)


def read_model(path: str | Path) -> dict:
    """Read the weights (``state``), ``facts`` and ``options`` of a model.

    Raises :class:`InputError` if the file is damaged, a fact is absent or has a wrong type, or a weight is not finite.
    """
    return parse_model(require(path, "train the model first").read_bytes(), path)


def parse_model(content: bytes, path: str | Path, remedy: str = "train the model again") -> dict:
    """Return what :func:`read_model` returns, from the content of a model file; ``path`` is its name in errors."""
    try:
        held, weights = read_header(content), load(content)
        facts, options = held["facts"], held["options"]
        for name, part in (("facts", facts), ("options", options)):
            if not isinstance(part, dict):
                raise TypeError(f"{name} is a {type(part).__name__}")
        for name, kind in FACTS.items():
            if not isinstance(facts[name], kind):
                raise TypeError(f"{name} is a {type(facts[name]).__name__}")
        per_line = facts["assayed"], facts["cell_lines"]
        per_tf = facts["modelled"], facts["tfs"], *facts["assayed"]
        if any(len({len(part) for part in parts}) != 1 for parts in (per_line, per_tf)):
            raise ValueError("its lists of lines and TFs differ in length")
        if "evidence" in facts and sorted(facts["evidence"], key=ORDER.index) != facts["evidence"]:
            raise ValueError("its motif TFs do not come last")
        if len(facts.get("evidence", facts["tfs"])) != len(facts["tfs"]):
            raise ValueError("evidence is not known of every TF")
        if held.pop("sha256") != _digest(weights, held):
            raise ValueError("wrong checksum")
        broken = [name for name, values in weights.items() if not torch.isfinite(values).all()]
    except DAMAGE as error:
        raise InputError(path, f"not a readable scbind model ({said(error)})", remedy) from error
    if broken:
        raise InputError(path, f"weights are not finite: {broken[0]}", remedy)
    return {"state": weights, "facts": facts, "options": options}


def read_header(content: bytes) -> dict:
    """Return ``facts``, ``options`` and ``sha256`` of a model file; raises one of ``DAMAGE`` if it has none."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    return json.loads(header["__metadata__"][KEY], parse_constant=_refuse)


def _digest(weights: Mapping[str, torch.Tensor], held: dict) -> str:
    """SHA-256 of weights, their names, types and shapes, and of what the header holds."""
    total = hashlib.sha256(json.dumps(held, sort_keys=True).encode())
    for name, values in sorted(weights.items()):
        total.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        total.update(values.contiguous().numpy().tobytes())
    return total.hexdigest()


def read_calibration(path: str | Path, model: str | Path) -> dict:
    """Read the output of :func:`scbind.models.calibration.calibrate`.

    Raises :class:`InputError` if the file is absent or damaged, or belongs to another model.
    """
    path = require(path, "calibrate the model first")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        whose = stored["model_sha256"]
        numbers = [stored["log10_depth_centre"]]
        parameters = {tf: stored["parameters"][tf] for tf in stored["tfs"]}
        reliability = [stored["reliability"]]
        if "motif_tfs" in stored:  # of any TF without ChIP-seq that is added
            parameters["motif_tfs"] = stored["motif_tfs"]["parameters"]
            reliability.append(stored["motif_tfs"]["reliability"])
        for tf, own in parameters.items():
            if len(own) != PARAMETERS:
                raise ValueError(f"{tf} does not have {PARAMETERS} parameters")
            numbers += own
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a parameter is not finite")
        if not all(isinstance(each, dict) for each in reliability):
            raise TypeError("reliability is not a mapping")
    except DAMAGE as error:
        raise InputError(path, f"not a readable calibration ({said(error)})", "calibrate again") from error
    if whose != file_sha256(model):
        raise InputError(path, f"belongs to another model, not to {model}", "calibrate again")
    return stored


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
