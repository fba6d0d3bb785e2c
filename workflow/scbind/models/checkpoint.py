"""Read the states that Lightning saves during training. Nothing in a file is executed."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path

import torch

from scbind.core.errors import InputError, said
from scbind.core.files import require
from scbind.models.modelfile import DAMAGE

ARCHIVE_DAMAGE = (*DAMAGE, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error)


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
    except ARCHIVE_DAMAGE as error:
        problem = f"not a readable state of a training ({said(error)})"
        raise InputError(path, problem, "train the model again") from error
    return stored
