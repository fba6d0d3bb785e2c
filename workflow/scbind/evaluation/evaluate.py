"""Evaluate every model and baseline on the same held-out windows with the same metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from scbind.core.devices import enough_gpu_memory
from scbind.core.files import atomic, read_json, write_table
from scbind.core.progress import Progress
from scbind.dataset.codes import BOUND
from scbind.dataset.seen import is_same_assembly, same_lines, seen_windows, trained_lines, with_extended
from scbind.dataset.splits import CHR1_PROTOCOL, PROTOCOL, UNKNOWN, kinds_of_holdout, name_kinds
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.merge import METRIC_COLUMNS
from scbind.evaluation.probabilities import CALIBRATION_COLUMNS, calibration_figures
from scbind.evaluation.protocols import as_published, protocol_windows
from scbind.evaluation.testscores import ByTF, LineScores, Predict, score_lines
from scbind.formats.evidence import MOTIF, evidence
from scbind.formats.signal import release_pages
from scbind.models.metrics import (
    pooled_calibration_curve,
    precision_on_grid,
    ranking_metrics,
    sampling_error,
)
from scbind.models.modelfile import read_model
from scbind.models.predictor import Predictor, load_predictor

RECALL_GRID = np.linspace(0, 1, 101)
READ_AT_ONCE = 4096  # number of windows whose context is in memory while the network reads them

Kinds = Callable[[int, np.ndarray], dict[str, np.ndarray]]
Scores = Callable[[TrainingSet, int, np.ndarray], np.ndarray]


@enough_gpu_memory()
def evaluate_model(
    weights: str | Path,
    calibration: str | Path,
    dataset: str | Path,
    reference: str | Path,
    metrics: str | Path,
    curves: str | Path,
    model: str,
    *,
    max_windows: int | None,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
    given: bool = False,
    case_matters: bool = False,
) -> None:
    """Score a model on the test windows of every assayed line; write ``metrics.tsv`` and ``curves.npz``.

    Parameters
    ----------
    weights, calibration
        Files of the model.
    dataset, reference
        Folders of the training set and of the prepared genome.
    metrics, curves
        Outputs; see :func:`score_test_windows` and :func:`write_curves`.
    model
        Name of the model in the table.
    max_windows, seed
        Maximum number of test windows per line (``None``: all), and random seed of the sampling.
    given
        Whether the model was trained elsewhere. The kind of holdout then follows from its own training.
    case_matters
        Whether TFs whose symbols differ only in case are different TFs.

    Raises
    ------
    InputError
        If the model does not fit the dataset (:func:`load_tested`), a file is damaged, or the memory of the GPU does
        not suffice.
    """
    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference, case_matters=case_matters)
    predictor = load_tested(data, weights, calibration, given, device)
    predict = partial(network_scores(predictor), data)
    kinds = partial(kinds_for_given, data, predictor.facts) if given else None
    table, drawn = score_test_windows(data, predict, model, Path(curves).parent, max_windows, seed, kinds)
    kinds_of_evidence = evidence_of(data, predictor)
    table["evidence"] = table["tf"].map(kinds_of_evidence)
    write_table(metrics, table)
    write_curves(drawn, curves, [tf for tf, kind in kinds_of_evidence.items() if kind == MOTIF])


def load_tested(
    data: TrainingSet, weights: str | Path, calibration: str | Path, given: bool, device: str = "cpu"
) -> Predictor:
    """Load a model that is tested on a dataset.

    A TF that a given model predicts from its motif may have ChIP-seq in the dataset, and is then tested. The network is
    loaded without all other motif TFs, because several hundred of them would slow down the test. Raises
    :class:`InputError` if the model cannot be tested on the dataset; see :class:`TrainingSet`.
    """
    motif_tfs = _by_motif(data, read_model(weights)["facts"]) if given else []
    predictor = load_predictor(weights, calibration, device, motif_tfs=motif_tfs)
    check = data.check_given if given else data.check_model
    check(predictor.facts, weights)
    return predictor


def _by_motif(data: TrainingSet, facts: dict) -> list[str]:
    """TFs that a model predicts from their motif and that the dataset has, as the model calls them."""
    kinds = dict(zip(facts["tfs"], evidence(facts), strict=True))
    known = [tf for tf, modelled in zip(facts["tfs"], facts["modelled"], strict=True) if modelled]
    return [same for same in data.match_tfs(known).values() if kinds[same] == MOTIF]


def evidence_of(data: TrainingSet, predictor: Predictor) -> dict[str, str]:
    """TF of the dataset -> evidence of its predictions (``chip`` or ``motif``), without TFs that are not modelled."""
    kinds = dict(zip(predictor.tfs, predictor.evidence, strict=True))
    return {tf: kinds[same] for tf, same in data.match_tfs(predictor.tfs).items()}


def kinds_for_given(data: TrainingSet, facts: dict, line: int, window: np.ndarray) -> dict[str, np.ndarray]:
    """Kinds of holdout as in :func:`scbind.dataset.splits.kinds_of_holdout`, for a model that was trained elsewhere.

    If it was trained on another assembly, it is not known which windows it saw, and the only kind is ``unknown``.
    """
    known = _trained_on(data, with_extended(facts), line, window)
    return name_kinds(*known) if known else {UNKNOWN: np.ones(len(window), dtype=bool)}


def kinds_by_splits(data: TrainingSet, line: int, window: np.ndarray) -> dict[str, np.ndarray]:
    """Kinds of holdout (:func:`scbind.dataset.splits.kinds_of_holdout`) for models that are trained on the dataset.

    If one of them extends a given model, what that was trained on counts for all: the same kind has the same windows
    for all models. If it was trained on another assembly, the only kind is ``unknown``.
    """
    models = [each for facts in data.manifest.get("extends", []) for each in with_extended(facts)]
    known = _trained_on(data, models, line, window)
    if not known:
        return {UNKNOWN: np.ones(len(window), dtype=bool)}
    return kinds_of_holdout(np.asarray(data.splits), line, window, known)


def _trained_on(
    data: TrainingSet, models: Sequence[Mapping], line: int, window: np.ndarray
) -> tuple[np.ndarray, bool] | None:
    """What models with these facts were trained on, as :func:`scbind.dataset.splits.name_kinds` takes it.

    ``None`` if one of them was trained on another assembly, so that it is not known.
    """
    seen, line_trained = np.zeros(len(window), dtype=bool), False
    for facts in models:
        if not is_same_assembly(facts, data.genome.name, data.genome.sequenced):
            return None
        trained, context = trained_lines(facts), data.manifest["context"]
        where = list(data.genome.sizes.names), data.chrom[window], data.context_start(window)
        # as for models that are trained here, a locus counts as known if a line was trained on it
        seen |= seen_windows(facts, trained, *where, context, validated=False).any(axis=0)
        line_trained |= bool(same_lines(data.lines[line], trained))
    return seen, line_trained


def kinds_beside_given(data: TrainingSet, given: Sequence[str | Path]) -> Kinds | None:
    """Kinds of holdout for predictors that stand beside models of which none was trained here.

    ``given``: the ``bundle.json`` of each of these models. The windows have the kinds of the model. Several models saw
    different windows, so there are then no kinds. Without any, a model is trained here, and the result is ``None``: the
    kinds by the splits of the dataset.
    """
    if len(given) == 1:
        facts = read_json(given[0], "run the rule unpack_bundle again", ["facts"])["facts"]
        return partial(kinds_for_given, data, facts)
    return (lambda line, window: {}) if given else None


def network_scores(predictor: Predictor) -> Scores:
    """Make a function (data, line, windows) -> probabilities, float32 (windows, TFs), NaN for TFs not modelled.

    Lines of model and dataset are matched by :func:`scbind.dataset.seen.same_lines`, TFs by
    :func:`scbind.formats.symbols.match_symbols`. The function caches what the network stores of the sequence of the
    last windows requested (1 to 2 kB per window). The same windows in another line or with other signal are not read
    again.
    """
    known = trunk = np.empty(0)
    lines = predictor.facts["cell_lines"]

    def scores_of(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
        nonlocal known, trunk
        blocks = [slice(begin, begin + READ_AT_ONCE) for begin in range(0, len(window), READ_AT_ONCE)]
        if not np.array_equal(known, window):
            starts = data.context_start(window)
            known, chrom = window, data.chrom[window]
            trunk = np.concatenate([predictor.read_trunk(data.genome, chrom[b], starts[b]) for b in blocks])
            release_pages(data.genome.codes)
        scores = np.full((len(window), len(data.tfs)), np.nan, dtype=np.float32)
        matched = data.match_tfs(predictor.tfs)
        columns = [data.tfs.index(tf) for tf in matched]
        rows = [predictor.tfs.index(tf) for tf in matched.values()]
        own = next((lines.index(name) for name in same_lines(data.lines[line], lines)), None)
        for block in blocks:
            counts = data.counts(line, window[block], predictor.bin_bp)
            depth = data.window_depth(line, window[block])
            logits = predictor.logits(predictor.unfold(trunk[block]), counts, depth, own)
            scores[block, columns] = predictor.calibrated(logits, depth)[:, rows]
        return scores

    return scores_of


def score_test_windows(
    data: TrainingSet,
    predict: Predict,
    model: str,
    folder: str | Path,
    max_windows: int | None = None,
    seed: int = 0,
    kinds: Kinds | None = None,
) -> tuple[pd.DataFrame, ByTF]:
    """Compute the metrics of one predictor for each line, TF and kind of holdout.

    Parameters
    ----------
    predict
        Function (line, windows) -> scores, float32 (windows, TFs of the dataset), NaN for TFs it does not cover. If all
        scores of a TF are within [0, 1], they count as probabilities and get figures of calibration.
    model
        Name of the predictor in the table.
    folder
        Folder for temporary files with the scores; see :func:`scbind.evaluation.testscores.score_lines`. Only the
        scores of one TF are in memory at a time.
    max_windows, seed
        If a line has more than ``max_windows`` test windows, that number is sampled with ``seed``, and the metrics
        estimate those of all test windows.
    kinds
        Function (line, windows) -> kind of holdout -> bool (windows,). Default: the kinds by the splits of the dataset.

    Returns
    -------
    tuple
        A DataFrame with columns :data:`scbind.evaluation.merge.METRIC_COLUMNS`, and the scores of each TF.

        - ``split`` is ``test`` for all test windows of a line; a kind of holdout
          (:func:`scbind.dataset.splits.kinds_of_holdout`) for a part of them; or ``CHR1_PROTOCOL`` or ``PROTOCOL`` for
          windows as other authors chose theirs (:mod:`scbind.evaluation.protocols`). ``PROTOCOL`` has no figures
          of calibration, because probabilities cannot be right where bound windows are so frequent.
        - ``evidence`` is empty; callers that have a model set it (:func:`evidence_of`).
        - ``auprc_se`` is the standard error of the AUPRC due to sampling; NaN if all windows were scored.
    """
    lines = score_lines(data, predict, folder, model, max_windows, seed)
    kinds = kinds or partial(kinds_by_splits, data)
    rows = [row for scores in lines for row in _figures(data, scores, model, kinds)]
    return pd.DataFrame(rows, columns=METRIC_COLUMNS), ByTF(data, lines)


def _figures(data: TrainingSet, scores: LineScores, model: str, kinds: Kinds) -> list[dict]:
    """The rows of ``metrics.tsv`` for one line."""
    parts = {"test": np.ones(len(scores.window), dtype=bool)}
    parts |= kinds(scores.line, scores.window)
    parts |= _chr1_part(data, scores.line, scores.window, parts)
    parts[PROTOCOL] = np.isin(scores.window, protocol_windows(data, scores.line))
    rows, covered = [], np.flatnonzero(scores.covered)
    progress = Progress(f"metrics of {model} in {data.lines[scores.line]}, TFs", len(covered))
    for number, row in enumerate(covered):
        progress.reached(number)
        (label, score), tf = scores.read(row), data.tfs[scores.columns[row]]
        known, bound = label >= 0, label == BOUND
        is_probability = score.min() >= 0 and score.max() <= 1
        for split, part in parts.items():
            if not part.any():
                continue
            each = known & part
            given = bound[each], score[each], None if scores.weight is None else scores.weight[each]
            found = {"model": model, "cell_line": data.lines[scores.line], "tf": tf, "split": split}
            found |= ranking_metrics(*given)
            found["auprc_se"] = np.nan if scores.weight is None else sampling_error(*given)
            if is_probability and split != PROTOCOL:
                found |= calibration_figures(*given)
            else:
                found |= dict.fromkeys(CALIBRATION_COLUMNS, np.nan)
            rows.append(found)
    return rows


def _chr1_part(
    data: TrainingSet, line: int, window: np.ndarray, parts: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The windows of a new line and a new chromosome that are tested as published for maxATAC, if there are any."""
    part = parts.get("both", np.zeros(len(window), dtype=bool)) & as_published(data, line, window)
    return {CHR1_PROTOCOL: part} if part.any() else {}


