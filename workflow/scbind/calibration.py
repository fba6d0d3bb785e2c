"""Make probabilities mean what they say, at every depth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from scbind.data import thinned
from scbind.dataset import TrainingSet
from scbind.files import atomic
from scbind.labels import BOUND
from scbind.metrics import ranking_metrics
from scbind.models import load_predictor
from scbind.models.predictor import Predictor
from scbind.runlog import say
from scbind.splits import VALID

DECADES = (0.0, 1.0, 2.0, 3.0)  # the validation signal is also seen thinned by these powers of ten
PRIOR = 5.0  # pull of one TF's parameters to those of all TFs, in units of log likelihood per unit squared
FEW_BOUND = 10  # with fewer bound validation windows a TF's accuracy is unknown


def calibrate(
    checkpoint: str | Path,
    dataset: str | Path,
    reference: str | Path,
    output: str | Path,
    max_windows: int = 20_000,
    seed: int = 1,
    threads: int = 1,
) -> None:
    """Fit the calibration of a model on the validation split and store it with each TF's reliability.

    Platt scaling (Platt 1999) per TF whose slope and intercept may move linearly with log10 depth, fitted to
    validation windows at full depth and thinned 10-, 100- and 1,000-fold, and shrunk to a fit shared by all TFs, so
    that a TF with few bound windows is still sensible. The JSON holds ``tfs``, ``parameters`` (TF -> slope,
    intercept, and their change per decade of depth), ``log10_depth_centre`` and ``reliability``.
    """
    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference)
    predictor = load_predictor(checkpoint, genome=data.genome.name)
    line, window = np.nonzero(np.asarray(data.splits) == VALID)
    if len(line) > max_windows:
        chosen = np.sort(np.random.default_rng(seed).choice(len(line), max_windows, replace=False))
        line, window = line[chosen], window[chosen]
    keeps = tuple(10.0**-decade for decade in DECADES)
    say(f"calibration: {len(line):,} validation windows, each at {len(keeps)} depths")
    logits, depth, labels = predict_pairs(predictor, data, line, window, keeps, seed)
    reliability = _reliability(predictor.tfs, labels, logits[0])
    x = np.log10(np.maximum(depth.ravel(), 1e-7))
    centre = float(x.mean())
    parameters = fit_platt(np.concatenate(logits), x - centre, np.tile(labels, (len(keeps), 1)))
    stored = {
        "tfs": predictor.tfs,
        "log10_depth_centre": centre,
        "parameters": {
            tf: [round(float(v), 6) for v in p] for tf, p in zip(predictor.tfs, parameters, strict=True)
        },
        "reliability": reliability,
    }
    with atomic(output) as path:
        path.write_text(json.dumps(stored, indent=1))


def predict_pairs(
    predictor: Predictor,
    data: TrainingSet,
    line: np.ndarray,
    window: np.ndarray,
    keeps: Sequence[float] = (1.0,),
    seed: int = 0,
    chunk: int = 4096,
):
    """Logits, depths and labels of (line, window) pairs, at shares ``keeps`` of their insertions.

    Returns float32 (keeps, N, TFs), float32 (keeps, N) and int8 (N, TFs); TFs are the modelled ones. Networks that
    keep weights per line use the line's own. Each window's sequence is read once, ``chunk`` windows at a time.
    """
    logits = np.empty((len(keeps), len(line), len(predictor.tfs)), np.float32)
    depth = np.empty((len(keeps), len(line)), np.float32)
    labels = np.asarray(data.labels[line, window])[:, predictor.columns]
    unique, place = np.unique(window, return_inverse=True)
    for begin in range(0, len(unique), chunk):
        here = unique[begin : begin + chunk]
        readout = predictor.read_windows(data.genome, data.chrom[here], data.context_start(here))
        inside = (place >= begin) & (place < begin + chunk)
        for row in np.unique(line[inside]):
            at = np.flatnonzero(inside & (line == row))
            for k, keep in enumerate(keeps):
                rng = np.random.default_rng([seed, int(row), begin, k])
                counts, depth[k, at] = thinned(data, line[at], window[at], predictor.bin_bp, keep, rng)
                logits[k, at] = predictor.logits(readout[place[at] - begin], counts, depth[k, at], int(row))
    return logits, depth, labels


def fit_platt(logits: np.ndarray, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit slope, intercept and their changes with ``x`` for each TF.

    ``logits`` (N, TFs), ``x`` (N,) centred log10 depth, ``labels`` int8 (N, TFs), negative where unknown. Minimises
    binary cross-entropy plus a quadratic pull to the fit of all TFs together. Returns float64 (TFs, 4).
    """
    z = torch.from_numpy(logits).double()
    x = torch.from_numpy(np.asarray(x, dtype=np.float64))[:, None]
    known = torch.from_numpy(labels >= 0)
    bound = torch.from_numpy(labels == BOUND).double()

    def fit(start: torch.Tensor, centre: torch.Tensor | None) -> torch.Tensor:
        p = start.clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS([p], max_iter=100, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            a, b, e, c = p.unbind(1)
            fitted = (a + e * x).clamp_min(0.05) * z + b + c * x
            each = torch.nn.functional.binary_cross_entropy_with_logits(fitted, bound, reduction="none")
            loss = (each * known).sum()
            pull = p - (centre if centre is not None else torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=p.dtype))
            loss = loss + PRIOR * pull.square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        return p.detach()

    shared = fit(torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64), None)
    return fit(shared.repeat(z.shape[1], 1), shared).numpy()


def _reliability(tfs: list[str], labels: np.ndarray, logits: np.ndarray) -> dict:
    """Per TF: AUPRC and prevalence on validation windows, and a level a reader can act on.

    ``unknown`` with fewer than ``FEW_BOUND`` bound windows; else by AUPRC: ``low`` below 0.1, ``high`` from 0.5.
    """
    found = {}
    for column, tf in enumerate(tfs):
        known = labels[:, column] >= 0
        m = ranking_metrics(labels[known, column] == BOUND, logits[known, column])
        level = "low" if m["auprc"] < 0.1 else "high" if m["auprc"] >= 0.5 else "medium"
        found[tf] = {
            "auprc": None if np.isnan(m["auprc"]) else round(float(m["auprc"]), 4),
            "prevalence": None if np.isnan(m["prevalence"]) else round(float(m["prevalence"]), 6),
            "n_bound": m["n_bound"],
            "level": "unknown" if m["n_bound"] < FEW_BOUND else level,
        }
    return found
