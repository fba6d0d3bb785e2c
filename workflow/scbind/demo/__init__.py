"""The simulated atlas, its truth, and results held against it."""
