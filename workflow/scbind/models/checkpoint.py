"""Models on disk: read without executing anything in them, and refused in one line where they are damaged."""

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

# What a file may raise that was cut short, edited or never was a checkpoint.
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
FACTS = {  # that a model is built from and compared by, and their types
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
PARAMETERS = 4  # of the calibration of a TF: slope, intercept, and their change with depth


def read_archive(path: str | Path, needed: tuple[str, ...]) -> dict:
    """Read a file of ``torch.save`` that holds a dict with the keys ``needed``; its tensors are on the CPU.

    Checksums are compared first, because ``torch.load`` does not look at them: a flipped bit would be another weight.
    Raises :class:`InputError` on a file that is absent, damaged or something else.
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

    Raises :class:`InputError` on a damaged file, facts that are absent or of a wrong type, and weights that are no
    numbers.
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
            raise ValueError("its lists of lines and TFs are not equally long")
        broken = [name for name, weights in state.items() if not torch.isfinite(weights).all()]
    except DAMAGE as error:
        raise _unreadable(path, error) from error
    if broken:
        raise InputError(path, f"weights that are no finite numbers: {broken[0]}", "train the model again")
    return {"state": state, "facts": facts, "options": options}


def read_calibration(path: str | Path, checkpoint: str | Path) -> dict:
    """Read what :func:`scbind.models.calibration.calibrate` wrote; :class:`InputError` if not for this checkpoint."""
    path = require(path, "calibrate the model first")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        whose = stored["checkpoint_sha256"]
        numbers = [stored["log10_depth_centre"]]
        for tf in stored["tfs"]:
            if len(stored["parameters"][tf]) != PARAMETERS:
                raise ValueError(f"not {PARAMETERS} parameters of {tf}")
            numbers += stored["parameters"][tf]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a parameter is not finite")
        if not isinstance(stored["reliability"], dict):
            raise TypeError("reliability is no mapping")
    except DAMAGE as error:
        raise InputError(path, f"not a readable calibration ({_said(error)})", "calibrate again") from error
    if whose != file_sha256(checkpoint):
        raise InputError(path, f"made for another checkpoint than {checkpoint}", "calibrate again")
    return stored


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _unreadable(path: str | Path, error: Exception) -> InputError:
    return InputError(path, f"not a readable scbind checkpoint ({_said(error)})", "train the model again")


def _said(error: Exception) -> str:
    """The first line of what an error says."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
