"""scbind: which transcription factors are bound where, in every single cell."""

__version__ = "0.1.0"


PLACES = {  # functions of the package, by the module that has them
    "open_binding": "scbind.binding.store",
    "open_regulation": "scbind.analysis.regulationfile",
}


def __getattr__(name: str):
    """Load a function of ``PLACES`` when it is asked for: importing the package stays light."""
    if name in PLACES:
        import importlib

        return getattr(importlib.import_module(PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
