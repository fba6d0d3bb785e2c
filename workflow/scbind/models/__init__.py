"""Networks behind one interface, their training, calibration and figures of merit."""
