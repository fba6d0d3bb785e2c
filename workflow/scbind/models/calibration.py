"""Make predicted probabilities agree with observed frequencies, at every depth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scbind.core.files import atomic, file_sha256
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.draws import draw_windows
from scbind.dataset.hidden import hide_tfs
from scbind.dataset.splits import VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.bundlefile import CALIBRATION, read_bundle
from scbind.formats.evidence import DESCRIBED, names_of_extended
from scbind.models.abstention import reliability
from scbind.models.batches import thinned
from scbind.models.modelfile import read_model
from scbind.models.motifcalibration import add_motif_calibration, of_any_motif_tf, stand_ins
from scbind.models.predictor import SMALLEST_SLOPE, Predictor, load_predictor

DECADES = (0.0, 1.0, 2.0, 3.0)  # validation signal is thinned by these powers of ten
FIT_ROWS = 4096  # rows of logits fitted at a time, so that they stay in the processor's cache
# Penalty on the parameters of a TF per squared distance from the shared fit, in units of log likelihood
PRIOR = 5.0


@dataclass(frozen=True)
class LineWindows:
    """N (line, window) pairs of a dataset, and the shares of their fragments at which they are predicted.

    Attributes
    ----------
    data
        The dataset.
    line, window
        Index of the line and of the window of each pair, int (N,).
    keeps
        Shares of the fragments, in (0, 1].
    seed
        Seed of the thinning.
    chunk
        Number of windows whose sequence is read at a time. The sequence of each window is read once.
    """

    data: TrainingSet
    line: np.ndarray
    window: np.ndarray
    keeps: Sequence[float] = (1.0,)
    seed: int = 0
    chunk: int = 4096

    def labels(self, predictor: Predictor) -> np.ndarray:
        """Return the labels of the modelled TFs: int8 (N, TFs)."""
        columns = [self.data.tfs.index(tf) for tf in predictor.tfs]
        return self.data.labels[self.line, self.window][:, columns]


def calibrate(
    weights: str | Path,
    dataset: str | Path,
    reference: str | Path,
    output: str | Path,
    max_windows: int,
    seed: int,
    threads: int = 1,
    hidden: Sequence[str] = (),
    extends: str | Path | None = None,
) -> None:
    """Fit the calibration of a model on the validation split and store it with the reliability of each TF.

    The method is Platt scaling (Platt 1999) per TF. Slope and intercept depend linearly on log10 depth. They are fitted
    on validation windows at full depth and thinned 10-, 100- and 1,000-fold. They are shrunk towards a fit shared by
    all TFs, so that a TF with few bound windows gets sensible values. If there are more than ``max_windows``
    validation windows, they are sampled with inverse-probability weights, so that fit and metrics estimate the full
    split (:func:`scbind.dataset.draws.draw_windows`).

    The JSON file ``output`` holds:

    - ``model_sha256``: SHA-256 of the weights. The calibration is valid for this file only.
    - ``tfs``: names of the modelled TFs.
    - ``parameters``: TF -> slope, intercept, and the change of each per decade of depth.
    - ``log10_depth_centre``: the mean log10 depth (insertions per base) of the fit, where these changes are 0.
    - ``reliability``: TF -> the values of :func:`scbind.models.abstention.reliability`, and ``spread``.

    ``spread`` is the standard deviation of P(bound) between the members of the network, averaged over the windows
    called bound. These are the most probable windows; their number equals the number of bound windows. ``spread`` is
    ``null`` for a TF without a bound window, and for a network of one member.

    TFs without ChIP-seq have no label. If the model can predict such TFs, ``motif_tfs`` holds what serves all of them
    (:func:`scbind.models.motifcalibration.of_any_motif_tf`), and those that the model has are in the entries above.
    ``hidden`` are TFs of the dataset that the training
    did not see (:mod:`scbind.dataset.hidden`). Their labels are not read.

    ``extends`` is the bundle that the model extends, if any (:mod:`scbind.models.extension`). The TFs of the dataset
    are fitted, shrunk towards what serves any TF without ChIP-seq there; all others keep the calibration of the bundle.

    Raises
    ------
    InputError
        If the weights are damaged or belong to another dataset.
    """
    torch.set_num_threads(max(1, threads))
    data = hide_tfs(TrainingSet.open(dataset, reference), hidden)
    assayed = load_predictor(weights, motif_tfs=())
    predictor = _of_trained(assayed)
    data.check_model(predictor.facts, weights)
    base = json.loads(read_bundle(extends).members[CALIBRATION]) if extends else None
    line, window, weight = draw_windows(data, VALID, max_windows, seed)
    keeps = tuple(10.0**-decade for decade in DECADES)
    say(f"calibration: {len(line):,} validation windows, each at {len(keeps)} depths")
    pairs = LineWindows(data, line, window, keeps, seed)
    labels = pairs.labels(predictor)
    logits, depth = predict_pairs(predictor, pairs)
    known = reliability(predictor.tfs, labels, logits, depth, weight)
    # the same limits as in Predictor.calibrated
    x = np.log10(np.clip(depth.ravel(), 1e-7, predictor.facts["deepest"]))
    centre = base["log10_depth_centre"] if base else float(x.mean())
    observed = x - centre, np.tile(labels, (len(keeps), 1)), np.tile(weight, len(keeps))
    prior = np.array(base["motif_tfs"]["parameters"]) if base else None
    parameters = fit_platt(np.concatenate(logits), *observed, centre=prior)
    stored = {
        "model_sha256": file_sha256(weights),
        "tfs": predictor.tfs,
        "log10_depth_centre": centre,
        "parameters": {
            tf: [round(float(v), 6) for v in p] for tf, p in zip(predictor.tfs, parameters, strict=True)
        },
        "reliability": known,
    }
    fitted = Predictor(predictor.network, predictor.facts, stored, predictor.device)
    called = _called(fitted.calibrated(logits[0], depth[0]), labels, weight)
    for tf, spread in zip(fitted.tfs, _mean_spread(fitted, pairs, called), strict=True):
        known[tf]["spread"] = None if np.isnan(spread) else round(float(spread), 6)
    if base:
        _add_base(stored, base, assayed.facts)
    elif strangers := stand_ins(weights):
        logits, depth = predict_pairs(strangers, pairs)
        one = fit_platt(np.concatenate(logits), *observed, shared=True)
        measured = reliability(predictor.tfs, labels, logits, depth, weight)
        stored["motif_tfs"] = of_any_motif_tf(one, measured)
    if "motif_tfs" in stored:
        add_motif_calibration(stored, read_model(weights)["facts"])
    abstained = sorted(tf for tf in known if known[tf]["abstained"])
    say(
        f"calibration: scbind abstains on {len(abstained)} of {len(known)} TFs: {', '.join(abstained) or 'none'}"
    )
    with atomic(output) as path:
        path.write_text(json.dumps(stored, indent=1))


def _of_trained(predictor: Predictor) -> Predictor:
    """A predictor of the TFs alone that were trained on the dataset, if the model extends another one."""
    facts = predictor.facts
    if "trained" not in facts:
        return predictor
    kept = [tf in facts["trained"] for tf in facts["tfs"]]
    return Predictor(predictor.network, facts | {"modelled": kept}, None, predictor.device)


def _add_base(stored: dict, base: Mapping, facts: Mapping) -> None:
    """Add to a calibration, in place, that of the model ``base`` for the TFs that were not fitted."""
    names = names_of_extended(facts)
    stored["tfs"] = [tf for tf, made in zip(facts["tfs"], facts["modelled"], strict=True) if made]
    known = {
        names[tf]: {key: value for key, value in entry.items() if key not in DESCRIBED}
        for tf, entry in base["reliability"].items()
        if tf in names
    }
    parameters = {names[tf]: values for tf, values in base["parameters"].items() if tf in names}
    for part, theirs in (("parameters", parameters), ("reliability", known)):
        both = theirs | stored[part]
        stored[part] = {tf: both[tf] for tf in stored["tfs"]}
    stored["motif_tfs"] = base["motif_tfs"]


def predict_pairs(predictor: Predictor, pairs: LineWindows) -> tuple[np.ndarray, np.ndarray]:
    """Predict logits of N (line, window) pairs when a share of their fragments is kept, for each share.

    Networks with weights per line use those of the pair's line.

    Returns
    -------
    tuple
        Logits, float32 (keeps, N, TFs), of the modelled TFs; depth in insertions per base, float32 (keeps, N).
    """
    logits = np.empty((len(pairs.keeps), len(pairs.line), len(predictor.tfs)), np.float32)
    depth = np.empty((len(pairs.keeps), len(pairs.line)), np.float32)
    for k, at, inputs in _inputs(predictor, pairs):
        depth[k, at] = inputs[2]
        logits[k, at] = predictor.logits(*inputs)
    return logits, depth


def _inputs(predictor: Predictor, pairs: LineWindows) -> Iterator[tuple[int, np.ndarray, tuple]]:
    """Yield the index of the share, the indices of the pairs, and their readout, counts, depth and line."""
    data, line, window = pairs.data, pairs.line, pairs.window
    unique, place = np.unique(window, return_inverse=True)
    for begin in range(0, len(unique), pairs.chunk):
        here = unique[begin : begin + pairs.chunk]
        readout = predictor.read_windows(data.genome, data.chrom[here], data.context_start(here))
        inside = (place >= begin) & (place < begin + pairs.chunk)
        for row in np.unique(line[inside]):
            at = np.flatnonzero(inside & (line == row))
            for k, keep in enumerate(pairs.keeps):
                counts, depth = thinned(data, line[at], window[at], predictor.bin_bp, keep, pairs.seed)
                yield k, at, (readout[place[at] - begin], counts, depth, int(row))


def _called(probability: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of each window that is called bound, and 0 for the others: float64 (N, TFs).

    For each TF, the labelled windows with the highest probabilities are called bound. Their weighted number equals
    that of the bound windows. ``weight`` (N,) is the number of windows that each one represents.
    """
    order = np.argsort(np.where(labels >= 0, -probability, np.inf), axis=0, kind="stable")
    n_bound = weight @ (labels == BOUND)
    before = np.cumsum(weight[order], axis=0) - weight[order]
    called = np.zeros(labels.shape)
    np.put_along_axis(called, order, (before < n_bound) * weight[order], axis=0)
    return called * (labels >= 0)


