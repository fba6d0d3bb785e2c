"""scbind: which transcription factors are bound where, in every single cell."""

__version__ = "0.1.0"
