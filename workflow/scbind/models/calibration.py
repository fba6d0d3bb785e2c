"""Make probabilities mean what they say, at every depth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from scbind.core.files import atomic, file_sha256
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.draws import draw_windows
from scbind.dataset.splits import VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.models.abstention import reliability
from scbind.models.batches import thinned
from scbind.models.predictor import SMALLEST_SLOPE, Predictor, load_predictor

DECADES = (0.0, 1.0, 2.0, 3.0)  # the validation signal is also seen thinned by these powers of ten
FIT_ROWS = 4096  # of logits that are fitted at a time: they stay in the processor's cache
PRIOR = 5.0  # pull of one TF's parameters to those of all TFs, in units of log likelihood per unit squared


def calibrate(
    checkpoint: str | Path,
    dataset: str | Path,
    reference: str | Path,
    output: str | Path,
    max_windows: int,
    seed: int,
    threads: int = 1,
) -> None:
    """Fit the calibration of a model on the validation split and store it with each TF's reliability.

    Platt scaling (Platt 1999) per TF. Slope and intercept depend linearly on log10 depth. They are fitted on
    validation windows at full depth and thinned 10-, 100- and 1,000-fold, and shrunk towards a fit shared by all TFs,
    so that a TF with few bound windows gets sensible values. If there are more than ``max_windows`` validation windows,
    they are sampled with inverse-probability weights, so that fit and metrics estimate the full split
    (:func:`scbind.dataset.draws.draw_windows`). The JSON holds ``checkpoint_sha256`` (of the file it was made
    for: it goes with no other), ``tfs``, ``parameters`` (TF -> slope, intercept, and their change per decade of
    depth), ``log10_depth_centre`` and ``reliability``: what
    :func:`scbind.models.abstention.reliability` says of each TF, and ``spread``, the mean over the windows
    called bound of the
    standard deviation between members (as many windows are called as are bound, the most probable first; ``null``
    where none is bound, and for a network of one member).
    """
    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference)
    predictor = load_predictor(checkpoint, genome=data.genome)
    data.check_model(predictor.facts, checkpoint)
    line, window, weight = draw_windows(data, VALID, max_windows, seed)
    keeps = tuple(10.0**-decade for decade in DECADES)
    say(f"calibration: {len(line):,} validation windows, each at {len(keeps)} depths")
    logits, depth, labels = predict_pairs(predictor, data, line, window, keeps, seed)
    known = reliability(predictor.tfs, labels, logits, depth, weight)
    x = np.log10(np.clip(depth.ravel(), 1e-7, predictor.facts["deepest"]))  # as where it is applied
    centre = float(x.mean())
    parameters = fit_platt(
        np.concatenate(logits), x - centre, np.tile(labels, (len(keeps), 1)), np.tile(weight, len(keeps))
    )
    stored = {
        "checkpoint_sha256": file_sha256(checkpoint),
        "tfs": predictor.tfs,
        "log10_depth_centre": centre,
        "parameters": {
            tf: [round(float(v), 6) for v in p] for tf, p in zip(predictor.tfs, parameters, strict=True)
        },
        "reliability": known,
    }
    fitted = Predictor(predictor.network, predictor.facts, stored, predictor.device)
    called = _called(fitted.calibrated(logits[0], depth[0]), labels, weight)
    for tf, spread in zip(fitted.tfs, _mean_spread(fitted, data, line, window, called), strict=True):
        known[tf]["spread"] = None if np.isnan(spread) else round(float(spread), 6)
    abstained = sorted(tf for tf in known if known[tf]["abstained"])
    say(
        f"calibration: {len(abstained)} of {len(known)} TFs are abstained on: {', '.join(abstained) or 'none'}"
    )
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
    """Logits, depths and labels of (line, window) pairs, at shares ``keeps`` of their fragments.

    Returns float32 (keeps, N, TFs), float32 (keeps, N) and int8 (N, TFs); TFs are the modelled ones. Networks that
    keep weights per line use the line's own. Each window's sequence is read once, ``chunk`` windows at a time.
    """
    logits = np.empty((len(keeps), len(line), len(predictor.tfs)), np.float32)
    depth = np.empty((len(keeps), len(line)), np.float32)
    labels = np.asarray(data.labels[line, window])[:, predictor.columns]
    for k, at, inputs in _inputs(predictor, data, line, window, keeps, seed, chunk):
        depth[k, at] = inputs[2]
        logits[k, at] = predictor.logits(*inputs)
    return logits, depth, labels


def _inputs(
    predictor: Predictor,
    data: TrainingSet,
    line: np.ndarray,
    window: np.ndarray,
    keeps: Sequence[float],
    seed: int,
    chunk: int,
) -> Iterator[tuple[int, np.ndarray, tuple]]:
    """Yield the number of the share, the pairs concerned, and their readout, counts, depth and line."""
    unique, place = np.unique(window, return_inverse=True)
    for begin in range(0, len(unique), chunk):
        here = unique[begin : begin + chunk]
        readout = predictor.read_windows(data.genome, data.chrom[here], data.context_start(here))
        inside = (place >= begin) & (place < begin + chunk)
        for row in np.unique(line[inside]):
            at = np.flatnonzero(inside & (line == row))
            for k, keep in enumerate(keeps):
                counts, depth = thinned(data, line[at], window[at], predictor.bin_bp, keep, seed)
                yield k, at, (readout[place[at] - begin], counts, depth, int(row))


def _called(probability: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What each window counts for among those called: of a TF's known windows the most probable, as many as are bound.

    ``weight`` (N,) is how many windows each stands for. Returns float64 (N, TFs): it, or 0 for what is not called.
    """
    order = np.argsort(np.where(labels >= 0, -probability, np.inf), axis=0, kind="stable")
    n_bound = weight @ (labels == BOUND)
    before = np.cumsum(weight[order], axis=0) - weight[order]
    called = np.zeros(labels.shape)
    np.put_along_axis(called, order, (before < n_bound) * weight[order], axis=0)
    return called * (labels >= 0)


