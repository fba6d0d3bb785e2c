"""A calibrated network with the windows that it predicts and their sequence readout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from scbind.binding.readout import check_geometry, open_readout
from scbind.binding.windows import Windows
from scbind.core.files import digests
from scbind.formats.genome import Genome
from scbind.formats.signal import n_bins


@dataclass(frozen=True)
class NetworkFiles:
    """Checkpoint, calibration (or None), ``readout.npy``, ``windows.npz``, and ``results/reference/{genome}``."""

    checkpoint: str | Path
    calibration: str | Path | None
    readout: str | Path
    windows: str | Path
    reference: str | Path


@dataclass(frozen=True)
class Network:
    """A network that is ready to predict.

    ``predictor`` is a :class:`scbind.models.predictor.Predictor`; ``readout`` (windows, ...) a memory map;
    ``made_with`` the digests and the precision that the reference profile and the shards of a run have in common.
    """

    genome: Genome
    windows: Windows
    predictor: object
    readout: np.ndarray
    made_with: dict

    @classmethod
    def open(cls, files: NetworkFiles, device: str, precision: str) -> Network:
        """Open files that belong together, else :class:`InputError`.

        ``device`` and ``precision`` as of :class:`scbind.models.predictor.Predictor`.
        """
        from scbind.models.predictor import load_predictor

        genome, windows = Genome.open(files.reference), Windows.load(files.windows)
        predictor = load_predictor(files.checkpoint, files.calibration, device, genome, precision)
        check_geometry(predictor, windows, files.windows, files.checkpoint)
        readout = open_readout(files.readout, windows, files.windows, files.checkpoint)
        used = {name: getattr(files, name) for name in ("checkpoint", "calibration", "windows")}
        return cls(genome, windows, predictor, readout, digests(**used) | {"precision": precision})

    @property
    def n_bins(self) -> int:
        """Bins of the context of a window."""
        return n_bins(self.windows.context, self.predictor.bin_bp)

    @cached_property
    def contexts(self) -> np.ndarray:
        """int64 (windows,): global start of each context."""
        return self.windows.global_context_starts(self.genome.sizes)

    def probabilities(self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """P(bound) of a block, float32 (cells, windows, TFs); a model that gives anything else is at fault."""
        probability = np.asarray(self.predictor.probabilities(readout, counts, depth), dtype=np.float32)
        if probability.shape != (*counts.shape[:2], len(self.predictor.tfs)):
            raise ValueError(f"the model gave {probability.shape} for {counts.shape[:2]} cells and windows")
        if not ((probability >= 0) & (probability <= 1)).all():  # also false for NaN
            raise ValueError("the model gave values that are no probabilities")
        return probability
