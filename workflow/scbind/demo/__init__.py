"""The simulated atlas, its truth, and the scoring of results against that truth."""
