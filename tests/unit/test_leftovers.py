from pathlib import Path

import pytest
from scbind.plan.leftovers import leftover_line, leftovers


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [
        "README.md",
        "report.html",
        "cells/a/cells.h5ad",
        "cells/b/cells.h5ad",
        "cells/b/more/x",
        ".hidden",
    ]
    names += [
        "binding/a/shards/1-of-2.npz",
        "binding/a/shards/1-of-3.npz",
        "binding/a.zarr/x/y",
        "cells/a/.partial.x",
    ]
    for name in names:
        path = Path("results", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    Path("results/empty").mkdir()


MADE = [
    "results/report.html",
    "results/cells/a/cells.h5ad",
    "results/binding/a/shards/1-of-2.npz",
    "results/binding/a.zarr",
]


def test_what_the_run_does_not_make_is_found_as_a_whole(results):
    found = leftovers("results", MADE)
    assert list(map(str, found)) == ["results/binding/a/shards/1-of-3.npz", "results/cells/b"]
    line = leftover_line(found)
    assert line.startswith(
        "Not of this configuration: results/binding/a/shards/1-of-3.npz, results/cells/b (3 files, 0.0 MB). "
    )
    assert "and 1 more (" in leftover_line([*found, *found, *found])


def test_nothing_is_left_over(results, tmp_path):
    assert leftovers("results", [*MADE, "results/cells/b", "results/binding/a/shards/1-of-3.npz"]) == []
    assert leftovers(tmp_path / "none", MADE) == [] and leftover_line([]) == ""
