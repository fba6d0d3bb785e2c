"""How accuracy falls with depth: the same windows and the same thinned tracks for every model and baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.dataset.codes import BOUND
from scbind.dataset.draws import draw_windows
from scbind.dataset.splits import TEST
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.evaluate import Scores, network_scores, stack_tables
from scbind.evaluation.registry import CONTROLS
from scbind.formats.genome import Genome
from scbind.formats.signal import CHUNK
from scbind.formats.thinning import is_kept, make_salt
from scbind.models.abstention import FEW_BOUND
from scbind.models.metrics import calibration_error, depth_that_keeps
from scbind.models.predictor import load_predictor

COLUMNS = [
    "model", "cell_line", "tf", "keep", "depth", "n_windows", "n_bound", "prevalence", "auprc", "ece",
]  # fmt: skip
NEEDED_COLUMNS = ["model", "tf", "n_bound", "auprc_full", "depth_needed", "fragments_needed", "at_most"]
ENOUGH = 0.9  # of the AUPRC at full depth


def evaluate_depth(
    checkpoint: str | Path,
    calibration: str | Path,
    dataset: str | Path,
    reference: str | Path,
    output: str | Path,
    model: str,
    keeps: Sequence[float],
    max_windows: int,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Write a model's ``depth.tsv``; columns and arguments as in :func:`score_depths`."""
    import torch

    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(dataset, reference)
    predictor = load_predictor(checkpoint, calibration, genome=data.genome)
    data.check_model(predictor.facts, checkpoint)
    write_table(output, score_depths(data, {model: network_scores(predictor)}, keeps, max_windows, seed))


def score_depths(
    data: TrainingSet,
    predictors: Mapping[str, Scores],
    keeps: Sequence[float],
    max_windows: int,
    seed: int,
    probabilities: Sequence[str] | None = None,
) -> pd.DataFrame:
    """AUPRC and calibration error of predictors on test windows at shares of the fragments.

    Parameters
    ----------
    predictors
        Name -> function (data, line, windows) -> float32 (windows, TFs of the dataset), NaN for what is not covered;
        ``data`` holds the thinned track and its depth.
    keeps
        Shares in (0, 1]; full depth is always added.
    max_windows
        Of each line at most so many test windows, see :func:`scbind.dataset.draws.draw_windows`.
    seed
        Of windows and thinning. Neither depends on the predictor, so that separate calls can be compared.
    probabilities
        Predictors whose scores are probabilities and get a calibration error; default all.

    Returns
    -------
    DataFrame
        ``model, cell_line, tf, keep, depth`` (insertions per base, after thinning), ``n_windows, n_bound`` (drawn, with
        a known label), ``prevalence, auprc, ece`` (estimates for all test windows; NaN without bound windows).
    """
    rows = []
    for line, name in enumerate(data.lines):
        assayed = np.flatnonzero(data.manifest["assayed"][line])
        _, window, weight = draw_windows(data, TEST, max_windows, seed, [line])
        if not len(window) or not len(assayed):
            continue
        labels = np.asarray(data.labels[line, window])
        for keep in sorted({1.0, *keeps}, reverse=True):
            track = thin(data, line, keep, seed)
            depth = float(np.average(track.window_depth(line, window), weights=weight))
            say(f"{name}: {len(window):,} test windows, {keep:g} of the fragments")
            for model, predict in predictors.items():
                scores = predict(track, line, window)
                is_probability = probabilities is None or model in probabilities
                for column in assayed:
                    known = labels[:, column] >= 0
                    if np.isnan(scores[:, column]).any():
                        continue
                    found = _weighted(
                        labels[known, column] == BOUND, scores[known, column], weight[known], is_probability
                    )
                    where = {"model": model, "cell_line": name, "tf": data.tfs[column]}
                    rows.append(where | {"keep": keep, "depth": depth} | found)
    return pd.DataFrame(rows, columns=COLUMNS)


