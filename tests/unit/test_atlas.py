"""The simulated atlas of the benchmarks, and what they compute from measurements."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("atlas", "scale"):
        sys.modules.pop(name, None)


def test_an_atlas_is_what_the_workflow_reads(benchmarks, tmp_path):
    from atlas import Shape, make_atlas
    from scbind.cells.count import count_fragments
    from scbind.formats.genome import ChromSizes, Genome
    from scbind.formats.intervals import read_bed, read_peaks
    from scbind.models.predictor import load_predictor

    shape = Shape(cells=12, windows=400, fragments=300, samples=2, types=3, tfs=4, members=1)
    make_atlas(tmp_path / "a", shape)
    reference = tmp_path / "a/reference/atlas"
    sizes = ChromSizes.read(reference / "chrom.sizes")
    assert sizes.total == 20 * shape.length == len(Genome.open(reference).codes)
    assert len(read_bed(tmp_path / "a/elements.bed", sizes)) == 20 * shape.per_chromosome
    assert len(read_peaks(tmp_path / "a/elements.narrowPeak", sizes)) == 20 * shape.per_chromosome
    for sample in ("s1", "s2"):
        out = [
            tmp_path / f"{sample}.{name}"
            for name in ("position.npy", "cell.npy", "barcodes.tsv", "profile.tsv")
        ]
        count_fragments(
            tmp_path / "a" / sample / "fragments.tsv.gz", reference / "chrom.sizes", *out, min_fragments=60
        )  # refuses what is not sorted or outside a chromosome
        assert len(out[2].read_text().splitlines()) == 1 + 6
    predictor = load_predictor(tmp_path / "a/model/model.safetensors", tmp_path / "a/model/calibration.json")
    assert len(predictor.tfs) == 4
    make_atlas(tmp_path / "b", shape)
    for name in ("s1/fragments.tsv.gz", "cells.tsv", "model/calibration.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_genome_does_not_depend_on_cells_and_barcodes_differ(benchmarks):
    from atlas import Shape, barcodes, elements

    few, many = elements(Shape(cells=5, windows=500)), elements(Shape(cells=500, windows=500))
    assert all(np.array_equal(a, b) for a, b in zip(few, many, strict=True))
    assert (few[1] > 0).any(axis=0).all() and not (few[1] > 0).all()
    made = barcodes(np.arange(100_000))
    assert len(np.unique(made)) == 100_000 and made.dtype == "S18"


def test_exponent(benchmarks):
    from scale import exponent

    rows = [{"cells": n, "cpu": 3 * n**1.5} for n in (10, 20, 80)]
    assert math.isclose(exponent(rows, "cells"), 1.5)
    assert math.isnan(exponent(rows[:1], "cells"))


def test_sums_over_all_stages_and_their_growth(benchmarks, capsys):
    from scale import show, totals

    def row(stage, cells, windows, cpu, part=1, parts=1):
        facts = dict.fromkeys(("peak", "own", "written"), 2**20)
        sizes = {"stage": stage, "cells": cells, "windows": windows, "part": part, "parts": parts}
        return {**sizes, "seconds": cpu / 2, "cpu": cpu, **facts}

    rows = [row("count", n, 0, n) for n in (10, 20)]
    rows += [row("infer", n, w, 2 * n * w, 1, 4) for n, w in ((10, 30), (20, 30), (20, 15))]
    rows += [row("rates", n, w, 1e6) for n, w in ((10, 30), (20, 30))]
    rows += [row("readout", n, w, 1) for n, w in ((10, 30), (20, 30), (20, 15))] + [row("count", 5, 0, 9)]
    found = totals(rows)
    assert [(r["cells"], r["windows"]) for r in found] == [
        (10, 30),
        (20, 15),
        (20, 30),
    ]  # none for five cells
    assert [r["cpu"] for r in found] == [2411, 2421, 4821] and all(r["estimate"] for r in found)
    assert [r["seconds"] for r in found] == [1205.5, 1210.5, 2410.5]
    assert totals(rows[:2]) == [
        {"cells": n, "windows": 0, "seconds": n / 2, "cpu": n, "estimate": False} for n in (10, 20)
    ]
    show(rows)
    lines = capsys.readouterr().out.splitlines()
    assert "| 20 | 15 | 1,210.5 | 2,421.0 | estimate |" in lines
    slopes = [math.log2(4821 / 2411), math.log2(4821 / 2421)]
    last = next(i for i, line in enumerate(lines) if line.startswith("| all stages | "))
    assert lines[last] == f"| all stages | {slopes[0]:.2f} | {slopes[1]:.2f} |"
    assert lines[last - 1].startswith("| rates") and not lines[last + 1].startswith("|")
