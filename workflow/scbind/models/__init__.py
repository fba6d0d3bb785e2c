"""Networks behind one interface; see :class:`scbind.models.base.BindingNetwork`."""

from scbind.models.base import BindingNetwork, build_network
from scbind.models.predictor import Predictor, load_predictor

__all__ = ["BindingNetwork", "Predictor", "build_network", "load_predictor"]
