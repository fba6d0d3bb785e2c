"""The training dataset: labels, holdouts, and reading it."""
