"""Scores of networks and baselines on the test windows, at all depths."""
