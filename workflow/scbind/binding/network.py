"""A calibrated network, with the windows to predict and their sequence readout."""

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
    """Paths: weights, calibration or ``None``, ``readout.npy``, ``windows.npz``, ``results/reference/{genome}``."""

    weights: str | Path
    calibration: str | Path | None
    readout: str | Path
    windows: str | Path
    reference: str | Path


@dataclass(frozen=True)
class Network:
    """A network that is ready to predict.

    Attributes
    ----------
    genome, windows
        The prepared genome and the windows to predict.
    predictor
        A :class:`scbind.models.predictor.Predictor`.
    trunk
        Memory map of shape (windows, ...), in the dtype of the model.
    made_with
        Digests of the files, and the precision. The reference profile and all shards of a run must have the same.
    """

    genome: Genome
    windows: Windows
    predictor: object
    trunk: np.ndarray
    made_with: dict

    @classmethod
    def open(cls, files: NetworkFiles, device: str, precision: str) -> Network:
        """Open the files of a network. Raises :class:`InputError` if they do not belong together.

        For ``device`` and ``precision``, see :class:`scbind.models.predictor.Predictor`.
        """
        from scbind.models.predictor import load_predictor

        genome, windows = Genome.open(files.reference), Windows.load(files.windows)
        predictor = load_predictor(files.weights, files.calibration, device, precision)
        check_geometry(predictor, windows, files.windows, files.weights)
        trunk = open_readout(files.readout, windows, files.windows, files.weights)
        used = {name: getattr(files, name) for name in ("weights", "calibration", "windows")}
        return cls(genome, windows, predictor, trunk, digests(**used) | {"precision": precision})

    @property
    def n_bins(self) -> int:
        """Number of bins in the context of a window."""
        return n_bins(self.windows.context, self.predictor.bin_bp)

    @cached_property
    def contexts(self) -> np.ndarray:
        """Global start of each context (0-based): int64, shape (windows,)."""
        return self.windows.global_context_starts(self.genome.sizes)

    def readout(self, part: slice) -> np.ndarray:
        """Sequence readout of some of the windows, for :meth:`probabilities`."""
        return self.predictor.unfold(np.asarray(self.trunk[part]))

    def probabilities(self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return P(bound) of a block: float32, shape (cells, windows, TFs).

        Raises :class:`ValueError` if the model returns another shape or values outside [0, 1].
        """
        probability = np.asarray(self.predictor.probabilities(readout, counts, depth), dtype=np.float32)
        if probability.shape != (*counts.shape[:2], len(self.predictor.tfs)):
            raise ValueError(
                f"the model returned shape {probability.shape} for (cells, windows) {counts.shape[:2]}"
            )
        if not ((probability >= 0) & (probability <= 1)).all():  # also false for NaN
            raise ValueError("the model returned values outside [0, 1]")
        return probability
