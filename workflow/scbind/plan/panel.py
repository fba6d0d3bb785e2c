"""The panel of a run: which cell lines and TFs of the sheets it uses."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from scbind.core.errors import InputError
from scbind.formats.symbols import symbol_key

SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Panel:
    """A choice from the sheets of tracks and ChIP-seq peaks.

    Attributes
    ----------
    name
        Its key in ``panels`` of the configuration.
    label
        File of the configuration, for messages.
    lines, tfs
        Cell lines and TFs to keep. ``None``: all of them. TFs are compared by
        :func:`scbind.formats.symbols.symbol_key`.
    min_lines
        A TF is kept if it was assayed in at least this many of the kept lines.
    known_motif
        Keep only rows whose column ``motif`` is ``yes``.
    taxon
        ``motifs.taxon``, which tells whether case matters in symbols of TFs.
    """

    name: str
    label: str
    lines: tuple[str, ...] | None = None
    tfs: tuple[str, ...] | None = None
    min_lines: int = 1
    known_motif: bool = False
    taxon: str = "vertebrates"

    def keeps(self, line: str) -> bool:
        """Tell whether the panel keeps a cell line."""
        return self.lines is None or line in self.lines

    def check_lines(self, known: Collection[str]) -> None:
        """Raise :class:`InputError` if the panel names a line that is not among the ``known`` ones."""
        self._refuse_unknown("lines", "cell line", self.lines or (), known)

    def choose(self, rows: Sequence[dict], sheet: str) -> list[dict]:
        """Return the rows of the ChIP-seq sheet that the panel keeps, in their order.

        Each row has ``cell_line``, ``tf``, ``motif`` (``True``, ``False``, or ``None`` if it is empty) and ``number``,
        its line in ``sheet``. Raises :class:`InputError` for a TF that is in no row of the kept lines, for an empty
        ``motif`` that the panel needs, and if no row is left.
        """
        rows = [row for row in rows if self.keeps(row["cell_line"])]
        self._refuse_unknown("tfs", "TF", self.tfs or (), {row["tf"] for row in rows})
        if self.tfs is not None:
            wanted = {symbol_key(tf, self.taxon) for tf in self.tfs}
            rows = [row for row in rows if symbol_key(row["tf"], self.taxon) in wanted]
        if self.known_motif:
            for row in rows:
                if row["motif"] is None:
                    problem = (
                        f"motif of {row['tf']} is empty, and panel {self.name} keeps TFs with a known motif"
                    )
                    remedy = f"write yes or no, or set panels.{self.name}.known_motif: false"
                    raise InputError(sheet, problem, remedy, f"line {row['number']}")
            rows = [row for row in rows if row["motif"]]
        assayed: dict[str, set[str]] = {}
        for row in rows:
            assayed.setdefault(row["tf"], set()).add(row["cell_line"])
        rows = [row for row in rows if len(assayed[row["tf"]]) >= self.min_lines]
        if not rows:
            problem = f"panel {self.name} leaves no ChIP-seq peaks of {sheet}"
            remedy = "lower min_lines, name more lines or TFs, or set known_motif: false"
            raise InputError(self.label, problem, remedy, f"key panels.{self.name}")
        return rows

    def drop_rules(self, splits: dict[str, list[str] | None], kept: Collection[str], known: Collection[str]):
        """Return the rules of ``splits`` without those of lines in the sheet (``known``) that the panel does not keep.

        Raises :class:`InputError` if a list of rules has none left.
        """
        gone = {line for line in known if line not in kept}
        left = {}
        for part, rules in splits.items():
            left[part] = rules and [
                rule for rule in rules if not isinstance(rule, str) or rule.partition(":")[0] not in gone
            ]
            if rules and not left[part]:
                problem = f"panel {self.name} has none of the lines of splits.{part}"
                raise InputError(
                    self.label, problem, f"add a rule for {', '.join(kept)} or *", f"key splits.{part}"
                )
        return left

    def _refuse_unknown(self, key: str, kind: str, names: Collection[str], known: Collection[str]) -> None:
        fold = partial(symbol_key, taxon=self.taxon) if key == "tfs" else str
        folded = {fold(name) for name in known}
        for name in names:
            if fold(name) not in folded:
                close = difflib.get_close_matches(name, known, n=1)
                listed = ", ".join(sorted(known)[:SHOWN]) + ", ..." * (len(known) > SHOWN)
                where = " in its lines" if key == "tfs" and self.lines else ""
                raise InputError(
                    self.label,
                    f"panel {self.name} names {kind} {name!r}, which no row of the sheet has{where}",
                    f"did you mean {close[0]}?" if close else f"use one of {listed}",
                    f"key panels.{self.name}.{key}",
                )


def chosen_panel(config: dict, label: str) -> Panel | None:
    """Return the panel that the key ``panel`` names, ``None`` without one.

    Raises :class:`InputError` if ``panels`` has none of this name.
    """
    name = config["panel"]
    if not name:
        return None
    if name not in config["panels"]:
        known = ", ".join(config["panels"])
        remedy = f"use one of: {known}" if known else f"write what it keeps under panels.{name}"
        raise InputError(label, f"no panel is named {name!r}", remedy, "key panel")
    given = config["panels"][name]
    parts = {key: None if given[key] is None else tuple(given[key]) for key in ("lines", "tfs")}
    more = {key: given[key] for key in ("min_lines", "known_motif")}
    return Panel(name, label, **parts, **more, taxon=config["motifs"]["taxon"])
