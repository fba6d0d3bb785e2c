"""Accuracy for TFs without ChIP-seq: TFs with ChIP-seq are left out of the training and then tested.

A model is trained once per fold of TFs (:mod:`scbind.dataset.hidden`). The TFs of the fold are then added and
calibrated like TFs without ChIP-seq, and scored on the same test windows as all models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from scbind.core.devices import enough_gpu_memory
from scbind.core.files import write_table
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.depth import score_depths
from scbind.evaluation.evaluate import Scores, evidence_of, network_scores, score_test_windows
from scbind.evaluation.leftouttable import PAIR, POOLED_TREES
from scbind.evaluation.pooledtrees import pooled_trees
from scbind.formats.evidence import MOTIF, evidence
from scbind.formats.motifs import read_motifs
from scbind.models.addition import add_left_out
from scbind.models.calibration import calibrate
from scbind.models.predictor import Predictor, load_predictor


@dataclass(frozen=True)
class LeftOutFiles:
    """Files of one fold.

    Attributes
    ----------
    trained, known
        The model that was trained without the TFs of the fold, and ``motifs.npz`` of all TFs with ChIP-seq.
    dataset, reference
        Folders of the training set and of the prepared genome.
    weights, calibration
        Outputs: the model with these TFs added, and its calibration.
    metrics, depth
        Outputs: tables of these TFs, as of :func:`evaluate_left_out`.
    """

    trained: str | Path
    known: str | Path
    dataset: str | Path
    reference: str | Path
    weights: str | Path
    calibration: str | Path
    metrics: str | Path
    depth: str | Path


@enough_gpu_memory()
def evaluate_left_out(
    files: LeftOutFiles,
    model: str,
    fold: int,
    *,
    valid_windows: int,
    calibration_seed: int,
    test_windows: int | None,
    keeps: Sequence[float],
    depth_windows: int,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Test a model on the TFs that its training did not see, and write two tables of them.

    ``metrics`` has ``model, fold, motif_group``, what the calibration expects of a TF without ChIP-seq
    (``auprc_expected, reliability_level, reliability_abstained``), the columns
    :data:`scbind.evaluation.merge.METRIC_COLUMNS`, and the AUPRC of trees that were fitted to the other TFs
    (:func:`scbind.evaluation.pooledtrees.pooled_trees`). ``depth`` has ``fold`` and the columns
    :data:`scbind.evaluation.merge.DEPTH_COLUMNS`.

    Parameters
    ----------
    files
        Files of the fold.
    model, fold
        Name of the model, and number of the fold in the tables.
    valid_windows, calibration_seed
        As of the calibration of the model (:func:`scbind.models.calibration.calibrate`).
    test_windows, seed
        As of :func:`scbind.evaluation.evaluate.evaluate_model`, so that the windows are the same.
    keeps, depth_windows
        As of :func:`scbind.evaluation.depth.score_depths`.
    """
    torch.set_num_threads(max(1, threads))
    data = TrainingSet.open(files.dataset, files.reference)
    add_left_out(files.trained, files.known, files.weights)
    hidden = _hidden(load_predictor(files.weights))
    given = files.dataset, files.reference, files.calibration
    calibrate(files.weights, *given, valid_windows, calibration_seed, threads, hidden)
    predictor = load_predictor(files.weights, files.calibration, device)
    scores = _only(hidden, network_scores(predictor))
    trees = pooled_trees(data, read_motifs(files.known), hidden, calibration_seed)
    tested = partial(_tested, data, Path(files.metrics).parent, test_windows, seed)
    beside = tested("pooled trees", trees)[[*PAIR, "auprc"]].rename(columns={"auprc": POOLED_TREES})
    table = tested(model, scores).merge(beside, on=PAIR, how="left", validate="one_to_one")
    kinds_of_evidence = evidence_of(data, predictor)
    table["evidence"] = table["tf"].map(kinds_of_evidence)
    write_table(files.metrics, _described(table, predictor, fold))
    thinned = score_depths(data, {model: scores}, keeps, depth_windows, seed)
    thinned["evidence"] = thinned["tf"].map(kinds_of_evidence)
    thinned.insert(1, "fold", fold)
    write_table(files.depth, thinned)


def _hidden(predictor: Predictor) -> list[str]:
    kinds = evidence(predictor.facts)
    return [tf for tf, kind in zip(predictor.facts["tfs"], kinds, strict=True) if kind == MOTIF]


def _tested(
    data: TrainingSet, folder: Path, test_windows: int | None, seed: int, name: str, scores: Scores
) -> pd.DataFrame:
    return score_test_windows(data, partial(scores, data), name, folder, test_windows, seed)[0]


def _only(tfs: Sequence[str], scores: Scores) -> Scores:
    """Return the same scores, NaN for all TFs but these."""

    def scores_of(data: TrainingSet, line: int, window: np.ndarray) -> np.ndarray:
        found = scores(data, line, window)
        found[:, [tf not in tfs for tf in data.tfs]] = np.nan
        return found

    return scores_of


def _described(table: pd.DataFrame, predictor: Predictor, fold: int) -> pd.DataFrame:
    """Insert the fold, and what the calibration says about each TF, after the name of the model."""
    known = [predictor.reliability[tf] for tf in table["tf"]]
    said = {
        "fold": fold,
        "motif_group": [each["motif_group"] for each in known],
        "auprc_expected": [each["auprc_expected"] for each in known],
        "reliability_level": [each["level"] for each in known],
        "reliability_abstained": [each["abstained"] for each in known],
    }
    for place, (name, values) in enumerate(said.items(), start=1):
        table.insert(place, name, values)
    return table