def write_curves(
    drawn: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]],
    output: str | Path,
    by_motif: Collection[str] = (),
) -> None:
    """Write the precision-recall curve of each TF, and the calibration curve of the TFs pooled, to an npz file.

    A comparator that covers no TF gives arrays without rows. ``drawn`` maps each TF to
    labels, scores and weights, as :class:`scbind.evaluation.testscores.ByTF` does. ``by_motif`` are TFs that a model
    predicts from their motif: like the means of the report, the calibration curve is without them.

    The keys are: ``tfs``; ``recall`` (101,), a grid; ``precision`` (TFs, 101), the best precision at a recall of at
    least each grid value; ``prevalence`` (TFs,); ``calibration_predicted``, ``calibration_observed`` and
    ``calibration_count`` (10,), the calibration curve.
    """
    tfs, precision, prevalence = sorted(drawn), [], []

    def each_tf() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        for tf in tfs:
            truth, score, weight = drawn[tf]  # read once, because it may come from disk
            precision.append(precision_on_grid(truth, score, RECALL_GRID, weight))
            prevalence.append(np.average(truth, weights=weight) if len(truth) else np.nan)
            if tf not in by_motif:
                yield truth, np.clip(score, 0, 1), weight

    predicted, observed, count = pooled_calibration_curve(each_tf())
    with atomic(output) as scratch, open(scratch, "wb") as handle:
        np.savez(
            handle,
            tfs=np.array(tfs),
            recall=RECALL_GRID,
            precision=np.array(precision).reshape(len(tfs), len(RECALL_GRID)),
            prevalence=np.array(prevalence),
            calibration_predicted=predicted,
            calibration_observed=observed,
            calibration_count=count,
        )
