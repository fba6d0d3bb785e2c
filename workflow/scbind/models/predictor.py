"""A trained, calibrated network as the later stages see it: arrays in, probabilities out."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import torch

from scbind.errors import InputError
from scbind.files import require
from scbind.genome import Genome
from scbind.models.base import build_network


class Predictor:
    """Probabilities of binding for windows given the signal of cells or tracks.

    Attributes
    ----------
    tfs
        The modelled TFs; those without a bound training window are not among them.
    window, context, bin_bp
        Geometry in bp.
    reliability
        TF -> what is known of its accuracy (see :func:`scbind.abstention.reliability`); empty without calibration.
    facts
        The data facts stored in the checkpoint; among them whether it was trained with mappability.
    """

    def __init__(self, network, facts: dict, calibration: dict | None, device: str = "cpu"):
        self.network = network.eval().to(device)
        self.facts, self.device = facts, device
        self.pairs = network.pairs
        self.columns = np.flatnonzero(facts["modelled"])
        self.tfs = [facts["tfs"][column] for column in self.columns]
        self.window, self.context, self.bin_bp = facts["window"], facts["context"], network.bin_bp
        self.reliability = (calibration or {}).get("reliability", {})
        self._calibration = None
        if calibration:
            if calibration["tfs"] != self.tfs:
                raise InputError("calibration", "made for other TFs than the model's", "calibrate again")
            self._calibration = np.array([calibration["parameters"][tf] for tf in self.tfs])
            self._centre = calibration["log10_depth_centre"]

    def read_windows(self, genome: Genome, chrom: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Sequence readout of windows whose *contexts* start at ``start`` (0-based): (W, ...); see :meth:`readout`.

        A model that was trained with mappability reads the genome's; :class:`InputError` if there is none now.
        """
        codes = genome.window_codes(chrom, start, self.context)
        with_mappability = self.facts.get("mappability", False)
        return self.readout(
            codes, genome.window_mappability(chrom, start, self.context) if with_mappability else None
        )

    @torch.inference_mode()
    def readout(
        self, codes: np.ndarray, mappability: np.ndarray | None = None, batch: int = 256
    ) -> np.ndarray:
        """Sequence readout of windows, once for all cells: uint8 (W, context) to (W, ...).

        ``mappability`` uint8 (W, context), times 255, for a model that was trained with it. The result is float16 for a
        float readout, because it is cached on disk; uint8 where the network keeps the sequence.
        """
        parts = []
        for begin in range(0, len(codes), batch):
            blocks = [
                torch.from_numpy(_pad(rows[begin : begin + batch], batch)).to(self.device)
                for rows in (codes, mappability)
                if rows is not None
            ]
            out = self.network.readout(*blocks).cpu()[: len(codes) - begin]
            parts.append((out.half() if out.is_floating_point() else out).numpy())
        return np.concatenate(parts)

    @torch.inference_mode()
    def logits(
        self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray, line: int | None = None
    ) -> np.ndarray:
        """Uncalibrated logits of paired rows: ``readout`` (N, ...), ``counts`` (N, bins), ``depth`` (N,).

        ``line`` is the training line, for networks that keep weights per line. Returns float32 (N, TFs).
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
        """Standard deviation over the members of the calibrated probability, float32 (N, TFs); 0 with one member.

        Each member's logits are calibrated as their mean is. Arguments as of :meth:`logits`.
        """
        out = np.empty((len(counts), len(self.tfs)), dtype=np.float32)
        for rows, padded in self._padded(readout, counts, depth, line):
            each = self.network.respond_each(*padded)[:, : len(out[rows]), self.columns]
            out[rows] = self.calibrated(each.float().cpu().numpy(), np.asarray(depth)[rows]).std(axis=0)
        return out

    def _padded(self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray, line: int | None):
        """Yield rows (a slice) and the network's arguments for them, always ``pairs`` long."""
        if not np.isfinite(counts).all():
            raise InputError(
                "signal", "NaN among the counts of a window", "rebuild the signal of this sample"
            )
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
        """Probabilities of logits (..., N, TFs) at depths (N,), float32: calibrated if there is a calibration."""
        if self._calibration is not None:
            slope, intercept, slope_depth, intercept_depth = self._calibration.T
            x = np.log10(np.maximum(depth, 1e-7))[:, None] - self._centre
            logits = np.maximum(slope + slope_depth * x, 0.05) * logits + intercept + intercept_depth * x
        return (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)

    def probabilities(self, readout: np.ndarray, counts: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """P(bound) of every cell in every window.

        ``readout`` (W, ...); ``counts`` (C, W, bins), insertions; ``depth`` (C,), insertions per base. Returns
        float32 (C, W, TFs). The numbers do not depend on how cells and windows are cut into blocks.
        """
        cells, windows = counts.shape[:2]
        out = np.empty((cells, windows, len(self.tfs)), dtype=np.float32)
        per_block = max(1, self.pairs // windows)
        for begin in range(0, cells, per_block):
            block = counts[begin : begin + per_block]
            n = len(block)
            repeated = np.broadcast_to(readout, (n, *readout.shape)).reshape(n * windows, *readout.shape[1:])
            depths = np.repeat(depth[begin : begin + n], windows)
            logits = self.logits(repeated, block.reshape(n * windows, -1), depths)
            out[begin : begin + n] = self.calibrated(logits, depths).reshape(n, windows, -1)
        return out


def read_checkpoint(path: str | Path) -> dict:
    """Read a checkpoint without executing anything in it; refuses what is not one of ours."""
    remedy = "train the model again"
    try:
        stored = torch.load(require(path, "train the model first"), map_location="cpu", weights_only=True)
        facts = stored["hyper_parameters"]["facts"]
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError, TypeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, f"not a readable scbind checkpoint ({first_line[:120]})", remedy) from error
    return {"state": stored["state_dict"], "facts": facts, "options": stored["hyper_parameters"]["options"]}


def load_predictor(
    checkpoint: str | Path,
    calibration: str | Path | None = None,
    device: str = "cpu",
    genome: str | None = None,
) -> Predictor:
    """Load a model for prediction.

    ``genome`` is the name that the caller works on. Raises :class:`InputError` on a damaged checkpoint, one of
    another genome, or a calibration that does not belong to it.
    """
    stored = read_checkpoint(checkpoint)
    facts = stored["facts"]
    if genome is not None and facts["genome"] != genome:
        raise InputError(
            checkpoint, f"trained on genome {facts['genome']}, not {genome}", "train on this genome"
        )
    network = build_network(facts["architecture"], facts, stored["options"])
    weights = {k.removeprefix("network."): v for k, v in stored["state"].items() if k.startswith("network.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(checkpoint, "its weights do not fit its own description", "train again") from error
    fitted = (
        json.loads(require(calibration, "calibrate the model first").read_text()) if calibration else None
    )
    return Predictor(network, facts, fitted, device)


def _pad(rows: np.ndarray, length: int) -> np.ndarray:
    if len(rows) == length:
        return np.ascontiguousarray(rows)
    padded = np.zeros((length, *rows.shape[1:]), dtype=rows.dtype)
    padded[: len(rows)] = rows
    return padded
