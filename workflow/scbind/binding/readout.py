"""The sequence readout on disk: the costly part of a network, computed once per window instead of once per cell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scbind.binding.windows import Windows
from scbind.core.devices import enough_gpu_memory
from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy, digests, map_npy, read_json
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.genome import Genome
from scbind.formats.signal import window_blocks

FORMAT = 2  # raise when what networks store of a sequence changes


@enough_gpu_memory()
def sequence_readout(weights, windows, reference_dir, output, batch: int = 256, device: str = "cpu") -> None:
    """Run the trunk of a network once per window; write ``readout.npy`` (windows, ...), in the model's dtype.

    The array is written in blocks of ``batch`` windows. ``readout.json`` beside it holds the digests of weights and
    windows, and ``FORMAT``, so that a readout of another model, of other windows or in another format is recognized.
    Raises :class:`InputError` if the geometry of the windows is not that of the model.
    """
    from scbind.models.predictor import load_predictor

    genome, chosen = Genome.open(reference_dir), Windows.load(windows)
    predictor = load_predictor(weights, None, device)
    check_geometry(predictor, chosen, windows, weights)
    start = chosen.start.astype(np.int64) - (chosen.context - chosen.window) // 2
    progress = Progress("windows", len(chosen))
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        for block in window_blocks(len(chosen), batch):
            part = np.ascontiguousarray(predictor.read_trunk(genome, chosen.chrom[block], start[block]))
            shape = (len(chosen), *part.shape[1:])
            if not block.start:
                begin_npy(handle, part.dtype, shape)
            handle.write(part.tobytes())
            progress.reached(block.stop)
    with atomic(_key(output)) as scratch:
        scratch.write_text(json.dumps(_made_with(weights, windows)) + "\n")
    say(f"sequence readout of {len(chosen)} windows: {part.dtype} {shape}")


def open_readout(readout, chosen: Windows, windows, weights) -> np.ndarray:
    """Open the trunk of windows as a memory map of shape (windows, ...). ``chosen`` are those of the file ``windows``.

    Raises :class:`InputError` if the readout was made with other weights or windows, or in another format.
    """
    again = "run the sequence readout again"
    made_with = read_json(_key(readout), again)
    trunk = map_npy(readout, again)
    if made_with != _made_with(weights, windows) or len(trunk) != len(chosen):
        raise InputError(readout, f"was not made with {weights} and {windows}, or by another version", again)
    return trunk


def check_geometry(predictor, chosen: Windows, windows, weights) -> None:
    """Raise :class:`InputError` if the geometry of the windows is not that of the model."""
    model = (predictor.window, predictor.context)
    if model != (chosen.window, chosen.context):
        raise InputError(
            windows,
            f"windows of {chosen.window} in {chosen.context} bp; {weights} reads {model[0]} in {model[1]} bp",
            "choose the windows again with the geometry of the model",
        )


def _made_with(weights, windows) -> dict:
    return digests(weights=weights, windows=windows) | {"format": FORMAT}


def _key(readout) -> Path:
    """Return the path of the JSON file with the digests of a readout."""
    return Path(readout).with_suffix(".json")
