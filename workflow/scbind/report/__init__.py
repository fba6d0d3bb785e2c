"""The report, its figures, and model cards."""
