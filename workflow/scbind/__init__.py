"""scbind: which transcription factors are bound where, in every single cell."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """Load :func:`scbind.binding.store.open_binding` when it is asked for: importing the package stays light."""
    if name == "open_binding":
        import importlib

        return importlib.import_module("scbind.binding.store").open_binding
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
