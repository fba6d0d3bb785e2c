"""Motif matrices of the modelled TFs, and the best match of each in a window."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scbind.core.files import atomic, read_npz, require
from scbind.formats.genome import UNKNOWN

WORD, LETTERS = 5, UNKNOWN + 1  # bases that are scored at once; A, C, G, T and N
FOUND = "found:"  # the names of motifs that were found in the data start with this
PSEUDOCOUNT = 0.8  # per matrix column, spread over the background (Nishida et al. 2009, NAR 37:939)


def log_odds(counts: np.ndarray) -> np.ndarray:
    """Convert counts (4, length) to log2 odds over a uniform background, float32 of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> log_odds(np.array([[10], [0], [0], [0]]))[:, 0].round(1)
    array([ 1.9, -3.8, -3.8, -3.8], dtype=float32)
    """
    counts = np.asarray(counts, dtype=np.float64)
    frequency = (counts + PSEUDOCOUNT / 4) / (counts.sum(axis=0) + PSEUDOCOUNT)
    return np.log2(frequency / 0.25).astype(np.float32)


def frequencies(matrix: np.ndarray) -> np.ndarray:
    """Return the base frequencies, float64 (4, length), of log2 odds over a uniform background.

    Examples
    --------
    >>> import numpy as np
    >>> frequencies(np.array([[2, 0], [-9, 0], [-9, 0], [-9, 0]])).round(2)
    array([[1.  , 0.25],
           [0.  , 0.25],
           [0.  , 0.25],
           [0.  , 0.25]])
    """
    odds = 2.0 ** np.asarray(matrix, dtype=np.float64)
    return odds / odds.sum(axis=0)


def column_bits(shares: np.ndarray) -> np.ndarray:
    """Return the information content of each column of base frequencies (4, length), in bits: float64 (length,)."""
    return 2 + (shares * np.log2(np.maximum(shares, 1e-9))).sum(axis=0)


def write_motifs(path: str | Path, chosen: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Write the matrices of TFs: TF -> ``matrix id:name`` and float32 (4, length) log-odds.

    The ``.npz`` has ``tfs`` and ``matrix_ids`` (strings), and one array per TF.
    """
    with atomic(path) as scratch, open(scratch, "wb") as handle:
        np.savez(
            handle,
            tfs=np.array(list(chosen), dtype=str),
            matrix_ids=np.array([identity for identity, _ in chosen.values()], dtype=str),
            **{f"matrix/{tf}": matrix for tf, (_, matrix) in chosen.items()},
        )


def read_motifs(path: str | Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_motifs` wrote: TF -> float32 (4, length) log-odds."""
    stored = read_npz(require(path, "run the motifs rule first"), "run the motifs rule again")
    return {str(tf): stored[f"matrix/{tf}"] for tf in stored["tfs"]}


def motif_names(path: str | Path) -> dict[str, str]:
    """Return TF -> ``matrix id:name`` of its matrix."""
    stored = read_npz(
        require(path, "run the motifs rule first"), "run the motifs rule again", ["tfs", "matrix_ids"]
    )
    return dict(zip(stored["tfs"].tolist(), stored["matrix_ids"].tolist(), strict=True))


def chance_of_scores(steps: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the lowest score of a matrix, and the probabilities that a random site reaches it and each step above.

    ``steps`` is int64 (4, length): the scores of the matrix in steps. The probabilities are float64 (scores,), from 1
    down. The score of independent bases, each with probability 1/4, is distributed as the convolution of the columns
    (Staden 1989, CABIOS 5:89).
    """
    lowest, distribution = steps.min(axis=0), np.ones(1)
    for column in (steps - lowest).T:
        wider = np.zeros(len(distribution) + column.max())
        for value in column:
            wider[value : value + len(distribution)] += distribution / 4
        distribution = wider
    return int(lowest.sum()), np.cumsum(distribution[::-1])[::-1]


def scan_all(codes: np.ndarray, matrices: list[np.ndarray], batch: int = 256) -> np.ndarray:
    """Score the best match of each matrix in each window, on either strand.

    ``codes`` is uint8 (windows, length), as in :class:`scbind.formats.genome.Genome`; an N scores as background.
    Returns float32 (windows, matrices), in bits. A window shorter than a matrix raises ``ValueError``.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = log_odds(np.array([[10, 0], [0, 10], [0, 0], [0, 0]]))  # AC
    >>> codes = np.array([[2, 0, 1], [2, 3, 2], [2, 2, 2]], dtype=np.uint8)  # GAC, GTG (CAC in reverse), GGG
    >>> scan_all(codes, [matrix])[:, 0] > 3
    array([ True,  True, False])
    """
    length = codes.shape[1]
    widest = max((matrix.shape[1] for matrix in matrices), default=0)
    if length < widest:
        raise ValueError(f"windows of {length} bp are shorter than a matrix of {widest}")
    # A sum over five bases is looked up by their word, so a match takes a fifth of the sums, and no product.
    tables = [(matrix.shape[1], _word_scores(matrix)) for matrix in matrices]
    best = np.empty((len(codes), len(matrices)), dtype=np.float32)
    for begin in range(0, len(codes), batch):
        part = np.minimum(codes[begin : begin + batch], UNKNOWN).astype(np.intp)
        n = len(part)
        # all windows in a row, with some bases more for the words at the end
        bases = np.append(part.ravel(), np.full(WORD * (-(-widest // WORD) + 1), UNKNOWN))
        words = np.zeros(len(bases) - WORD + 1, dtype=np.intp)
        for base in range(WORD):
            words = words * LETTERS + bases[base : base + len(words)]
        for column, (width, scored) in enumerate(tables):
            scores = scored[0].take(words[: n * length], mode="clip")
            for number in range(1, len(scored)):
                scores += scored[number].take(words[WORD * number : WORD * number + n * length], mode="clip")
            both = scores.view(np.float32).reshape(n, length, 2)[:, : length - width + 1]
            best[begin : begin + n, column] = both.reshape(n, -1).max(axis=1)
    return best


def _word_scores(matrix: np.ndarray) -> np.ndarray:
    """Scores of all words for each ``WORD`` columns of a matrix; the last part is filled up with columns of zeros.

    Returns complex64 (parts, words): the real part is the score on the strand, the other that on the opposite strand,
    because numpy looks up and adds two numbers of 32 bits at once as if they were one.
    """
    parts = -(-matrix.shape[1] // WORD)
    letters = np.indices((LETTERS,) * WORD).reshape(WORD, -1)
    found = np.zeros((parts, letters.shape[1]), dtype=np.complex64)
    for part, strand in ((found.real, matrix), (found.imag, matrix[::-1, ::-1])):
        full = np.zeros((LETTERS, parts * WORD), dtype=np.float32)  # an N scores nothing
        full[:UNKNOWN, : matrix.shape[1]] = strand
        for column in range(parts * WORD):
            part[column // WORD] += full[letters[column % WORD], column]
    return found


def found_in(name: str) -> str:
    """The TF in whose windows a motif was found.

    Examples
    --------
    >>> found_in("found:NKX2-1.3")
    'NKX2-1'
    """
    return name.removeprefix(FOUND).rpartition(".")[0]
