"""What runs: configuration and sheets checked, digests of code, downloads. Only rules and the Snakefile import it."""
