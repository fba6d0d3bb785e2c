"""Short words that bound windows have more often than unbound ones: the seeds of motifs."""

from __future__ import annotations

import numpy as np

from scbind.formats.genome import UNKNOWN

# Patterns of counted bases: words without a gap, and two halves of three bases, as bound by dimers and zinc fingers.
PATTERNS = tuple(np.arange(length) for length in (6, 7, 8)) + tuple(
    np.r_[0:3, 3 + gap : 6 + gap] for gap in range(2, 13)
)
BLANK = UNKNOWN  # any base, in a seed
FEWEST = 8  # minimum number of remaining bound windows to search for another word
LEAST = 3.0  # minimum number of standard errors by which a word must be more frequent


def enriched_words(bound: np.ndarray, unbound: np.ndarray, most: int) -> list[np.ndarray]:
    """Find the words that most distinguish bound from unbound windows, on either strand.

    A word is a pattern of ``PATTERNS`` with a base at each counted place. It counts once per window. The best word has
    the largest difference between its shares of bound and of unbound windows, in standard errors. After each word, the
    bound windows that have it are left out, so that the next one is not the same word moved by a base.

    Parameters
    ----------
    bound, unbound
        Base codes, uint8 (windows, length), as in :class:`scbind.formats.genome.Genome`.
    most
        Largest number of words.

    Returns
    -------
    list of uint8 (length,)
        Base codes with ``BLANK`` in gaps, best first. Empty if no word is ``LEAST`` standard errors more frequent.

    Examples
    --------
    >>> import numpy as np
    >>> bound, unbound = np.random.default_rng(0).integers(4, size=(2, 60, 40)).astype(np.uint8)
    >>> bound[:, 10:18] = [0, 0, 3, 1, 0, 1, 2, 2]
    >>> enriched_words(bound, unbound, 1)  # a part of it
    [array([0, 3, 1, 0, 1, 2], dtype=uint8)]
    """
    found = [_WordsOfWindows(bound, pattern) for pattern in PATTERNS]
    background = [_WordsOfWindows(unbound, pattern).share() for pattern in PATTERNS]
    left, seeds = np.ones(len(bound), dtype=bool), []
    while len(seeds) < most and left.sum() >= FEWEST:
        best = [words.best(left, share, len(unbound)) for words, share in zip(found, background, strict=True)]
        number = max(range(len(PATTERNS)), key=lambda each: best[each][0])
        errors, word = best[number]
        if errors < LEAST:
            break
        pattern = PATTERNS[number]
        seed = np.full(pattern[-1] + 1, BLANK, dtype=np.uint8)
        seed[pattern] = word // 4 ** np.arange(len(pattern))[::-1] % 4
        seeds.append(seed)
        left[found[number].windows_with(word)] = False
    return seeds


class _WordsOfWindows:
    """Which words of one pattern the windows have. A word and its reverse complement are the same.

    ``window`` and ``word`` are pairs, each once: int64 and int32 (pairs,).
    """

    def __init__(self, codes: np.ndarray, pattern: np.ndarray):
        self.size, self.n = 4 ** len(pattern), len(codes)
        places = codes.shape[1] - pattern[-1]
        forward, reverse = np.zeros((2, self.n, places), dtype=np.int32)
        known = np.ones((self.n, places), dtype=bool)
        for place, base in enumerate(pattern):  # the patterns are symmetric, so the other strand has the same
            there = codes[:, base : base + places].astype(np.int32)
            known &= there < UNKNOWN
            forward = forward * 4 + there
            reverse += (3 - there) << 2 * place
        word = np.sort(np.where(known, np.minimum(forward, reverse), -1), axis=1)
        first = np.ones_like(known)
        first[:, 1:] = word[:, 1:] != word[:, :-1]
        self.window, place = np.nonzero(first & (word >= 0))
        self.word = word[self.window, place]

    def share(self) -> np.ndarray:
        """Share of the windows that have each word, with half a pseudo-window: float64 (words,)."""
        return (np.bincount(self.word, minlength=self.size) + 0.5) / (self.n + 1)

    def best(self, left: np.ndarray, share: np.ndarray, n_unbound: int) -> tuple[float, int]:
        """By how many standard errors the best word of the windows ``left`` is more frequent, and the word."""
        n = int(left.sum())
        here = np.bincount(self.word[left[self.window]], minlength=self.size) / n
        errors = share_difference(here, share, n, n_unbound)
        word = int(errors.argmax())
        return float(errors[word]), word

    def windows_with(self, word: int) -> np.ndarray:
        return self.window[self.word == word]


def share_difference(bound: np.ndarray, unbound: np.ndarray, n_bound: int, n_unbound: int) -> np.ndarray:
    """Difference between two shares in standard errors (test of two proportions, pooled): float64, any shape."""
    pooled = (bound * n_bound + unbound * n_unbound) / (n_bound + n_unbound)
    variance = np.maximum(pooled * (1 - pooled), 1e-12) * (1 / n_bound + 1 / n_unbound)
    return (bound - unbound) / np.sqrt(variance)
