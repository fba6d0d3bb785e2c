"""The one error that a user is meant to read."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, said in one line: the file, the place in it, what is wrong, what to do.

    Parameters
    ----------
    file
        The file (or config key) that is at fault.
    problem
        What is wrong with it.
    remedy
        What the user can do next.
    place
        Where in the file: a line number, a column, a chromosome.
    """

    def __init__(self, file, problem: str, remedy: str, place: str | None = None):
        self.file, self.place, self.problem, self.remedy = str(file), place, problem, remedy
        where = f"{file}, {place}" if place else f"{file}"
        super().__init__(f"{where}: {problem}; {remedy}")
