"""Notebooks of the documentation are valid, light, and free of traces of a machine; their code runs."""

import gzip
import re

import anndata
import nbformat
import numpy as np
import pandas as pd
import pytest
from bindingstore import write_sample
from docpages import DOCS, NOTEBOOKS, code_cells, ipynb, printed, read_notebook, run_cells, write_notebook

TUTORIAL = DOCS / "tutorial/pbmc.ipynb"
MOST = 4000  # bytes of output of a notebook
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def slug(heading: str) -> str:
    """The anchor that MkDocs gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def prose(notebook: dict) -> str:
    return "\n\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
    )


def test_the_tutorial_is_a_notebook():
    assert TUTORIAL in NOTEBOOKS


@each
def test_a_notebook_is_valid_and_as_jupyter_writes_it(path, tmp_path):
    notebook = read_notebook(path)
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids))
    for cell in code_cells(notebook):
        compile("".join(cell["source"]), cell["id"], "exec")
    write_notebook(tmp_path / "again.ipynb", notebook)
    assert path.read_bytes() == (tmp_path / "again.ipynb").read_bytes()


@each
def test_a_notebook_shows_no_trace_of_the_machine_that_ran_it(path):
    notebook = read_notebook(path)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not any(cell["metadata"] for cell in notebook["cells"])
    assert all(cell["execution_count"] is None for cell in code_cells(notebook))
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert all(output["output_type"] == "stream" and output["name"] == "stdout" for output in outputs)
    assert sum(len(printed(cell)) for cell in code_cells(notebook)) < MOST
    for cell in code_cells(notebook):
        assert not re.search(r"(^|[\s\"'=(])(/|~/|[A-Z]:\\)\w", printed(cell) + "".join(cell["source"]))


@each
def test_links_of_a_notebook_lead_to_files_and_headings(path):
    text = prose(read_notebook(path))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("https://")]
    assert links
    for link in links:
        page, _, anchor = link.partition("#")
        assert page, f"{link}: Jupyter and MkDocs write the anchors of headings differently"
        target = path.parent / page
        assert target.is_file(), link
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)), link


@each
def test_a_notebook_shows_the_figures_that_it_writes(path):
    notebook = read_notebook(path)
    code = "\n".join("".join(cell["source"]) for cell in code_cells(notebook))
    written = re.findall(r'savefig\("([^"]+)"', code)
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", prose(notebook))
    assert written == [figure.replace("figures/", "my_figures/") for figure in shown]  # the reader's own
    assert all((path.parent / figure).stat().st_size < 100_000 for figure in shown)


PRINTED = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}


def test_a_notebook_becomes_markdown():
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Prose."]},
        {"cell_type": "code", "source": ["x = 1\n", "print(x)"], "outputs": [PRINTED]},
        {"cell_type": "code", "source": ["y = 2"], "outputs": []},
    ]
    assert ipynb.to_markdown({"cells": cells}) == (
        "# Title\nProse.\n\n```python\nx = 1\nprint(x)\n```\n\n"
        '```text title="Output"\n1\n```\n\n```python\ny = 2\n```\n'
    )


def test_fences_in_code_and_in_what_it_prints_end_no_block():
    inside = {"output_type": "stream", "name": "stdout", "text": "```\nx\n"}
    cell = {"cell_type": "code", "source": "print('````')", "outputs": [inside]}
    assert ipynb.to_markdown({"cells": [cell]}) == (
        "`````python\nprint('````')\n`````\n\n````text title=\"Output\"\n```\nx\n````\n"
    )


@pytest.mark.parametrize(
    "cell, problem",
    [
        ({"cell_type": "raw"}, "cell a is raw"),
        ({"outputs": [{"output_type": "display_data", "data": {"image/png": "AA"}}]}, "display_data"),
        ({"outputs": [PRINTED, {"output_type": "error", "traceback": ["x"]}]}, "(error)"),
        ({"outputs": [{"output_type": "execute_result", "data": {"text/plain": "1"}}]}, "execute_result"),
    ],
)
def test_what_a_page_cannot_show_is_named(cell, problem):
    with pytest.raises(ValueError, match=re.escape(problem)):
        ipynb.to_markdown({"cells": [{"cell_type": "code", "id": "a", "source": "x"} | cell]})


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Small files like those that the tutorial reads. The working folder is that of the notebook."""
    rng = np.random.default_rng(0)
    (tmp_path / "data/sc").mkdir(parents=True)
    near = {"B": ("chr11", 60_230_000), "T": ("chr11", 118_200_000), "M": ("chr11", 47_380_000)}
    rows, labels = [], []
    for kind, (chrom, start) in near.items():
        for cell in range(3):
            labels.append(f"{kind}{cell}\t{kind}\n")
            rows += [
                f"{chrom}\t{start}\t{start + 100}\t{kind}{cell}\t1\n",
                f"chr5\t10\t90\t{kind}{cell}\t1\n",
            ]
    with gzip.open(tmp_path / "data/sc/PBSmall_BMT.chr5_chr11.fragments.tsv.gz", "wt") as file:
        file.write("# a comment\n" + "".join(rows))
    (tmp_path / "data/sc/PBSmall_BMT.labels.tsv").write_text("barcode\tcell_type\n" + "".join(labels))

    tfs, types = ["ETS1", "SPI1", "CTCF", "EBF1"], ["cells_c0"] * 12 + ["cells_c1"] * 10 + ["cells_c2"] * 8
    results = tmp_path / "results"
    for name in ("activity", "analysis", "binding"):
        (results / name).mkdir(parents=True)
    values = rng.normal(size=(30, 4)).astype(np.float32)
    values[:12, 1] += 5  # SPI1 is active in the largest cluster
    anndata.AnnData(
        values,
        obs=pd.DataFrame({"cell_type": pd.Categorical(types)}, index=[f"c{i}" for i in range(30)]),
        var=pd.DataFrame({"abstained": [False, False, False, True]}, index=tfs),
        obsm={"X_umap": rng.normal(size=(30, 2))},
    ).write_h5ad(results / "activity/tenx.h5ad")
    pd.DataFrame(
        {
            "cell_type": "cells_c0", "tf": tfs, "difference": [0.1, 2, -1, 3], "effect_size": [0.2, 3, -2, 4],
            "design_effect": 1.5, "p_adjusted": 0.5, "reliability_level": "high",
            "reliability_abstained": [False, False, False, True],
        }
    ).to_csv(results / "analysis/differential_tfs.tsv", sep="\t", index=False)  # fmt: skip
    chrom, start = ["chr21", *["chr22"] * 5], np.array([0, 0, 1000, 2000, 3000, 4000])
    var = pd.DataFrame(
        {"chrom": pd.Categorical(chrom), "start": start, "end": start + 200},
        index=[f"{c}:{s}-{s + 200}" for c, s in zip(chrom, start, strict=True)],
    )
    codes = np.zeros((30, 6))
    codes[:, 3] = 100
    codes[:, 0], codes[20:, 5] = 200, 200  # stronger, but on another chromosome, or in another cluster
    write_sample(results / "binding", "tenx", {"SPI1": codes}, types, var=var)

    (tmp_path / "docs/tutorial").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs/tutorial")
    monkeypatch.setenv("SCBIND_DATA", str(tmp_path / "data"))
    return tmp_path / "docs/tutorial"


