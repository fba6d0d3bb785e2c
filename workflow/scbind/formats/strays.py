"""How many bad records a file may have: a few are dropped and counted; with many, the file is refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scbind.core.errors import InputError
from scbind.core.runlog import say

LIMIT = 0.01  # maximum fraction of the records of a file that may be dropped
ALLOWED = 1  # this many may be dropped from any file, however small
ENOUGH = 100_000  # records after which a file that breaks the limit is refused before its end


@dataclass(frozen=True)
class Rule:
    """One way in which a record can be wrong, and what the user can do about it.

    Attributes
    ----------
    problem
        What is wrong with a record, as a clause: ``the start is negative``.
    remedy
        What the user can do next.
    """

    problem: str
    remedy: str


class Strays:
    """Counts the records of a file that break a rule, and decides whether the file is used.

    Up to 1 % of the records of a file, and one record of any file, may break a rule. They are dropped, with one line in
    the log. A file with more of them is refused: it was made for another genome, or by a broken tool.

    Parameters
    ----------
    path
        The file, for messages.
    unit
        What a record is, in the plural: ``fragments``, ``peaks``, ``genes``.

    Examples
    --------
    >>> import numpy as np
    >>> strays = Strays('peaks.bed', 'peaks')
    >>> negative = Rule('the start is negative', 'remove it')
    >>> strays.drop({negative: np.array([False, True])}, ['line 1', 'line 2'].__getitem__)
    array([False,  True])
    >>> strays.n
    1
    """

    def __init__(self, path, unit: str):
        self.path, self.unit = path, unit
        self._number: dict[Rule, int] = {}
        self._place: dict[Rule, str] = {}

    @property
    def n(self) -> int:
        """Number of records that broke a rule so far."""
        return sum(self._number.values())

    def drop(self, broken: dict[Rule, np.ndarray], place) -> np.ndarray:
        """Count records that break a rule.

        ``broken``: rule -> bool (records,), in the order of their importance, at least one; a record counts for the
        first rule that it breaks. ``place``: function from the index of a record to its place in the file, such as
        ``line 7``. Returns bool (records,), the records to drop.
        """
        dropped = np.zeros(len(next(iter(broken.values()))), dtype=bool)
        for rule, wrong in broken.items():
            new = np.asarray(wrong, dtype=bool) & ~dropped
            dropped |= new
            if new.any():
                self.add(rule, place(int(np.argmax(new))), int(new.sum()))
        return dropped

    def add(self, rule: Rule, place: str, number: int = 1) -> None:
        """Count records that break a rule; ``place`` is that of the first."""
        self._number[rule] = self._number.get(rule, 0) + number
        self._place.setdefault(rule, place)

    def check(self, total: int) -> None:
        """Refuse the file before its end if too many of the first ``total`` records break a rule."""
        if total >= ENOUGH and self.n > LIMIT * total:
            self._refuse(total)

    def settle(self, total: int) -> None:
        """Decide about the whole file: say what was dropped, or refuse the file.

        ``total``: all records of the file, including those dropped. Raises :class:`InputError` if more than 1 % of
        them (and more than one) break a rule, or if none is left.
        """
        if self.n > max(ALLOWED, LIMIT * total) or self.n and self.n == total:
            self._refuse(total)
        for rule, number in self._number.items():
            say(
                f"WARNING {self.path}, {self._place[rule]}: {rule.problem}; dropped {number} of {total} {self.unit} "
                "like this"
            )

    def _refuse(self, total: int):
        rule = max(self._number, key=self._number.get)
        number = self._number[rule]
        problem = rule.problem
        if total > 1:
            problem += f" ({number} of {total} {self.unit} are like this; at most {LIMIT:.0%} may be)"
        raise InputError(self.path, problem, rule.remedy, self._place[rule])
