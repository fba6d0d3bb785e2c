"""Settings that make the demo small: a run of it to the end takes about a minute."""

import copy

SMALL = {
    "demo": {"n_cells": 80, "chromosome_mb": [0.35, 0.25, 0.2], "cell_fragments": 900},
    "genome": {"name": "small"},
    "models": {
        "scbind": {
            "epochs": 1,
            "batch_size": 64,
            "valid_windows": 200,
            "options": {"members": 1},
            "sampling": {"examples_per_epoch": 256, "depth_min": 0.001},
        }
    },
    "splits": {"test": ["*:chr3", "LINE_C:*"], "valid": ["LINE_A:chr2", "LINE_B:chr2"]},
    "peaks": {"min_cells": 10, "min_fragments": 2000},
    "cells": {
        "min_barcode": 50,
        "min_fragments": 100,
        "min_tss": None,
        "neighbour_chromosomes": ["chr1", "chr2"],
    },
    "infer": {"background_draws": 5, "borrow_fragments": 5000},
    "analysis": {"min_cells": 5, "motifs": {"n_sites": 20}},
    "evaluate": {"truth": None, "max_cells": 10},
}
WHOLE = ("models", "splits")  # sections that stand in place of the demo's


def make_small(config: dict) -> None:
    """Put these settings into the configuration of the demo."""
    for section, values in copy.deepcopy(SMALL).items():
        config[section] = values if section in WHOLE else config[section] | values