def _weighted(truth: np.ndarray, score: np.ndarray, weight: np.ndarray, is_probability: bool) -> dict:
    """Figures of one TF when each window stands for ``weight`` windows."""
    some = truth.any() and not truth.all()
    return {
        "n_windows": len(truth),
        "n_bound": int(truth.sum()),
        "prevalence": (weight * truth).sum() / weight.sum() if len(truth) else np.nan,
        "auprc": average_precision_score(truth, score, sample_weight=weight) if some else np.nan,
        "ece": calibration_error(truth, score, weight=weight) if is_probability else np.nan,
    }


def thin(data: TrainingSet, line: int, keep: float, seed: int) -> TrainingSet:
    """The dataset with each fragment of one line kept with probability ``keep``, and that line's depth times it.

    What is kept follows :mod:`scbind.formats.thinning`: what is kept at a small share is part of what is kept at
    a larger one, and counts at any width and bin agree. Memory: the insertions that are kept.
    """
    if keep >= 1:
        return data
    salt = make_salt(seed, line, 1)
    insertions, fragments, depth = list(data.insertions), list(data.fragments), data.depth.copy()
    kept = [np.empty((2, 0), dtype=np.uint32)]
    for begin in range(0, len(insertions[line]), CHUNK):
        part = np.stack([each[line][begin : begin + CHUNK] for each in (insertions, fragments)])
        kept.append(part[:, is_kept(part[1], keep, salt)])
    insertions[line], fragments[line] = np.concatenate(kept, axis=1)
    depth[line] *= keep
    return replace(data, insertions=insertions, fragments=fragments, depth=depth)


def merge_depths(
    tables: Sequence[str | Path], reference: str | Path, output: str | Path, needed: str | Path
) -> None:
    """Put the depth tables of models and baselines under each other, and say how many fragments each TF needs.

    Raises :class:`InputError` for a table with other columns.
    """
    merged = stack_tables(tables, COLUMNS)
    write_table(output, merged)
    write_table(needed, fragments_needed(merged, int(Genome.open(reference).known_lengths().sum())))


def fragments_needed(table: pd.DataFrame, known_bases: int) -> pd.DataFrame:
    """Fragments from which on a model keeps ``ENOUGH`` of the AUPRC that it has at full depth, per TF.

    Over the lines with at least ``FEW_BOUND`` bound windows, the AUPRC is averaged and the depth is a geometric mean.
    The depth at which the AUPRC falls below is interpolated in log depth between the two shares beside it. Fragments
    are depth times ``known_bases`` (the genome without N) over two, as a fragment gives two insertions: what one cell,
    with what it borrows, or one pseudobulk has to hold.

    Returns
    -------
    DataFrame
        ``model, tf, n_bound`` (drawn, over all lines), ``auprc_full, depth_needed, fragments_needed``, and ``at_most``:
        even the smallest share is enough, so that the number is an upper bound. NaN where no line has enough bound
        windows. Controls (:data:`scbind.evaluation.registry.CONTROLS`) are left out.

    Examples
    --------
    >>> table = pd.DataFrame({'keep': [1.0, 0.1], 'depth': [0.1, 0.01], 'auprc': [0.8, 0.64]})
    >>> table = table.assign(model='scbind', tf='CTCF', n_bound=50)
    >>> int(fragments_needed(table, known_bases=1_000_000)['fragments_needed'][0])
    15811
    """
    rows = []
    for (model, tf), part in table[~table["model"].isin(CONTROLS)].groupby(["model", "tf"]):
        n_bound = int(part.loc[part["keep"] == 1, "n_bound"].sum())
        part = part[(part["n_bound"] >= FEW_BOUND) & part["auprc"].notna()]
        row = {"model": model, "tf": tf, "n_bound": n_bound, "at_most": False}
        if len(part):
            part = part.assign(log=np.log(part["depth"]))
            curve = part.groupby("keep")[["log", "auprc"]].mean().sort_index(ascending=False)
            log_depth, row["at_most"] = depth_that_keeps(curve["log"], curve["auprc"], ENOUGH)
            row |= {"auprc_full": curve["auprc"].iloc[0], "depth_needed": np.exp(log_depth)}
            row["fragments_needed"] = row["depth_needed"] * known_bases / 2
        rows.append(row)
    return pd.DataFrame(rows, columns=NEEDED_COLUMNS)
