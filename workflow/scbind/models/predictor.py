"""A trained and calibrated network for the later stages: arrays in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch

from scbind.core.errors import InputError
from scbind.formats.evidence import CHIP, evidence
from scbind.formats.genome import Genome
from scbind.models.base import build_network
from scbind.models.modelfile import DAMAGE, read_calibration, read_model
from scbind.models.motiftfs import assayed_part

# Minimum slope of the calibration, in fit and prediction, so that a higher logit never gives a lower probability
SMALLEST_SLOPE = 0.05
PRECISIONS = "float32", "bfloat16"
MOST_ROUNDED = 0.05  # largest change of a probability by bfloat16 that is rounding, and not a wrong result
AT_ONCE = 256  # windows in each call of the trunk; fixed, so that no result depends on blocks
LARGEST = torch.finfo(torch.float16).max
TOO_LARGE = f"what it computes from the sequence of a window is beyond {LARGEST:g}"
NAN_SIGNAL = "the counts of a window contain NaN"


class Predictor:
    """Predicts the probability of binding in windows from the signal of cells or tracks.

    Attributes
    ----------
    tfs
        The modelled TFs. TFs without a bound training window are left out.
    evidence, n_assayed
        Evidence of each of these TFs, ``chip`` or ``motif``, and the number of those with ``chip``. These come first.
    window, context, bin_bp
        Widths of window, context and bin in bp.
    reliability
        TF -> its reliability (see :func:`scbind.models.abstention.reliability`); empty without calibration.
    facts
        Facts about the data, stored in the weights (see :func:`scbind.models.training.data_facts`).
    precision
        Precision of the products of cells and windows in :meth:`probabilities`: ``float32`` or ``bfloat16``.
        ``bfloat16`` is faster on processors with instructions for it, and changes a probability by at most about 0.01
        (docs/notebooks/performance.md). All other computations use float32. The first block of each process is computed
        in both, because some processors compute some products of ``bfloat16`` wrongly.
    tile
        Number of windows and of cells per call of the network in :meth:`probabilities`, and of windows in
        :meth:`unfold`. The default is the network's tile for the device.
    """

    def __init__(
        self,
        network,
        facts: dict,
        calibration: dict | None,
        device: str = "cpu",
        precision: str = "float32",
        tile: tuple[int, int] | None = None,
    ):
        if precision not in PRECISIONS:
            raise InputError(
                "config", f"unknown precision {precision!r}", f"use one of {', '.join(PRECISIONS)}"
            )
        self.network = network.eval().to(device)
        self.facts, self.device, self.precision = facts, device, precision
        self._to_check = precision != "float32"
        self.pairs = network.pairs
        on_gpu = torch.device(device).type == "cuda"
        self.tile = tile or (on_gpu and network.tile_cuda) or network.tile
        self.columns = np.flatnonzero(facts["modelled"])
        self.tfs = [facts["tfs"][column] for column in self.columns]
        kinds = evidence(facts)
        self.evidence = [kinds[column] for column in self.columns]
        self.n_assayed = self.evidence.count(CHIP)
        self._all_modelled = len(self.tfs) == len(facts["tfs"])
        self._modelled = torch.from_numpy(self.columns).to(device)
        self.window, self.context, self.bin_bp = facts["window"], facts["context"], network.bin_bp
        self.reliability = (calibration or {}).get("reliability", {})
        self._calibration = None
        if calibration:
            if [tf for tf in calibration["tfs"] if tf in self.tfs] != self.tfs:
                raise InputError("calibration", "its TFs are not those of the model", "calibrate again")
            self._calibration = np.array([calibration["parameters"][tf] for tf in self.tfs])
            self._centre = calibration["log10_depth_centre"]
            self._deepest = facts["deepest"]  # calibration treats deeper signal as this deep

    def read_windows(self, genome: Genome, chrom: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Sequence readout (W, ...) of windows; see :meth:`read_trunk` and :meth:`unfold`."""
        return self.unfold(self.read_trunk(genome, chrom, start))

    def read_trunk(self, genome: Genome, chrom: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Trunk (W, ...) of windows whose *contexts* start at ``start`` (0-based); see :meth:`trunk`.

        A network that reads mappability, and was trained with it, also reads that of the genome. Raises
        :class:`InputError` if the genome has none.
        """
        codes = genome.window_codes(chrom, start, self.context)
        return self.trunk(codes, self.mappability_of(genome, chrom, start))

    def mappability_of(self, genome: Genome, chrom: np.ndarray, start: np.ndarray) -> np.ndarray | None:
        """Mappability that :meth:`trunk` needs for contexts at ``start``; None if the network does not read it."""
        if self.network.reads_mappability and self.facts.get("mappability", False):
            return genome.window_mappability(chrom, start, self.context)
        return None

    def readout(self, codes: np.ndarray, mappability: np.ndarray | None = None) -> np.ndarray:
        """Sequence readout of windows; arguments of :meth:`trunk`, result of :meth:`unfold`."""
        return self.unfold(self.trunk(codes, mappability))

    def trunk(
        self, codes: np.ndarray, mappability: np.ndarray | None = None, batch: int = AT_ONCE
    ) -> np.ndarray:
        """Compute what is stored of windows: base codes, uint8 (W, context), to (W, ...), float16 or uint8.

        ``mappability``, uint8 (W, context), times 255, is for models trained with it. The result is uint8 if the
        network keeps the sequence itself. ``batch`` is the number of windows in each call of the network.
        """
        return self._in_batches(self.network.trunk, batch, codes, mappability)

    def unfold(self, trunk: np.ndarray) -> np.ndarray:
        """Sequence readout of windows, (W, ...), float16 or uint8, from :meth:`trunk`. It serves all cells.

        It is computed in batches of the windows of a tile, so that the blocks of :meth:`probabilities` need no padding.
        """
        return self._in_batches(self.network.unfold, self.tile[0], trunk)

    @torch.inference_mode()
    def _in_batches(self, step: Callable, batch: int, *rows: np.ndarray | None) -> np.ndarray:
        """Apply a step of the network to windows, (W, ...), ``batch`` at a time; floats become float16.

        Raises :class:`InputError` if a result is beyond the range of float16. It would make predictions NaN, and an
        evaluation would leave out the TF.
        """
        given, parts = [each for each in rows if each is not None], []
        for begin in range(0, len(given[0]), batch):
            here = slice(begin, begin + batch)
            blocks = [torch.from_numpy(_pad(each[here], batch)).to(self.device) for each in given]
            out = step(*(block.float() if block.is_floating_point() else block for block in blocks))
            out = out[: len(given[0]) - begin]
            if out.is_floating_point():
                low, high = out.aminmax()
                if not -LARGEST <= low <= high <= LARGEST:  # also if they are NaN
                    raise InputError("model", TOO_LARGE, "train the model again, or use another one")
                out = out.half()
            parts.append(out.cpu().numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def logits(
        self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray, line: int | None = None
    ) -> np.ndarray:
        """Uncalibrated logits of N pairs of window and cell (or track), float32 (N, TFs).

        ``readout`` is (N, ...), ``counts`` (N, bins) insertions, ``depth`` (N,) insertions per base. ``line`` is the
        training line, for networks with weights per line.
        """
        out = np.empty((len(counts), len(self.tfs)), dtype=np.float32)
        for rows, padded in self._padded(readout, counts, depth, line):
            found = self.network.respond(*padded)[: len(out[rows]), self.columns]
            out[rows] = found.float().cpu().numpy()
        return out

    @torch.inference_mode()
    def spread(
        self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray, line: int | None = None
    ) -> np.ndarray:
        """Standard deviation of the calibrated probability between the members, float32 (N, TFs); 0 with one member.

        The calibration of the mean logits is applied to the logits of each member. Same arguments as :meth:`logits`.
        """
        out = np.empty((len(counts), len(self.tfs)), dtype=np.float32)
        for rows, padded in self._padded(readout, counts, depth, line):
            each = self.network.respond_each(*padded)[:, : len(out[rows]), self.columns]
            out[rows] = self.calibrated(each.float().cpu().numpy(), np.asarray(depth)[rows]).std(axis=0)
        return out

    def _padded(self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray, line: int | None):
        """Yield rows (a slice) and the network's arguments for them, padded to ``pairs`` rows."""
        if not np.isfinite(counts).all():
            raise InputError("signal", NAN_SIGNAL, "rebuild the signal of this sample")
        for begin in range(0, len(counts), self.pairs):
            rows = slice(begin, begin + self.pairs)
            padded = [
                torch.from_numpy(_pad(np.asarray(a[rows]), self.pairs)).to(self.device)
                for a in (readout, counts.astype(np.float32, copy=False), np.asarray(depth, dtype=np.float32))
            ]
            if padded[0].is_floating_point():
                padded[0] = padded[0].float()
            lines = None if line is None else torch.full((self.pairs,), line, device=self.device)
            yield rows, (*padded, lines)

    def calibrated(self, logits: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Probabilities of logits (..., N, TFs) at depths (N,), float32; uncalibrated if there is no calibration."""
        if self._calibration is not None:
            slope, intercept, slope_depth, intercept_depth = self._calibration.T
            x = np.log10(np.clip(depth, 1e-7, self._deepest))[:, None] - self._centre
            logits = (
                np.maximum(slope + slope_depth * x, SMALLEST_SLOPE) * logits + intercept + intercept_depth * x
            )
        return (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)

    @torch.inference_mode()
    def probabilities(self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """P(bound) of every TF in every cell and window, float32 (C, W, TFs).

        ``readout`` is (W, ...), ``counts`` (C, W, bins) insertions, ``depth`` (C,) insertions per base. All tiles have
        the same size; the last ones are padded with zeros. The results therefore do not depend on how cells and windows
        are cut into blocks. Raises :class:`InputError` on NaN in ``counts``, or if this machine computes ``precision``
        wrongly.
        """
        if not np.isfinite(counts).all():
            raise InputError("signal", NAN_SIGNAL, "rebuild the signal of this sample")
        cells, windows = counts.shape[:2]
        out = np.empty((cells, windows, len(self.tfs)), dtype=np.float32)
        tile_windows, tile_cells = self.tile
        cell_blocks = []
        for begin in range(0, cells, tile_cells):
            rows = slice(begin, begin + tile_cells)
            depths = _pad(np.asarray(depth[rows], dtype=np.float32), tile_cells)
            depths = torch.from_numpy(depths).to(self.device)
            with self._rounded(self.precision):
                unseen = self.network.respond_unseen(depths)
            cell_blocks.append((rows, depths, unseen, self._platt(depths)))
        for begin in range(0, windows, tile_windows):
            columns = slice(begin, begin + tile_windows)
            asked = torch.from_numpy(_pad(readout[columns], tile_windows)).to(self.device)
            asked = asked.float() if asked.is_floating_point() else asked
            for rows, depths, unseen, platt in cell_blocks:
                block = counts[rows, columns].astype(np.float32, copy=False)
                padded = np.zeros((tile_windows, tile_cells, counts.shape[2]), dtype=np.float32)
                padded[: block.shape[1], : block.shape[0]] = block.transpose(1, 0, 2)
                given = torch.from_numpy(padded).to(self.device)
                with self._rounded(self.precision):
                    logits = self.network.respond_grid(asked, given, depths, unseen)
                found = self._of_logits(logits, platt)
                if self._to_check:
                    self._check(found, asked, given, depths, platt)
                out[rows, columns] = found[: block.shape[0], : block.shape[1]].cpu().numpy()
        return out

    def _rounded(self, precision: str) -> torch.autocast:
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16")

    def _of_logits(
        self, logits: torch.Tensor, platt: tuple[torch.Tensor, torch.Tensor] | None
    ) -> torch.Tensor:
        """Probabilities of a tile, float32 (cells, windows, modelled TFs), of logits (windows, cells, TFs)."""
        logits = logits if self._all_modelled else logits[:, :, self._modelled]
        if platt is not None:
            logits = torch.addcmul(platt[1], platt[0], logits.float())
        return torch.sigmoid(logits.float()).transpose(0, 1)

    def _check(self, found: torch.Tensor, asked, given, depths, platt) -> None:
        """Compare the probabilities of a tile with those of float32; see :attr:`precision`."""
        unseen = self.network.respond_unseen(depths)
        exact = self._of_logits(self.network.respond_grid(asked, given, depths, unseen), platt)
        if not (change := float((found - exact).abs().max())) <= MOST_ROUNDED:
            problem = (
                f"this machine computes {self.precision} wrongly: it changes a probability by {change:.2f}"
            )
            raise InputError("config", problem, "set infer.precision to float32", "infer.precision")
        self._to_check = False

    def _platt(self, depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Slope and intercept of the calibration at depths (C,), float32 (C, TFs) each; ``None`` if uncalibrated."""
        if self._calibration is None:
            return None
        slope, intercept, slope_depth, intercept_depth = torch.from_numpy(self._calibration).to(self.device).T
        x = torch.log10(depth.double().clamp(1e-7, self._deepest))[:, None] - self._centre
        return (
            (slope + slope_depth * x).clamp_min(SMALLEST_SLOPE).float(),
            (intercept + intercept_depth * x).float(),
        )


def load_predictor(
    model: str | Path,
    calibration: str | Path | None = None,
    device: str = "cpu",
    precision: str = "float32",
    *,
    motif_tfs: Collection[str] | None = None,
) -> Predictor:
    """Load a model for prediction, on any genome.

    Parameters
    ----------
    model, calibration
        Files of the model. Without calibration, probabilities are uncalibrated.
    device
        PyTorch's name of the device.
    precision
        See :class:`Predictor`.
    motif_tfs
        Which TFs without ChIP-seq are predicted; ``None``: all. Without any, the network is the one that was trained.

    Raises
    ------
    InputError
        If a file is damaged, or the calibration belongs to another model.
    """
    stored = read_model(model)
    state, facts = stored["state"], stored["facts"]
    try:
        if motif_tfs is not None:
            state, facts = assayed_part(state, facts, stored["options"], motif_tfs)
        network = build_network(facts["architecture"], facts, stored["options"])
        network.load_state_dict(state)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(model, "its weights do not fit its architecture", "train the model again") from error
    fitted = read_calibration(calibration, model) if calibration else None
    return Predictor(network, facts, fitted, device, precision)


def _pad(rows: np.ndarray, length: int) -> np.ndarray:
    if len(rows) == length:
        return np.require(rows, requirements=("C", "W"))  # torch needs a writable array
    padded = np.zeros((length, *rows.shape[1:]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    return padded
