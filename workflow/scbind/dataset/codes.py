"""Codes of the labels of a window."""

from __future__ import annotations

BOUND, UNBOUND, AMBIGUOUS, NOT_ASSAYED = 1, 0, -1, -2
