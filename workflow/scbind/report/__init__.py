"""The report with its figures, and the model cards."""
