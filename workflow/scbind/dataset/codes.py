"""Codes of the labels of a window, and how many bound windows are few."""

from __future__ import annotations

BOUND, UNBOUND, AMBIGUOUS, NOT_ASSAYED = 1, 0, -1, -2
FEW_BOUND = 10  # with fewer bound validation windows, the accuracy of a TF is unknown, so scbind abstains
