"""The training data as memory-mapped arrays: the reader of what :mod:`scbind.dataset.build` writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from scbind.core.errors import InputError
from scbind.core.files import map_npy, read_json, read_npz
from scbind.core.runlog import say
from scbind.dataset.sparselabels import SparseLabels
from scbind.dataset.splits import TRAIN
from scbind.formats.bundlefile import check_widths
from scbind.formats.genome import Genome
from scbind.formats.signal import track_counts
from scbind.formats.symbols import match_symbols
from scbind.formats.thinning import thinned_counts

FORMAT = 5  # raise when the files of a dataset change meaning
# Facts of a model and of a dataset that have to be the same; in this order, because later ones name earlier ones.
AGAIN = "build the dataset again"
COMPARED = (
    "chromosomes", "cell_lines", "tfs", "window", "context", "mappability", "splits", "assayed",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingSet:
    """A dataset folder, memory-mapped.

    Attributes
    ----------
    chrom, start
        Chromosome index and 0-based start of each window, shape (windows,).
    labels
        int8 (lines, windows, TFs), read as from an array.
    splits
        uint8 (lines, windows); see :mod:`scbind.dataset.splits`.
    is_open
        bool (lines, windows).
    insertions
        Per line, sorted global positions, uint32.
    fragments
        Per line, the number of each insertion's fragment, uint32: the two ends of one share it.
    depth
        float32 (lines, chromosomes): insertions per known base of the regions that the track of the line covers.
    all_summits, first_summit
        Read by :meth:`summits`.
    case_matters
        Whether TFs whose symbols differ only in case are different TFs (:meth:`match_tfs`). It is not stored, because
        it changes no value of the dataset.
    """

    genome: Genome
    manifest: dict
    chrom: np.ndarray
    start: np.ndarray
    labels: SparseLabels
    splits: np.ndarray
    is_open: np.ndarray
    insertions: list[np.ndarray]
    fragments: list[np.ndarray]
    depth: np.ndarray
    all_summits: np.ndarray
    first_summit: np.ndarray
    case_matters: bool = False

    @classmethod
    def open(cls, folder: str | Path, reference: str | Path, *, case_matters: bool = False) -> TrainingSet:
        """Open a dataset beside its genome; refuses one made from another genome or another order of chromosomes."""
        folder = Path(folder)
        manifest = read_json(
            folder / "manifest.json", AGAIN, ["format", "chromosomes", "cell_lines", "assayed", "depth"]
        )
        genome = Genome.open(reference)
        if manifest["format"] != FORMAT:
            raise InputError(folder, f"dataset format {manifest['format']}, expected {FORMAT}", AGAIN)
        here = genome.sequenced
        there = manifest["chromosomes"]
        if here != there or list(here) != list(there):  # windows name chromosomes by their number
            raise InputError(folder, "made from another genome", AGAIN)
        windows = read_npz(folder / "windows.npz", AGAIN, ["chrom", "start"])
        lines = manifest["cell_lines"]
        depth = np.array([[manifest["depth"][line][c] for c in here] for line in lines], dtype=np.float32)
        return cls(
            genome,
            manifest,
            windows["chrom"],
            windows["start"],
            SparseLabels.open(
                folder, AGAIN, np.array(manifest["assayed"], dtype=bool), len(windows["start"])
            ),
            *(map_npy(folder / f"{name}.npy", AGAIN) for name in ("splits", "open")),
            *(
                [map_npy(folder / f"{kind}.{line}.npy", AGAIN) for line in lines]
                for kind in ("insertions", "fragments")
            ),
            depth,
            *(map_npy(folder / f"{name}.npy", AGAIN) for name in ("summits", "first_summit")),
            case_matters,
        )

    def check_model(self, facts: dict, weights: str | Path) -> None:
        """Raise :class:`InputError`, naming the first difference, if a model with these facts saw another dataset.

        The splits are compared, too: a window on which a model was trained is never a holdout, whatever the dataset
        says now.
        """
        known = self.manifest | {"assayed": self.trained, "mappability": self.has_mappability}
        own = _of_dataset(facts)
        for key in COMPARED:
            there, here = (_comparable(key, each) for each in (own, known))
            if here == there:
                continue
            if isinstance(here, int):
                what = f"{there}, not {here}"
            else:
                only = [", ".join(v for v in a if v not in b) for a, b in ((there, here), (here, there))]
                what = f"it alone has {only[0] or 'none'}, the dataset {only[1] or 'none'}"
            raise InputError(weights, f"trained with other {key}: {what}", "train the model again")

    def check_given(self, facts: dict, weights: str | Path) -> None:
        """Check that a model that was trained elsewhere can be tested on this dataset.

        Raises :class:`InputError` if the model has another geometry, or predicts none of the TFs. Names the TFs that it
        lacks in a warning.
        """
        check_widths(weights, facts, self.manifest["window"], self.manifest["context"])
        known = [tf for tf, kept in zip(facts["tfs"], facts["modelled"], strict=True) if kept]
        matched = self.match_tfs(known)
        lacking = [tf for tf in self.tfs if tf not in matched]
        if len(lacking) == len(self.tfs):
            problem = f"predicts none of the TFs of the ChIP-seq sheet ({', '.join(self.tfs[:5])})"
            raise InputError(
                weights, problem, "list ChIP-seq of TFs that its card names, or use another bundle"
            )
        if lacking:
            say(f"WARNING {weights} does not predict {', '.join(lacking)}; it is not tested on them")

    def match_tfs(self, known: Iterable[str]) -> dict[str, str]:
        """Which of the ``known`` TFs each TF of the dataset is; see :func:`scbind.formats.symbols.match_symbols`."""
        return match_symbols(self.tfs, known, case_matters=self.case_matters)

    @property
    def lines(self) -> list[str]:
        """Names of the cell lines, the first axis of the arrays."""
        return self.manifest["cell_lines"]

    @property
    def tfs(self) -> list[str]:
        """Names of all TFs, the last axis of ``labels``."""
        return self.manifest["tfs"]

    @cached_property
    def trained(self) -> list[list[bool]]:
        """Of each line and TF, whether it was assayed and has windows to train on."""
        trains = [bool((row == TRAIN).any()) for row in self.splits]
        return [
            [bool(a) and some for a in row]
            for row, some in zip(self.manifest["assayed"], trains, strict=True)
        ]

    @property
    def has_mappability(self) -> bool:
        """Whether the windows were chosen, and models are to be trained, with the genome's mappability."""
        return self.manifest.get("min_mappability") is not None

    def summits(self, line: int, tf: int) -> np.ndarray:
        """Summits of the ChIP-seq peaks of a TF in a line, counted over the whole genome: int64 (peaks,), sorted."""
        pair = line * len(self.tfs) + tf
        return np.asarray(self.all_summits[slice(*self.first_summit[pair : pair + 2])])

    def codes(self, windows: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Sequence of the context of windows, moved by ``shift`` bp: uint8 (windows, context)."""
        start = self.context_start(windows, shift)
        return self.genome.window_codes(self.chrom[windows], start, self.manifest["context"])

    def mappability(self, windows: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray | None:
        """Mappability of the same bases, times 255: uint8 (windows, context); ``None`` without it."""
        if not self.has_mappability:
            return None
        start = self.context_start(windows, shift)
        return self.genome.window_mappability(self.chrom[windows], start, self.manifest["context"])

    def counts(self, line: int, windows: np.ndarray, bin_bp: int, shift: np.ndarray | int = 0) -> np.ndarray:
        """Insertions of a line in the bins of the context: float32 (windows, context / bin)."""
        return track_counts(
            self.insertions[line], self._global_start(windows, shift), self.manifest["context"], bin_bp
        )

    def thinned_counts(
        self,
        line: int,
        windows: np.ndarray,
        bin_bp: int,
        shift: np.ndarray | int,
        keep: np.ndarray,
        salt: np.ndarray,
    ) -> np.ndarray:
        """As :meth:`counts`, thinned with ``keep`` and ``salt`` of each window (:mod:`scbind.formats.thinning`)."""
        track = self.insertions[line], self.fragments[line]
        starts, width = self._global_start(windows, shift), self.manifest["context"]
        return thinned_counts(*track, starts, width, bin_bp, keep, salt)

    def window_depth(self, line: int, windows: np.ndarray) -> np.ndarray:
        """Depth of the line on the chromosome of each window: float32 (windows,), insertions per base."""
        return self.depth[line, self.chrom[windows]]

    def context_start(self, windows: np.ndarray, shift: np.ndarray | int = 0) -> np.ndarray:
        """Start of each context in its chromosome, int64; a shift never moves it over a chromosome end."""
        context = self.manifest["context"]
        start = self.start[windows].astype(np.int64) - (context - self.manifest["window"]) // 2 + shift
        return np.clip(start, 0, self.genome.sizes.lengths[self.chrom[windows]] - context)

    def _global_start(self, windows: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
        return self.genome.sizes.offsets[self.chrom[windows]] + self.context_start(windows, shift)


def _of_dataset(facts: dict) -> dict:
    """Facts of a model, without the TFs of a model that it extends (:mod:`scbind.models.extension`)."""
    if "dataset_tfs" not in facts:
        return facts
    columns = [facts["tfs"].index(tf) for tf in facts["dataset_tfs"]]
    assayed = [[row[column] for column in columns] for row in facts["assayed"]]
    return facts | {"tfs": facts["dataset_tfs"], "assayed": assayed}


def _comparable(key: str, known: dict) -> int | list[str]:
    """One fact of a model or a dataset as a number, or as words that can be listed."""
    value = known[key]
    if key == "chromosomes":  # sorted, because a model file keeps no order of names
        return sorted(f"{name} of {length} bp" for name, length in value.items())
    if key == "splits":
        return sorted(f"{name} {rule}" for name in value for rule in value[name] or ["what is left"])
    if key == "assayed":
        names = [[f"{line} {tf}" for tf in known["tfs"]] for line in known["cell_lines"]]
        return [
            name for row, has in zip(names, value, strict=True) for name, a in zip(row, has, strict=True) if a
        ]
    return value
