"""Networks behind one interface, with their training, calibration and metrics."""