def _mean_spread(
    predictor: Predictor,
    data: TrainingSet,
    line: np.ndarray,
    window: np.ndarray,
    called: np.ndarray,
    chunk: int = 4096,
) -> np.ndarray:
    """Mean spread of each TF over (line, window) pairs, float64 (TFs,); NaN where there is none.

    ``called`` (pairs, TFs) is what each pair counts for.
    """
    total, count = np.zeros(called.shape[1]), called.sum(axis=0)
    some = np.flatnonzero(called.any(axis=1))
    if predictor.network.n_members == 1 or not len(some):
        return np.full(len(total), np.nan)
    called = called[some]
    for _, at, inputs in _inputs(predictor, data, line[some], window[some], (1.0,), 0, chunk):
        total += (predictor.spread(*inputs) * called[at]).sum(axis=0, dtype=np.float64)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def fit_platt(logits: np.ndarray, x: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fit slope, intercept and their changes with ``x`` for each TF.

    ``logits`` (N, TFs), ``x`` (N,) centred log10 depth, ``labels`` int8 (N, TFs), negative where unknown, ``weight``
    (N,) how many windows each stands for. Minimises binary cross-entropy summed over all of these, plus a
    quadratic pull to the fit of all TFs together. Returns float64 (TFs, 4).
    """
    z = torch.from_numpy(logits).double()
    x = torch.from_numpy(np.asarray(x, dtype=np.float64))[:, None]
    counts = torch.from_numpy((labels >= 0) * np.asarray(weight, dtype=np.float64)[:, None])
    bound = torch.from_numpy(labels == BOUND).double()
    rows = [slice(begin, begin + FIT_ROWS) for begin in range(0, len(z), FIT_ROWS)]

    def fit(start: torch.Tensor, centre: torch.Tensor | None) -> torch.Tensor:
        p = start.clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS([p], max_iter=100, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            pull = p - (centre if centre is not None else torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=p.dtype))
            loss = PRIOR * pull.square().sum()
            loss.backward()
            total = loss.detach()
            for part in rows:  # what lies between logits and loss is held for a block at a time
                a, b, e, c = p.unbind(1)
                fitted = (a + e * x[part]).clamp_min(SMALLEST_SLOPE) * z[part] + b + c * x[part]
                each = torch.nn.functional.binary_cross_entropy_with_logits(
                    fitted, bound[part], reduction="none"
                )
                loss = (each * counts[part]).sum()
                loss.backward()
                total += loss.detach()
            return total

        optimiser.step(closure)
        return p.detach()

    shared = fit(torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64), None)
    return fit(shared.repeat(z.shape[1], 1), shared).numpy()
