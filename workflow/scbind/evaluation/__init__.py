"""Test windows scored by networks and baselines, at all depths."""
