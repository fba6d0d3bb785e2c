"""Read models from disk. Nothing in a file is executed, and a damaged file gives an error of one line."""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import torch

from scbind.core.errors import InputError
from scbind.core.files import file_sha256, require

# Errors that a file may cause if it was truncated or edited, or is no checkpoint.
DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
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
PARAMETERS = 4  # calibration parameters per TF: slope, intercept, and the change of each with depth


def read_archive(path: str | Path, needed: tuple[str, ...]) -> dict:
    """Read a dict with the keys ``needed`` from a file of ``torch.save``; its tensors are on the CPU.

    The checksums are verified first, because ``torch.load`` ignores them, and a flipped bit would change a weight.
    Raises :class:`InputError` if the file is absent, damaged or no such file.
    """
    try:
        with zipfile.ZipFile(require(path, "train the model first")) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(stored, dict):
            raise TypeError(f"it holds a {type(stored).__name__}")
        if missing := [key for key in needed if key not in stored]:
            raise LookupError(f"no {missing[0]}")
    except InputError:
        raise
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    return stored


def read_checkpoint(path: str | Path) -> dict:
    """The weights (``state``), ``facts`` and ``options`` of a trained model.

    Raises :class:`InputError` if the file is damaged, a fact is absent or has a wrong type, or a weight is not finite.
    """
    stored = read_archive(path, ("state_dict", "hyper_parameters"))
    state, held = stored["state_dict"], stored["hyper_parameters"]
    try:
        facts, options = held["facts"], held["options"]
        for name, part in (("state_dict", state), ("facts", facts), ("options", options)):
            if not isinstance(part, dict):
                raise TypeError(f"{name} is a {type(part).__name__}")
        for name, kind in FACTS.items():
            if not isinstance(facts[name], kind):
                raise TypeError(f"{name} is a {type(facts[name]).__name__}")
        per_line = facts["assayed"], facts["cell_lines"]
        per_tf = facts["modelled"], facts["tfs"], *facts["assayed"]
        if any(len({len(part) for part in parts}) != 1 for parts in (per_line, per_tf)):
            raise ValueError("its lists of lines and TFs differ in length")
        broken = [name for name, weights in state.items() if not torch.isfinite(weights).all()]
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    if broken:
        raise InputError(path, f"weights are not finite: {broken[0]}", "train the model again")
    return {"state": state, "facts": facts, "options": options}


def read_calibration(path: str | Path, checkpoint: str | Path) -> dict:
    """Read the output of :func:`scbind.models.calibration.calibrate`.

    Raises :class:`InputError` if the file is absent or damaged, or belongs to another checkpoint.
    """
    path = require(path, "calibrate the model first")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        whose = stored["checkpoint_sha256"]
        numbers = [stored["log10_depth_centre"]]
        for tf in stored["tfs"]:
            if len(stored["parameters"][tf]) != PARAMETERS:
                raise ValueError(f"{tf} does not have {PARAMETERS} parameters")
            numbers += stored["parameters"][tf]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a parameter is not finite")
        if not isinstance(stored["reliability"], dict):
            raise TypeError("reliability is not a mapping")
    except DAMAGE as error:
        raise InputError(path, f"not a readable calibration ({_said(error)})", "calibrate again") from error
    if whose != file_sha256(checkpoint):
        raise InputError(path, f"belongs to another checkpoint, not to {checkpoint}", "calibrate again")
    return stored


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _unreadable(path: str | Path, error: Exception) -> InputError:
    return InputError(path, f"not a readable scbind checkpoint ({_said(error)})", "train the model again")


def _said(error: Exception) -> str:
    """The first line of the text of an error."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
