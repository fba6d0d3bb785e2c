"""Predict binding with either allele of variants, per TF and cell type; and in single cells, for one variant and TF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.analysis.alleles import allele_codes, context_starts
from scbind.analysis.logits import logit
from scbind.analysis.typesignal import TypeSignal
from scbind.binding.samplecells import SampleCells
from scbind.core.errors import InputError
from scbind.core.files import atomic, table_text
from scbind.core.progress import Progress
from scbind.core.runlog import say
from scbind.formats.celltable import read_obs
from scbind.formats.genome import Genome
from scbind.formats.signal import borrowed, n_bins, window_blocks
from scbind.formats.variants import LETTERS, LONGEST, POSITION, read_variants, ref_differs
from scbind.models.abstention import abstained, marks, reliability_table
from scbind.models.predictor import Predictor, load_predictor

PLACE = ["chrom", "start", "end", "name", "ref", "alt"]
BINDING = ["binding_ref", "binding_alt", "difference", "logit_difference"]
COLUMNS = [*PLACE, "tf", "cell_type", "n_cells", *BINDING, "evidence", "reliability_level", "abstained"]
STRONGEST = [*PLACE, "n_listed", "tf", "cell_type", *BINDING, "evidence", "reliability_level"]
BLOCK = 256  # variants at a time


@dataclass(frozen=True)
class VariantOptions:
    """Which rows of the table of variants are written.

    Attributes
    ----------
    min_difference
        Minimum difference in P(bound) between the alleles, in either direction.
    min_probability
        Minimum P(bound) of the allele that is bound more strongly.
    min_cells
        Cell types with fewer cells are left out.
    """

    min_difference: float
    min_probability: float
    min_cells: int


def variant_effects(
    variants: str | Path,
    samples: Mapping[str, Mapping],
    weights: str | Path,
    calibration: str | Path | None,
    reference_dir: str | Path,
    output: str | Path,
    strongest: str | Path,
    options: VariantOptions,
    block: int = BLOCK,
) -> None:
    """Write P(bound) of each TF in each cell type with the reference and the alternative allele of variants.

    The window is centred on the variant. The signal of a type is that of all its cells together
    (:class:`scbind.analysis.typesignal.TypeSignal`), with either allele: effects of a variant on accessibility are not
    predicted. Sequence is read once per allele, in blocks.

    Parameters
    ----------
    variants
        See :func:`scbind.formats.variants.read_variants`. Variants whose context is not inside their chromosome are
        left out.
    samples
        name -> ``position``, ``cell`` and ``cells``: paths of ``results/cells/{sample}``.
    weights, calibration
        Files of the model.
    reference_dir
        Folder ``results/reference/{genome}``.
    output
        Table with one row per variant, TF and cell type above both minima of ``options``.
    strongest
        Table with one row per variant, listed or not: the TF and type of largest absolute difference, among those on
        which scbind does not abstain. Columns of both in ``docs/reference/outputs.md``.
    options
        Minima of the rows.
    block
        Variants per block. Results do not depend on it.

    Raises
    ------
    InputError
        If the variants do not fit the genome, no type has enough cells, or files do not belong together.
    """
    genome = Genome.open(reference_dir)
    listed = read_variants(variants, genome)
    predictor = load_predictor(weights, calibration)
    listed = _with_context(listed, genome, predictor.context, variants)
    signal = TypeSignal.open(samples, genome, options.min_cells, "variants")
    known = marks(predictor.reliability, predictor.tfs)[["evidence", "reliability_level"]]
    no = abstained(reliability_table(predictor.reliability, predictor.tfs), signal.depth)
    n_rows, progress = 0, Progress("alleles", len(listed))
    with (
        atomic(output) as rows_path, atomic(strongest) as best_path,
        open(rows_path, "w", encoding="utf-8") as rows_file, open(best_path, "w", encoding="utf-8") as best_file,
    ):  # fmt: skip
        for part in window_blocks(len(listed), block):
            here = _named(listed[part], genome)
            alleles = allele_probabilities(predictor, genome, listed[part], signal)
            kept = _kept(*alleles, options)
            labels = signal.types, signal.n_cells, predictor.tfs, known, no
            rows_file.write(table_text(_rows(here, *alleles, kept, labels), header=not part.start))
            best_file.write(table_text(_strongest(here, *alleles, kept, labels), header=not part.start))
            n_rows += int(kept.sum())
            progress.reached(part.stop)
    say(
        f"{len(listed)} alleles in {len(signal.types)} cell types and {len(predictor.tfs)} TFs: {n_rows} rows"
    )


def allele_probabilities(
    predictor: Predictor, genome: Genome, variants: pd.DataFrame, signal: TypeSignal
) -> tuple[np.ndarray, np.ndarray]:
    """Return P(bound) with REF and with ALT: two float32 arrays (types, variants, TFs).

    ``variants`` as from :func:`scbind.formats.variants.read_variants`, with contexts inside their chromosomes.
    """
    start = context_starts(variants, predictor.context)
    where = genome.sizes.offsets[variants["chrom"].to_numpy()] + start
    counts = signal.counts(where, predictor.context, predictor.bin_bp)
    readouts = _readouts(predictor, genome, variants)
    return tuple(predictor.probabilities(readout, counts, signal.depth) for readout in readouts)


def cells_with_alleles(
    variant: str,
    tf: str,
    sample: Mapping[str, str | Path],
    weights: str | Path,
    calibration: str | Path | None,
    reference_dir: str | Path,
) -> pd.DataFrame:
    """Return P(bound) of a TF in each cell of a sample with either allele of one variant.

    A cell has its own signal and that which it borrows, as in the binding store.

    Parameters
    ----------
    variant
        ``chrom:position:REF:ALT`` with the 1-based position of a VCF, such as ``chr1:10177:A:AC``.
    tf
        One of the modelled TFs.
    sample
        ``position``, ``cell`` and ``cells``: paths of the insertions and of ``lenders.h5ad`` of a sample.
    weights, calibration, reference_dir
        As in :func:`variant_effects`.

    Returns
    -------
    pandas.DataFrame
        One row per passing cell, indexed by barcode: ``binding_ref``, ``binding_alt``, ``difference`` (float32),
        ``abstained`` (bool: scbind abstains on this TF in this cell).

    Raises
    ------
    InputError
        If the variant cannot be read or does not fit the genome, or the TF is not modelled.
    """
    genome, predictor = Genome.open(reference_dir), load_predictor(weights, calibration)
    if tf not in predictor.tfs:
        raise InputError("tf", f"{tf!r} is not modelled", f"use one of {', '.join(predictor.tfs)}")
    one = _with_context(parse_variant(variant, genome), genome, predictor.context, variant)
    cells = SampleCells.open(**sample, sizes=genome.sizes, known=genome.known_lengths())
    where = genome.sizes.offsets[one["chrom"].to_numpy()] + context_starts(one, predictor.context)
    counts = cells.signal.counts(where, predictor.context, predictor.bin_bp)
    depth = cells.depth(cells.passing).astype(np.float32)
    mine = borrowed(counts, cells.borrow[cells.passing], n_bins(predictor.context, predictor.bin_bp))
    column = predictor.tfs.index(tf)
    ref, alt = (
        predictor.probabilities(readout, mine, depth)[:, 0, column]
        for readout in _readouts(predictor, genome, one)
    )
    no = abstained(reliability_table(predictor.reliability, predictor.tfs), depth)[:, column]
    found = {"binding_ref": ref, "binding_alt": alt, "difference": alt - ref, "abstained": no}
    return pd.DataFrame(found, index=read_obs(sample["cells"]).index[cells.passing])


def parse_variant(text: str, genome: Genome) -> pd.DataFrame:
    """Return the one row of a variant ``chrom:position:REF:ALT`` (1-based), as :func:`read_variants` does.

    Raises :class:`InputError` if it has another form, or REF is not the base of the genome.
    """
    form = (
        "write chrom:position:REF:ALT with the 1-based position and alleles of ACGT, up to "
        f"{LONGEST} bp, such as chr1:10177:A:AC"
    )
    chrom, *rest = text.rsplit(":", 3)
    if (
        len(rest) != 3
        or not POSITION.fullmatch(rest[0])
        or not all(LETTERS.fullmatch(each) for each in rest[1:])
    ):
        raise InputError(text, "not a variant", form)
    if chrom not in genome.sequenced:
        raise InputError(
            text, f"no chromosome {chrom!r} with sequence", f"such as {next(iter(genome.sequenced))}"
        )
    row = {"chrom": genome.sizes.index(chrom), "start": int(rest[0]) - 1, "ref": rest[1], "alt": rest[2]}
    one = pd.DataFrame([row | {"name": "", "line": 0}])
    if row["start"] + len(rest[1]) > genome.sequenced[chrom]:
        raise InputError(text, "the position is not on the chromosome", form)
    if ref_differs(genome, one)[0]:
        raise InputError(text, "REF is not the base of the genome", "use the build of the genome")
    return one


def _with_context(variants: pd.DataFrame, genome: Genome, context: int, path) -> pd.DataFrame:
    """Leave out variants whose context is not inside their chromosome, and say how many."""
    start = context_starts(variants, context)
    inside = (start >= 0) & (start + context <= genome.sizes.lengths[variants["chrom"].to_numpy()])
    if not inside.all():
        near = f"{int((~inside).sum())} of {len(inside)} alleles are within {context // 2} bp of a chromosome end"
        if not inside.any():
            raise InputError(path, near, "give a variant farther inside")
        say(f"{path}: left out, because {near}")
    return variants[inside]


def _readouts(predictor: Predictor, genome: Genome, variants: pd.DataFrame) -> Iterator[np.ndarray]:
    """Yield the sequence readout with REF, then that with ALT; both with the mappability of the reference."""
    where = variants["chrom"].to_numpy(), context_starts(variants, predictor.context)
    mappability = predictor.mappability_of(genome, *where)
    for codes in allele_codes(genome, variants, predictor.context):
        yield predictor.readout(codes, mappability)


def _named(variants: pd.DataFrame, genome: Genome) -> pd.DataFrame:
    """Return the columns ``PLACE`` of variants, indexed from 0."""
    place = variants.reset_index(drop=True)
    place["end"] = place["start"] + place["ref"].str.len()
    place["chrom"] = np.asarray(genome.sizes.names, dtype=object)[place["chrom"].to_numpy()]
    return place[PLACE]


def _kept(ref: np.ndarray, alt: np.ndarray, options: VariantOptions) -> np.ndarray:
    """Return which rows are listed: bool (types, variants, TFs)."""
    return (np.abs(alt - ref) >= options.min_difference) & (np.maximum(ref, alt) >= options.min_probability)


def _binding(ref: np.ndarray, alt: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns ``BINDING`` of arrays of one shape."""
    return dict(zip(BINDING, (ref, alt, alt - ref, logit(alt) - logit(ref)), strict=True))


