"""Groups of cells that are probably doublets."""

import numpy as np
import pytest
from scbind.formats.doubletgroups import LIKELY, doublet_groups

PROFILES = {"A": [1, 0, 0, 0.1], "B": [0, 1, 0, 0.1], "C": [0, 0, 1, 0.1], "odd": [0.7, 0, 0.3, 0.1]}
PROFILES = {name: np.array(profile, dtype=float) for name, profile in PROFILES.items()}
CELLS = {"A": 90, "B": 80, "C": 70, "odd": 7}


def texts(**scores):
    return doublet_groups(PROFILES, CELLS, dict.fromkeys(CELLS, 0.02) | scores)


def test_the_two_groups_are_those_whose_mixture_is_most_like_the_doublets():
    assert texts(odd=0.2) == {"odd": "probably doublets of A and C"}
    assert texts(odd=LIKELY) == {"odd": "probably doublets of A and C"}
    assert texts(odd=LIKELY - 0.001) == texts(odd=float("nan")) == {}


def test_the_two_groups_are_larger_and_no_doublets_themselves():
    found = texts(odd=0.2, C=0.2)
    assert (
        found["odd"] == "probably doublets"
    )  # C is out, and A alone is as much like it as any mixture with B
    assert found["C"].startswith("probably doublets")
    assert doublet_groups(PROFILES, CELLS | {"odd": 75}, dict.fromkeys(CELLS, 0.02) | {"odd": 0.2}) == {
        "odd": "probably doublets"
    }


@pytest.mark.parametrize("known", [(), ("odd",), ("odd", "A")])
def test_without_two_profiles_no_groups_are_named(known):
    profiles = {name: PROFILES[name] for name in known}
    assert doublet_groups(profiles, CELLS, dict.fromkeys(CELLS, 0.02) | {"odd": 0.2}) == {
        "odd": "probably doublets"
    }
