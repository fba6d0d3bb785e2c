"""Explain why a TF is predicted to bind at a locus: the contribution of each base, by in-silico mutagenesis.

Each base in reach of the network is replaced by the three others, one at a time. The effects are therefore exact,
unlike attributions from gradients.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.logits import logit
from scbind.analysis.typesignal import TypeSignal
from scbind.core.errors import InputError
from scbind.core.files import write_table
from scbind.core.runlog import say
from scbind.formats.genome import UNKNOWN, Genome
from scbind.models.abstention import abstained, reliability_table
from scbind.models.predictor import Predictor, load_predictor

BASES = "ACGT"
LOCUS = re.compile(r"(?P<chrom>\S+):(?P<start>\d{1,15})-(?P<end>\d{1,15})")
EFFECTS = [f"effect_{base}" for base in BASES]
COLUMNS = [
    "locus", "tf", "cell_type", "chrom", "start", "end", "ref", "contribution", *EFFECTS, "binding",
    "evidence", "reliability_level", "abstained",
]  # fmt: skip


@dataclass(frozen=True)
class Question:
    """One locus, TF and cell type.

    Attributes
    ----------
    locus
        ``chrom:start-end``, 0-based half-open, at most as wide as a window.
    tf, cell_type
        Names of a modelled TF and of a cell type.
    """

    locus: str
    tf: str
    cell_type: str


def explain_loci(
    questions: Sequence[Question],
    samples: Mapping[str, Mapping],
    weights: str | Path,
    calibration: str | Path | None,
    reference_dir: str | Path,
    output: str | Path,
    min_cells: int,
) -> None:
    """Write what each base around loci contributes to the binding of a TF in a cell type.

    Parameters
    ----------
    questions
        The questions. All are checked before the first is computed. Repeated questions are answered once.
    samples, weights, calibration, reference_dir
        As in :func:`scbind.analysis.variants.variant_effects`.
    output
        Table with one row per question and base in reach of the network; columns in ``docs/reference/outputs.md``.
    min_cells
        Questions about cell types with fewer cells have no rows; the log names them.

    Raises
    ------
    InputError
        If a locus has another form, is not in the genome, is wider than a window or is too near to a chromosome end,
        or if a TF or cell type is not known.
    """
    genome, predictor = Genome.open(reference_dir), load_predictor(weights, calibration)
    signal = TypeSignal.open(samples, genome, min_cells, "explain")
    if len(set(questions)) < len(questions):
        say(f"{len(questions) - len(set(questions))} questions are asked again; each is answered once")
    where = []
    for number, question in enumerate(questions):
        place = f"key explain[{number}]"
        _refuse_unknown(question.tf, predictor.tfs, "TF", place)
        _refuse_unknown(question.cell_type, [*signal.types, *signal.small], "cell type", place)
        where.append(context_of(question.locus, genome, predictor, place))
    asked = dict(zip(questions, where, strict=True))
    for small in sorted({question.cell_type for question in asked} & set(signal.small)):
        say(f"WARNING explain: {small} has fewer than {min_cells} cells, so its loci are not explained")
    tables = [
        _explained(question, *context, genome, predictor, signal)
        for question, context in asked.items()
        if question.cell_type in signal.types
    ]
    write_table(output, pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS))
    say(f"explained {len(tables)} loci")


def mutated(codes: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return a sequence with each base at ``positions`` replaced by A, C, G and T.

    ``codes`` is uint8 (context,). Returns uint8 (4 * positions, context): four rows per position, of which one is the
    sequence itself.

    Examples
    --------
    >>> mutated(np.array([0, 3], dtype=np.uint8), np.array([1])).tolist()
    [[0, 0], [0, 1], [0, 2], [0, 3]]
    """
    rows = np.repeat(codes[None], 4 * len(positions), axis=0)
    rows[np.arange(len(rows)), np.repeat(positions, 4)] = np.tile(
        np.arange(4, dtype=np.uint8), len(positions)
    )
    return rows


