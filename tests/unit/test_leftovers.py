from pathlib import Path

import pytest
from scbind.core.scratch import machine, scratch_of
from scbind.plan.leftovers import find_leftovers, list_leftovers


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
    found = find_leftovers("results", MADE)
    assert list(map(str, found)) == ["results/binding/a/shards/1-of-3.npz", "results/cells/b"]
    listed = Path("logs/leftovers.txt")
    line = list_leftovers(found, listed)
    assert line.startswith(
        "Not of this configuration: results/binding/a/shards/1-of-3.npz, results/cells/b (3 files, 0.0 MB). "
        "logs/leftovers.txt lists all."
    )
    assert listed.read_text() == "results/binding/a/shards/1-of-3.npz\nresults/cells/b\n"
    assert "and 1 more (" in list_leftovers([*found, *found, *found], listed)
    assert len(listed.read_text().splitlines()) == 6


def test_the_folder_may_be_a_link_and_a_name_may_hold_a_line_end(results):
    Path("results/cells/b").rename("results/cells/a\nb\t")
    Path("results").rename("elsewhere")
    Path("results").symlink_to("elsewhere")
    found = find_leftovers("results", MADE)
    line = list_leftovers(found, "leftovers.txt")
    assert r"results/cells/a\nb\t (3 files" in line and "\n" not in line
    assert Path("leftovers.txt").read_text().splitlines()[1] == r"results/cells/a\nb\t"


def test_nothing_is_left_over(results, tmp_path):
    assert find_leftovers("results", [*MADE, "results/cells/b", "results/binding/a/shards/1-of-3.npz"]) == []
    assert find_leftovers(tmp_path / "none", MADE) == [] and list_leftovers([], "none/leftovers.txt") == ""
    Path("leftovers.txt").write_text("of the last run")
    assert list_leftovers([], "leftovers.txt") == "" and not Path("leftovers.txt").exists()


def test_scratch_of_a_killed_job_is_listed_and_scratch_in_use_is_not(results):
    shards = Path("results/binding/a/shards")
    living = scratch_of(shards / "2-of-2.npz.blocks")
    ended = living.with_name(living.name.replace(machine(), "0" * 8))
    for path in (living, ended):
        path.mkdir()
        (path / "blocks").write_text("12345")
    found = find_leftovers("results", [*MADE, "results/cells/b", "results/binding/a/shards/1-of-3.npz"])
    assert found == [ended]
    line = list_leftovers(found, "leftovers.txt")
    assert line.startswith(
        f"Not of this configuration, or scratch of a killed job: {ended} (1 file, 0.0 MB). "
    )