def _mean_spread(predictor: Predictor, pairs: LineWindows, called: np.ndarray) -> np.ndarray:
    """Mean spread of each TF over (line, window) pairs at full depth, float64 (TFs,).

    ``called`` (pairs, TFs) is the weight of each pair. NaN for a TF without a called pair or a network of one member.
    """
    total, count = np.zeros(called.shape[1]), called.sum(axis=0)
    some = np.flatnonzero(called.any(axis=1))
    if predictor.network.n_members == 1 or not len(some):
        return np.full(len(total), np.nan)
    called = called[some]
    for _, at, inputs in _inputs(predictor, LineWindows(pairs.data, pairs.line[some], pairs.window[some])):
        total += (predictor.spread(*inputs) * called[at]).sum(axis=0, dtype=np.float64)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def fit_platt(
    logits: np.ndarray,
    x: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    *,
    shared: bool = False,
    centre: np.ndarray | None = None,
) -> np.ndarray:
    """Fit slope, intercept and their changes with log10 depth for each TF.

    Minimises the weighted sum of the binary cross-entropy over all labelled entries, plus a quadratic penalty that
    pulls the parameters of each TF towards a fit shared by all TFs.

    Parameters
    ----------
    logits
        float (N, TFs).
    x
        Centred log10 depth, (N,).
    labels
        int8 (N, TFs), negative where unknown.
    weight
        Number of windows that each row represents, (N,).
    shared
        Return the fit shared by all TFs, for TFs that have no label.
    centre
        Parameters, (4,), towards which those of each TF are pulled, instead of the fit shared by all.

    Returns
    -------
    numpy.ndarray
        float64 (TFs, 4), or (4,) if ``shared``: slope, intercept, change of the slope with ``x``, change of the
        intercept with ``x``.
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
            for part in rows:  # intermediate values are in memory for one block at a time
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

    if centre is None:
        one = fit(torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64), None)
    else:
        one = torch.from_numpy(np.asarray(centre, dtype=np.float64))[None]
    return one[0].numpy() if shared else fit(one.repeat(z.shape[1], 1), one).numpy()