def base_effects(
    predictor: Predictor, genome: Genome, chrom: int, start: int, signal: TypeSignal, cell_type: str, tf: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return positions, effects and P(bound) of the context that starts at ``start`` (0-based).

    Positions, int64 (positions,), count from ``start`` and are all that the network reads. Effects, float64
    (positions, 4), are the logit with A, C, G or T at the position minus that of the sequence itself.
    """
    codes = genome.window_codes([chrom], [start], predictor.context)
    skipped = (
        getattr(predictor.network, "edge", 0) * predictor.bin_bp
    )  # a network may not read the whole context
    positions = np.arange(skipped, predictor.context - skipped)
    sequences = np.concatenate([codes, mutated(codes[0], positions)])
    mappability = predictor.mappability_of(genome, [chrom], [start])
    if mappability is not None:
        mappability = np.repeat(mappability, len(sequences), axis=0)
    kind = signal.types.index(cell_type)
    where = genome.sizes.offsets[chrom] + start
    counts = signal.counts([where], predictor.context, predictor.bin_bp)[[kind]]
    readout = predictor.readout(sequences, mappability)
    found = predictor.probabilities(readout, np.repeat(counts, len(readout), axis=1), signal.depth[[kind]])
    found = found[0, :, predictor.tfs.index(tf)]
    effects = (logit(found[1:]) - logit(found[0])).reshape(-1, 4)
    return positions, effects, float(found[0])


def context_of(locus: str, genome: Genome, predictor: Predictor, place: str) -> tuple[int, int]:
    """Return the index of the chromosome and the start (0-based) of the context that is centred on a locus.

    Raises :class:`InputError`, with ``place``, if the locus has another form or does not fit.
    """
    match, remedy = LOCUS.fullmatch(locus), "write chrom:start-end, 0-based half-open, such as chr1:1000-1200"
    if not match or int(match["start"]) >= int(match["end"]):
        raise InputError("config", f"{locus!r} is not a locus", remedy, place)
    _refuse_unknown(match["chrom"], list(genome.sequenced), "chromosome", place)
    start, end = int(match["start"]), int(match["end"])
    if end - start > predictor.window:
        problem = f"{locus} is wider than a window of {predictor.window} bp"
        raise InputError("config", problem, "give the site, or a window of best_sites.tsv", place)
    begin = (start + end) // 2 - predictor.context // 2
    if begin < 0 or begin + predictor.context > genome.sequenced[match["chrom"]]:
        problem = f"{locus} is within {predictor.context // 2} bp of the end of its chromosome, or beyond it"
        raise InputError("config", problem, "give a locus farther inside", place)
    return genome.sizes.index(match["chrom"]), begin


def _refuse_unknown(name: str, known: list[str], kind: str, place: str) -> None:
    if name not in known:
        shown = f"{', '.join(known[:8])}{', ...' * (len(known) > 8)}"
        raise InputError("config", f"no {kind} {name!r}", f"use one of {shown}", place)


def _explained(
    question: Question, chrom: int, start: int, genome: Genome, predictor: Predictor, signal: TypeSignal
) -> pd.DataFrame:
    """Return the rows of one question."""
    asked = question.cell_type, question.tf
    positions, effects, binding = base_effects(predictor, genome, chrom, start, signal, *asked)
    codes = genome.window_codes([chrom], [start], predictor.context)[0, positions]
    table = pd.DataFrame(effects, columns=EFFECTS)
    known = reliability_table(predictor.reliability, predictor.tfs)
    kind, column = signal.types.index(question.cell_type), predictor.tfs.index(question.tf)
    return table.assign(
        locus=question.locus,
        tf=question.tf,
        cell_type=question.cell_type,
        chrom=genome.sizes.names[chrom],
        start=start + positions,
        end=start + positions + 1,
        ref=np.array(list(BASES + "N"))[codes],
        contribution=np.where(codes == UNKNOWN, np.nan, -effects.sum(axis=1) / 3),
        binding=binding,
        evidence=known["evidence"].iloc[column],
        reliability_level=known["level"].iloc[column],
        abstained=bool(abstained(known, signal.depth)[kind, column]),
    )[COLUMNS]
