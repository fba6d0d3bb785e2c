"""The sequence readout: the costly part of a network, once per window and not once per cell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scbind.binding.windows import Windows
from scbind.core.devices import enough_gpu_memory
from scbind.core.errors import InputError
from scbind.core.files import atomic, begin_npy, digests, require
from scbind.core.runlog import say
from scbind.formats.genome import Genome
from scbind.formats.signal import window_blocks


@enough_gpu_memory()
def sequence_readout(
    checkpoint, windows, reference_dir, output, batch: int = 256, device: str = "cpu"
) -> None:
    """Run the sequence trunk once per window; write ``readout.npy`` (windows, ...), in the model's dtype.

    The array is written block by block. ``readout.json`` beside it holds digests of checkpoint and
    windows, so that it is not taken for that of others. Raises :class:`InputError` where the windows were
    cut for another geometry than the model's.
    """
    from scbind.models.predictor import load_predictor

    genome, chosen = Genome.open(reference_dir), Windows.load(windows)
    predictor = load_predictor(checkpoint, None, device, genome=genome)
    check_geometry(predictor, chosen, windows, checkpoint)
    start = chosen.start.astype(np.int64) - (chosen.context - chosen.window) // 2
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        for block in window_blocks(len(chosen), batch):
            part = np.ascontiguousarray(predictor.read_windows(genome, chosen.chrom[block], start[block]))
            shape = (len(chosen), *part.shape[1:])
            if not block.start:
                begin_npy(handle, part.dtype, shape)
            handle.write(part.tobytes())
    with atomic(_key(output)) as scratch:
        scratch.write_text(json.dumps(digests(checkpoint=checkpoint, windows=windows)) + "\n")
    say(f"sequence readout of {len(chosen)} windows: {part.dtype} {shape}")


def open_readout(readout, chosen: Windows, windows, checkpoint) -> np.ndarray:
    """Map the readout of the ``chosen`` windows, of the file ``windows``.

    Raises :class:`InputError` where it was made with another checkpoint or other windows.
    """
    again = "run the sequence readout again"
    made_with = json.loads(require(_key(readout), again).read_text())
    trunk = np.load(require(readout, "run the sequence readout first"), mmap_mode="r")
    if made_with != digests(checkpoint=checkpoint, windows=windows) or len(trunk) != len(chosen):
        raise InputError(readout, f"was not made with {checkpoint} and {windows}", again)
    return trunk


def check_geometry(predictor, chosen: Windows, windows, checkpoint) -> None:
    """Raise :class:`InputError` where windows were cut for another geometry than the model's."""
    model = (predictor.window, predictor.context)
    if model != (chosen.window, chosen.context):
        raise InputError(
            windows,
            f"windows of {chosen.window} in {chosen.context} bp; {checkpoint} reads {model[0]} in {model[1]}",
            "choose the windows again with the model's geometry",
        )


def _key(readout) -> Path:
    """Where it is said what a readout was made with."""
    return Path(readout).with_suffix(".json")
