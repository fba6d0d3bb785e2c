"""One list of baselines and one of statuses of cell types, and what draws from them."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
from scbind.evaluation import baselines, registry
from scbind.formats import typestatus
from scbind.plan import digests
from scbind.report import cells, models
from scbind.report.accuracy import comparison

ROOT = Path(__file__).parents[2]
OUTPUTS = (ROOT / "docs/reference/outputs.md").read_text()


def test_what_evaluation_scores_is_listed_in_that_order(monkeypatch):
    monkeypatch.setattr(baselines, "read_motifs", lambda _: None)
    monkeypatch.setattr(baselines, "Features", lambda *_: None)
    monkeypatch.setattr(baselines, "fit_trees", lambda *_: ({}, {}))
    assert list(baselines.fit_baselines(None, "", "", 1, 0)) == list(registry.BASELINES)


def test_docs_describe_each_baseline_and_say_which_are_controls():
    table = re.findall(
        r"^\| `(\w+)` \| (.*) \|$", OUTPUTS.partition("| `model` | what it is |\n")[2], flags=re.M
    )
    table = table[: len(registry.COMPARATORS)]
    assert [name for name, _ in table] == list(registry.COMPARATORS)
    for name, text in table:
        assert text.startswith(registry.COMPARATORS[name].sentence), name
    assert set(registry.CONTROLS) == {name for name, _ in table[-4:]}, "docs: the last four are controls"


def test_controls_are_not_ranked_among_competitors():
    rows = [(name, "K", tf, 0.5) for name in registry.COMPARATORS for tf in ("X", "Y")]
    rows = [row for row in rows if row[0] not in registry.CONTROLS or row[2] == "X"]
    metrics = pandas.DataFrame(rows, columns=["model", "cell_line", "tf", "auprc"]).assign(split="test")
    for column in ("prevalence", "log2_gain", "auroc", "recall_at_fdr10", "recall_at_fdr50", "ece"):
        metrics[column] = np.nan
    pairs = comparison(metrics).set_index("model")["n_pairs"]
    assert {name: pairs[name] for name in registry.CONTROLS} == dict.fromkeys(registry.CONTROLS, 1)
    assert set(pairs.drop(list(registry.CONTROLS))) == {2}


def test_names_of_baselines_are_spelt_where_they_are_made_alone():
    spelt = {
        module
        for module in digests.list_modules()
        if literals(module) & (set(registry.BASELINES) - {"accessibility"})
    }
    assert spelt == {"evaluation.registry", "evaluation.baselines"}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        assert not set(re.findall(r'"(\w+)"', path.read_text())) & set(registry.BASELINES), path


def test_docs_and_schema_know_each_status():
    row = re.search(r"^\| `status` \| (.*) \|$", OUTPUTS, flags=re.M).group(1)
    for name, status in typestatus.STATUSES.items():
        assert f"`{name}`: {status.sentence}." in row
    schema = (ROOT / "workflow/schemas/config.schema.yaml").read_text()
    choices = re.search(r"small_types: \{enum: \[([^]]*)\]", schema).group(1).split(", ")
    assert choices == list(typestatus.SMALL_TYPES)
    assert set(typestatus.SMALL_TYPES.values()) == set(typestatus.STATUSES) - {typestatus.OWN}


def test_statuses_are_spelt_in_one_module():
    spelt = {
        module
        for module in digests.list_modules()
        if literals(module) & {"merged", "skipped", "sample_peaks"}
    }
    assert spelt <= {"formats.typestatus", "report.read"}  # "merged" is a key of peaks.json as well


def literals(module):
    """Strings of a module that are not docstrings."""
    tree = ast.parse((digests.PACKAGE / f"{module.replace('.', '/')}.py").read_text())
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_the_report_explains_each_baseline_and_source_of_peaks():
    note = models._meaning({"scbind", *registry.COMPARATORS})
    assert [note.count(each.sentence) for each in registry.COMPARATORS.values()] == [1] * len(
        registry.COMPARATORS
    )
    assert "oracle" not in models._meaning(set(registry.BASELINES))
    peaks = pandas.DataFrame({"cell_type": ["a"], "source": ["cell type"]})
    text = cells.pseudobulk(SimpleNamespace(peaks=peaks)).text[0]
    for status in typestatus.STATUSES.values():
        assert f"{status.source.capitalize()}: {status.sentence}." in text
