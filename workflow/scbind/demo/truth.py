"""Compare the predicted binding of the demo with the simulated truth.

The truth comes from the ``truth`` folder of the demo: ``cells.tsv`` (barcode, cell_type, is_cell), ``elements.bed``,
``sites.tsv`` (chrom, start, end, tf, element, strength, ``bound_{type}``), ``open.npz`` (openness of each element in
each cell) and ``activity.tsv`` (types, TFs). It is used only for scoring. No choice in this module depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import average_precision_score

from scbind.binding.samplecells import SampleCells
from scbind.binding.store import open_binding
from scbind.binding.windows import Windows
from scbind.core.errors import InputError
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.demo.oracle import combined, sites_near
from scbind.demo.simulate_sites import MEAN_REACH
from scbind.demo.truthfiles import Truth, barcodes
from scbind.formats.celltable import read_passing_cells
from scbind.formats.genome import ChromSizes, Genome
from scbind.formats.signal import borrowed, window_blocks

COLUMNS = [
    "model", "tf", "chromosomes", "cells", "n_cells", "n_windows", "prevalence", "auprc_mean", "auprc_median",
]  # fmt: skip


@dataclass(frozen=True)
class ScoredFiles:
    """The binding store of a sample, the ``truth`` folder of the demo, and the files that the store was made from.

    Attributes
    ----------
    binding
        ``results/binding/{sample}.zarr``.
    truth
        The ``truth`` folder of the demo.
    position, cell, cells
        ``position.npy``, ``cell.npy`` and ``lenders.h5ad`` of ``results/cells/{sample}``.
    windows
        ``results/binding/windows.npz``.
    reference
        ``results/reference/{genome}``.
    """

    binding: str | Path
    truth: str | Path
    position: str | Path
    cell: str | Path
    cells: str | Path
    windows: str | Path
    reference: str | Path


@dataclass(frozen=True)
class ScoreOptions:
    """Which cells and chromosomes are compared with the truth.

    Attributes
    ----------
    held_out
        Chromosomes that are also scored on their own. It may be empty.
    max_cells, seed
        Size and seed of the random sample of cells that is scored.
    network_cells
        Number of these cells on which the other networks also run. A network that reads the sequence again for each
        cell is slow.
    model
        Name of the predictions of the store in the column ``model``.
    """

    held_out: list[str]
    max_cells: int
    network_cells: int
    seed: int
    model: str


def score_cells(
    files: ScoredFiles,
    output: str | Path,
    options: ScoreOptions,
    networks: dict[str, tuple] | None = None,
    threads: int = 1,
) -> None:
    """Write ``cells.tsv``: how well the binding events of single cells are ranked, per TF.

    A TF binds a window in a cell if a site meets three conditions: a peak of mean width around the site covers more
    than half of the window (as in the labels of the training), the site is bound in the type of the cell, and its
    element is open in this cell. The score of a cell with at least one event is the average
    precision over the windows of the store. Events outside the windows are ignored.

    Rankings for comparison: ``accessibility`` counts insertions in the window, including borrowed ones. ``oracle`` is
    the probability of an event (:mod:`scbind.demo.oracle`) from the true preferences and the openness of elements in
    this cell. ``oracle_type`` uses the openness in the type of the cell. Borrowing cannot show more than that.

    Columns: ``model, tf, chromosomes`` (``all``, or the chromosomes held out from training, joined by commas),
    ``cells`` (``sample``; or ``few`` for the part of the sample on which the other networks also run), ``n_cells``
    (number of cells with an event), ``n_windows, prevalence`` (mean over these cells), ``auprc_mean, auprc_median``.
    TFs without an event have no rows.

    Parameters
    ----------
    files, output, options
        Input files, the table to write, and what to compare.
    networks
        Name to (weights, calibration) of other networks. They get the same borrowed signal.
    threads
        Number of threads of these networks.
    """
    known, store = Truth(files.truth), open_binding(files.binding)
    chosen, genome = Windows.load(files.windows), Genome.open(files.reference)
    scopes = _scopes(options.held_out, chosen, genome.sizes)
    if len(chosen) != len(store.var):
        problem = f"has {len(store.var)} windows, but {files.windows} has {len(chosen)}"
        raise InputError(files.binding, problem, "merge the shards again")
    rows = known.match(store.obs, files.binding)
    rows = np.sort(np.random.default_rng(options.seed).permutation(rows)[: options.max_cells])
    true = TrueSites.of(known, barcodes(store.obs)[rows], chosen, genome.sizes)
    sample = SampleCells.open(files.position, files.cell, files.cells, genome.sizes, genome.known_lengths())
    of_barcode = pd.Series(sample.passing, index=read_passing_cells(files.cells)[0].index)
    own = of_barcode.loc[store.obs.index[rows]].to_numpy()  # rows of lenders.h5ad
    baseline = _accessibility(sample, own, chosen, genome.sizes)
    few = np.sort(np.random.default_rng(options.seed).permutation(len(rows))[: options.network_cells])
    last = list(scopes)[-1]
    aside = np.flatnonzero(scopes[last])  # the held-out windows, or all
    if networks:
        import torch  # slow to import, so only if a network runs

        torch.set_num_threads(threads)
    others = {
        name: _predict(*paths, sample, own[few], genome, chosen, aside)
        for name, paths in (networks or {}).items()
    }
    results = []
    for tf in store.assayed:
        events, predicted = true.events(tf), store[rows, :, tf].toarray()
        scored = {options.model: predicted, "accessibility": baseline, **true.oracles(tf)}
        for scope, inside in scopes.items():
            for name, score in scored.items():
                facts = {"model": name, "tf": tf, "chromosomes": scope, "cells": "sample"}
                results.append(facts | _mean_precision(events[:, inside], score[:, inside]))
        for name, score in _side_by_side(tf, options.model, predicted, baseline, others, few, aside):
            facts = {"model": name, "tf": tf, "chromosomes": last, "cells": "few"}
            results.append(facts | _mean_precision(events[np.ix_(few, aside)], score))
    write_table(output, pd.DataFrame([row for row in results if "n_cells" in row], columns=COLUMNS))
    say(f"scored {len(rows)} cells over {len(chosen)} windows")


def _scopes(held_out: list[str], chosen: Windows, sizes: ChromSizes) -> dict[str, np.ndarray]:
    """Sets of windows to score, by name: all windows, then the held-out ones if any. Each is bool (windows,)."""
    if unknown := set(held_out) - set(sizes.names):
        problem = f"the reference genome has no chromosome {', '.join(sorted(unknown))}"
        raise InputError("config", problem, "correct splits.test")
    scopes = {"all": np.ones(len(chosen), dtype=bool)}
    if held_out:
        scopes[",".join(held_out)] = np.isin(chosen.chrom, [sizes.index(name) for name in held_out])
    return scopes


@dataclass(frozen=True)
class TrueSites:
    """Simulated sites, the windows that a peak around them covers, and the cells in which they are open.

    Attributes
    ----------
    sites
        Table of sites, see :meth:`Truth.sites`.
    site, window
        Pairs of a site (row of ``sites``) and a window of which a peak around the site covers more than half: int64
        (pairs,) each.
    opened, open_in_type
        Whether an element is open in a cell, and in the type of the cell: csr and bool (cells, elements).
    types
        Type of each cell (cells,).
    n_windows
        Number of windows.
    """

    sites: pd.DataFrame
    site: np.ndarray
    window: np.ndarray
    opened: sp.csr_matrix
    open_in_type: np.ndarray
    types: np.ndarray
    n_windows: int

    @classmethod
    def of(cls, known: Truth, names: np.ndarray, chosen: Windows, sizes: ChromSizes) -> TrueSites:
        """Collect the truth of the cells with the barcodes ``names`` (cells,), in this order."""
        cells = known.cells.loc[names]
        sites, opened = known.sites()
        types = cells["cell_type"].to_numpy()
        open_in_type = np.stack([known.open_in(kind) for kind in types])
        site, window, _ = sites_near(sites, chosen.chrom, chosen.start, chosen.window, MEAN_REACH, sizes)
        return cls(sites, site, window, opened[cells["row"].to_numpy()], open_in_type, types, len(chosen))

    def of_tf(self, tf: str) -> tuple[np.ndarray, pd.DataFrame]:
        """Return the pairs of a TF: windows, int64 (pairs,), and the rows of their sites, one per pair."""
        mine = (self.sites["tf"] == tf).to_numpy()[self.site]
        return self.window[mine], self.sites.iloc[self.site[mine]]

    def events(self, tf: str) -> np.ndarray:
        """Return where the TF is bound: bool (cells, windows)."""
        place, site = self.of_tf(tf)
        events = np.zeros((len(self.types), self.n_windows), dtype=bool)
        for kind in np.unique(self.types) if len(place) else ():
            of_kind = np.flatnonzero(self.types == kind)
            bound = site[f"bound_{kind}"].to_numpy() == 1
            here = self.opened[of_kind][:, site["column"].to_numpy()[bound]].toarray() > 0
            member, hit = np.nonzero(here)
            events[of_kind[member], place[bound][hit]] = True
        return events

    def oracles(self, tf: str) -> dict[str, np.ndarray]:
        """Return the scores of ``oracle`` and ``oracle_type``: float64 (cells, windows) each."""
        place, site = self.of_tf(tf)
        strength, column = site["strength"].to_numpy(), site["column"].to_numpy()
        is_open = {"oracle": self.opened[:, column].toarray(), "oracle_type": self.open_in_type[:, column]}
        return {name: combined(here * strength, place, self.n_windows) for name, here in is_open.items()}


def _accessibility(sample: SampleCells, rows: np.ndarray, chosen: Windows, sizes) -> np.ndarray:
    """Insertions in each window, including borrowed ones: float32 (cells, windows). ``rows`` are of cells.h5ad."""
    borrow = sample.borrow[rows]
    starts = chosen.global_starts(sizes)
    result = np.empty((len(rows), len(chosen)), dtype=np.float32)
    for part in window_blocks(len(chosen), 4096):
        counts = sample.signal.counts(starts[part], chosen.window, chosen.window)
        result[:, part] = borrowed(counts, borrow, 1)[:, :, 0]
    return result


def _predict(weights, calibration, sample: SampleCells, rows, genome: Genome, chosen: Windows, aside):
    """Predictions of another network for the same cells and windows: TF to probabilities (cells, windows)."""
    from scbind.models.predictor import load_predictor

    predictor = load_predictor(weights, calibration, motif_tfs=())
    borrow = sample.borrow[rows]
    depth = (borrow @ sample.density).astype(np.float32)
    context = chosen.global_context_starts(genome.sizes)
    local = chosen.start.astype(np.int64) - (chosen.context - chosen.window) // 2
    found = []
    for part in window_blocks(len(aside), 64):
        here = aside[part]
        readout = predictor.read_windows(genome, chosen.chrom[here], local[here])
        counts = sample.signal.counts(context[here], chosen.context, predictor.bin_bp)
        mine = borrowed(counts, borrow, chosen.context // predictor.bin_bp)
        found.append(predictor.probabilities(readout, mine, depth))
    return dict(zip(predictor.tfs, np.moveaxis(np.concatenate(found, axis=1), 2, 0), strict=True))


def _side_by_side(tf, model, predicted, baseline, others, few, aside):
    """Yield name and score (few cells, windows aside) of each ranking; nothing if no other network has the TF."""
    if any(tf in predictions for predictions in others.values()):
        yield model, predicted[np.ix_(few, aside)]
        yield "accessibility", baseline[np.ix_(few, aside)]
        yield from ((name, predictions[tf]) for name, predictions in others.items() if tf in predictions)


def _mean_precision(events: np.ndarray, score: np.ndarray) -> dict:
    """Average precision over cells with an event; empty if no cell has one. Both arrays are (cells, windows)."""
    with_event = np.flatnonzero(events.any(axis=1))
    if not len(with_event):
        return {}
    each = [average_precision_score(events[i], score[i]) for i in with_event]
    return {
        "n_cells": len(with_event),
        "n_windows": events.shape[1],
        "prevalence": events[with_event].mean(),
        "auprc_mean": np.mean(each),
        "auprc_median": np.median(each),
    }