def _rows(place: pd.DataFrame, ref: np.ndarray, alt: np.ndarray, kept: np.ndarray, labels) -> pd.DataFrame:
    """Return the listed rows, by variant and then by decreasing absolute difference."""
    types, n_cells, tfs, known, no = labels
    kind, variant, tf = np.nonzero(kept)
    order = np.lexsort((-np.abs(alt - ref)[kept], variant))
    kind, variant, tf = kind[order], variant[order], tf[order]
    table = place.iloc[variant].reset_index(drop=True)
    table["tf"], table["cell_type"] = np.array(tfs, dtype=object)[tf], np.array(types, dtype=object)[kind]
    table["n_cells"] = n_cells[kind]
    table = table.assign(**_binding(ref[kind, variant, tf], alt[kind, variant, tf]))
    table[list(known)], table["abstained"] = known.to_numpy()[tf], no[kind, tf]
    return table[COLUMNS]


def _strongest(
    place: pd.DataFrame, ref: np.ndarray, alt: np.ndarray, kept: np.ndarray, labels
) -> pd.DataFrame:
    """Return one row per variant; TF and type are empty if scbind abstains on all."""
    types, _, tfs, known, no = labels
    size = np.where(no[:, None], -1, np.abs(alt - ref)).transpose(1, 0, 2).reshape(len(place), -1)
    kind, tf = np.divmod(size.argmax(axis=1), len(tfs))
    variant = np.arange(len(place))
    table = place.assign(n_listed=kept.sum(axis=(0, 2)))
    table["tf"], table["cell_type"] = np.array(tfs, dtype=object)[tf], np.array(types, dtype=object)[kind]
    table = table.assign(**_binding(ref[kind, variant, tf], alt[kind, variant, tf]))
    table[list(known)] = known.to_numpy()[tf]
    if no.all():
        table[["tf", "cell_type", *BINDING, *known]] = None
    return table[STRONGEST]