def test_the_cells_of_the_tutorial_run_in_order(stand_ins):
    names, texts = run_cells(read_notebook(TUTORIAL), TUTORIAL.name)
    assert names["share"].loc["B", "MS4A1"] == 5000 and names["share"].loc["T", "MS4A1"] == 0
    assert texts["activity"].startswith("(30, 3)\n")
    assert (names["group"], names["reference"]) == ("cells_c0", "cells_c1")
    assert names["ranked"]["names"].iloc[0] == "SPI1" and "EBF1" not in set(names["ranked"]["names"])
    assert names["tops"].index.tolist() == ["CTCF", "ETS1", "SPI1"]
    assert "chr22:2000-2200: mean P(bound) 0.631" in texts["site"] and "12 cells x 2 windows" in texts["site"]
    assert {path.name for path in (stand_ins / "my_figures").iterdir()} == {
        "markers.png", "umap.png", "ranking.png"
    }  # fmt: skip


def test_without_the_pieces_the_tutorial_runs_on_results_of_its_readers(stand_ins, monkeypatch):
    monkeypatch.delenv("SCBIND_DATA")
    notebook = read_notebook(TUTORIAL)
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] not in ("count", "plot-markers")]
    names, _ = run_cells(notebook, TUTORIAL.name)
    assert names["ranked"]["names"].iloc[0] == "SPI1"
