"""Which (cell line, window) pairs train, validate and test.

A rule is ``LINE:CHROM`` or ``LINE:CHROM:START-END`` (0-based half-open, bp); ``*`` stands for any line or
any chromosome. A window belongs to a region if it lies wholly inside. Test and validation rules must not contain the
same pair. Training uses the other pairs, or only those of its own rules. Where regions of two
splits of one line meet, windows whose context reaches into the other split are not used: they would share
sequence and signal with it.
"""

from __future__ import annotations

import numpy as np

from scbind.core.errors import InputError
from scbind.dataset.splitrules import parse_rule

UNUSED, TRAIN, VALID, TEST = 0, 1, 2, 3
NAMES = {"train": TRAIN, "valid": VALID, "test": TEST}
# Names under which test windows are also scored as published, for scFAN and for maxATAC.
PROTOCOL, CHR1_PROTOCOL = "scfan_protocol", "maxatac_protocol"
UNKNOWN = "unknown"  # kind of holdout of a model that was trained on another assembly


def assign_splits(
    rules: dict[str, list[str] | None],
    lines: list[str],
    chroms: list[str],
    window_chrom: np.ndarray,
    window_start: np.ndarray,
    window: int,
    usable: np.ndarray | None = None,
    context: int | None = None,
    training: bool = True,
) -> np.ndarray:
    """Assign a split to every (cell line, window).

    Parameters
    ----------
    rules
        ``test`` and ``valid``: lists of rules; ``train``: a list, or ``None`` for everything left over. Without
        ``training``, no rules at all means that every window tests.
    window_chrom, window_start
        Chromosome index and 0-based start of each window, shape (windows,).
    window
        Window width in bp.
    usable
        bool, shape (lines, windows): pairs that can be used at all (the line has signal there).
    context
        Bases around the middle of a window that are read. At the borders of regions, a window becomes ``UNUSED``
        whose context overlaps a window of another split of the same line; ``None`` leaves all as they are.
    training
        Whether a model is to be trained. If not, only the test split must hold windows.

    Returns
    -------
    uint8, shape (lines, windows), values ``UNUSED``, ``TRAIN``, ``VALID``, ``TEST``.

    Raises
    ------
    InputError
        If two splits claim the same pair, or a split ends up empty.
    """
    shape = (len(lines), len(window_chrom))
    splits = np.zeros(shape, dtype=np.uint8)
    claimed_by, borders = {}, set()
    if not training:
        rules = {name: rules.get(name) or [] for name in ("test", "valid")} | {"train": rules.get("train")}
        if not rules["test"]:
            rules["test"] = ["*:*"]
    for name in ("test", "valid", "train"):
        if rules.get(name) is None:
            if name != "train":
                raise InputError("config", f"no {name} rules", "name at least one", f"splits.{name}")
            splits[splits == UNUSED] = TRAIN
            continue
        for position, text in enumerate(rules[name]):
            where = f"splits.{name}[{position}]"
            rule = parse_rule(text, where, lines, chroms)
            chosen = np.ones(shape[1], dtype=bool)
            if rule.chrom != "*":
                chosen &= window_chrom == chroms.index(rule.chrom)
            if rule.start is not None:
                of_chrom = [rule.chrom] if rule.chrom != "*" else chroms
                borders |= {(chroms.index(name), at) for name in of_chrom for at in (rule.start, rule.end)}
                chosen &= (window_start >= rule.start) & (window_start + window <= rule.end)
            for row, line in enumerate(lines):
                if rule.line not in ("*", line):
                    continue
                overlap = chosen & (splits[row] != UNUSED) & (splits[row] != NAMES[name])
                if overlap.any():
                    other = int(splits[row][overlap][0])
                    raise InputError(
                        "config",
                        f"{text!r} overlaps {claimed_by[(row, other)]!r} in {int(overlap.sum())} windows of {line}",
                        "make the holdouts disjoint",
                        where,
                    )
                splits[row][chosen] = NAMES[name]
                claimed_by[(row, NAMES[name])] = f"splits.{name}: {text}"
    if usable is not None:
        splits[~usable] = UNUSED
    if context is not None:
        for index, at in sorted(borders):
            _part(splits, window_chrom == index, window_start, window, context, at)
    for name, value in NAMES.items():
        if (training or value == TEST) and not (splits == value).any():
            raise InputError(
                "config",
                f"the {name} split holds no window",
                "loosen the holdouts, or check that the line has signal there",
                f"splits.{name}",
            )
    return splits


def _part(
    splits: np.ndarray, here: np.ndarray, start: np.ndarray, window: int, context: int, border: int
) -> None:
    """Set to ``UNUSED`` what reaches over a border of regions into a window of another split of its line.

    ``here`` bool (windows,): those of the border's chromosome. Only windows near the border are compared: first those
    whose context lies across it, then also those that are up to a window further away, because a window that lies
    across the border itself may reach them.
    """
    first = start.astype(np.int64) - (context - window) // 2
    for further in (0, window):
        near = np.flatnonzero(here & (first < border + further) & (first + context > border - further))
        begin, end = first[near], first[near] + context
        reached = (start[near] < end[:, None]) & (start[near] + window > begin[:, None])
        for row in splits:
            own = row[near]
            other = (own[:, None] != own) & (own != UNUSED) & reached
            row[near[other.any(axis=1)]] = UNUSED


def kinds_of_holdout(
    splits: np.ndarray,
    line: int,
    window: np.ndarray,
    elsewhere: tuple[np.ndarray, bool] = (np.zeros(1, dtype=bool), False),
) -> dict[str, np.ndarray]:
    """What test windows of a line are held out from: by kind, which of them are, bool (windows asked for,).

    ``splits`` is the array of :func:`assign_splits`; ``window`` int (windows asked for,). The kinds that occur of:
    ``chromosome`` (the line was trained on, the locus in no line), ``cell_line`` (the locus was trained
    on, the line was not), ``both`` (neither), ``pair`` (both, but not together). ``elsewhere`` are the arguments of
    :func:`name_kinds` for a model that one trained on these splits extends.
    """
    seen = (splits[:, window] == TRAIN).any(axis=0) | elsewhere[0]
    return name_kinds(seen, bool((splits[line] == TRAIN).any()) or elsewhere[1])


def name_kinds(seen: np.ndarray, line_trained: bool) -> dict[str, np.ndarray]:
    """Test windows by kind of holdout, as :func:`kinds_of_holdout` returns them.

    ``seen`` bool (windows,): the locus was trained on in any line. ``line_trained``: the line of these windows was
    trained on.
    """
    kinds = ("chromosome", "pair") if line_trained else ("both", "cell_line")
    return {kind: part for kind, part in zip(kinds, (~seen, seen), strict=True) if part.any()}
