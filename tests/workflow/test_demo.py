"""One run of the whole demo, and what it promises: results, no second run, reruns of exactly what depends."""

import csv
import os
import re
import shutil
import statistics
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import anndata
import pytest
from scbind import open_binding
from scbind.evaluation.registry import BASELINES, CONTROLS

pytestmark = [pytest.mark.workflow, pytest.mark.demo]

ROOT = Path(__file__).parents[2]
PAGES_WITH_CODE = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "```python" in page.read_text()]

# The record of settings changes with any setting, and the report shows it.
ALWAYS = {"record_provenance", "write_report", "all"}
AFTER_BINDING = {
    "merge_shards",
    "activity_matrix",
    "cell_type_tracks",
    "differential_tfs",
    "differential_sites",
    "peak_binding",
    "find_populations",
    "abundance",
}
AFTER_BINDING |= {"tf_targets", "motif_enrichment", "score_cells", "score_types"}
AFTER_BINDING |= {
    "tf_active",
    "tf_links",
    "cell_regulation",
    "write_browser",
    "write_loci",
    "compare_activity",
}
AFTER_WINDOWS = {"sequence_readout", "reference_profile", "infer_binding"} | AFTER_BINDING
AFTER_MODEL = AFTER_WINDOWS | {"variant_effects", "learned_motifs"}
AFTER_TRAINING = {"calibrate_model", "evaluate_model", "model_card", "merge_metrics"}
AFTER_TRAINING |= {"evaluate_depth", "merge_depths"}

RERUN = [  # key, new value, the rules that run again
    ("analysis.targets.top", 50, {"tf_targets"}),
    ("analysis.populations.min_stability", 0.5, {"find_populations", "abundance"}),
    ("analysis.links.min_potential", 0.2, {"tf_links", "cell_regulation"}),
    ("analysis.links.cell_links", 100, {"cell_regulation"}),
    ("analysis.peak_binding.min_binding", 0.2, {"peak_binding"}),
    ("analysis.motifs.n_sites", 150, {"motif_enrichment", "write_browser", "write_loci"}),
    ("evaluate.max_cells", 50, {"score_cells"}),
    (
        "evaluate.depth_windows",
        300,
        {"evaluate_depth", "evaluate_baselines", "merge_metrics", "merge_depths", "model_card"},
    ),
    ("infer.min_probability", 0.3, {"cell_type_tracks", "write_browser", "write_loci"}),
    ("infer.floor", 0.1, {"infer_binding"} | AFTER_BINDING),
    ("infer.background_draws", 20, {"reference_profile", "infer_binding"} | AFTER_BINDING),
    (
        "peaks.consensus_width",
        400,
        {"consensus_peaks", "annotate_peaks", "peak_matrix", "choose_windows", "site_genes", "chromvar"}
        | AFTER_WINDOWS,
    ),
    ("models.scfan.seed", 2, {"train_model", "score_cells"} | AFTER_TRAINING),
    (
        "infer.borrow_fragments",
        9000,
        {"find_lenders", "reference_profile", "infer_binding", "chromvar"} | AFTER_BINDING,
    ),
    ("motifs.windows", 500, {"find_motifs", "compare_motifs", "train_model"} | AFTER_TRAINING | AFTER_MODEL),
    ("models.scbind.workers", 2, set()),
    ("models.scbind.require_gpu", True, set()),
    ("models.scbind.epochs", 3, {"train_model"} | AFTER_TRAINING | AFTER_MODEL),
    ("dataset.min_mappability", 0.9, set()),  # there is no mappability that it could be held against
    (  # the matrices of the network start from them
        "motifs.aliases",
        {"SPI1": "CTCF"},
        {
            "prepare_motifs",
            "find_motifs",
            "compare_motifs",
            "evaluate_baselines",
            "motif_enrichment",
            "train_model",
        }
        | {"chromvar"}
        | AFTER_TRAINING
        | AFTER_MODEL,
    ),
]


def table(path):
    with open(path) as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_report_is_written(demo):
    page = (demo.folder / "results/report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert 'src="http' not in page and 'href="http' not in page.replace('href="https://doi.org', "")


CALIBRATION = (
    "ece mean_predicted windows_p10 predicted_p10 observed_p10 windows_p30 predicted_p30 observed_p30"
)


def test_metrics_have_their_columns_and_all_models(demo):
    rows = table(demo.folder / "results/evaluation/metrics.tsv")
    expected = "model cell_line tf evidence split n_windows n_bound prevalence auroc auprc auprc_se log2_gain"
    expected += f" recall_at_fdr10 recall_at_fdr50 {CALIBRATION}"
    assert list(rows[0]) == expected.split()
    models = {row["model"] for row in rows}
    assert models == {"scbind", "scfan", "oracle"} | set(BASELINES)


def test_chromosomes_and_a_cell_line_are_held_out(demo):
    kinds = {}
    for row in table(demo.folder / "results/evaluation/metrics.tsv"):
        if row["model"] in ("scbind", "scfan"):
            kinds.setdefault((row["model"], row["cell_line"]), set()).add(row["split"])
    for model in ("scbind", "scfan"):
        for line in ("LINE_A", "LINE_B"):
            assert kinds[model, line] == {"test", "chromosome", "scfan_protocol"}
        assert kinds[model, "LINE_C"] == {"test", "cell_line", "both", "scfan_protocol"}


def test_accuracy_against_depth_covers_every_model_and_the_oracle_bounds_them(demo):
    rows = table(demo.folder / "results/evaluation/depth.tsv")
    expected = f"model cell_line tf evidence keep depth n_windows n_bound prevalence auprc {CALIBRATION}"
    assert list(rows[0]) == expected.split()
    assert {row["model"] for row in rows} == {"scbind", "scfan"} | set(BASELINES)
    assert len({row["keep"] for row in rows}) == 6
    needed = table(demo.folder / "results/evaluation/fragments_needed.tsv")
    assert {row["model"] for row in needed} == {"scbind", "scfan"} | set(BASELINES) - set(CONTROLS)
    per_cell = table(demo.folder / "results/evaluation/cells.tsv")
    mean = {
        model: statistics.mean(float(r["auprc_mean"]) for r in per_cell if r["model"] == model)
        for model in ("oracle", "oracle_type", "scbind")
    }
    assert mean["oracle"] > mean["oracle_type"] > mean["scbind"]


def test_the_types_are_found_from_tf_activity(demo):
    found = {
        (r["quantity"], r["name"]): float(r["value"])
        for r in table(demo.folder / "results/evaluation/types.tsv")
    }
    assert found["ari", "cell_type"] > 0.9
    assert found["ari", "activity_leiden"] > 0.8  # 1 with this short training, as with the shipped settings
    assert found["rarest_recall", "cell_type"] > 0.9


def test_even_a_short_training_beats_accessibility(demo):
    rows = [
        r
        for r in table(demo.folder / "results/evaluation/metrics.tsv")
        if r["split"] == "test" and r["auprc"]
    ]
    mean = {
        model: statistics.mean(float(r["auprc"]) for r in rows if r["model"] == model)
        for model in {r["model"] for r in rows}
    }
    assert mean["scbind"] > 1.4 * mean["accessibility"]
    per_cell = table(demo.folder / "results/evaluation/cells.tsv")
    held_out = [r for r in per_cell if r["chromosomes"] != "all" and r["cells"] == "sample"]
    mean = {
        model: statistics.mean(float(r["auprc_mean"]) for r in held_out if r["model"] == model)
        for model in ("scbind", "accessibility")
    }
    assert mean["scbind"] > 1.4 * mean["accessibility"]


def test_every_log_has_its_job(demo):
    folders = {path.name for path in (demo.folder / "logs").iterdir()}
    assert {"train_model", "infer_binding", "write_report", "simulate_demo"} <= folders
    assert not list(demo.folder.glob("results/**/*.partial.*"))
    logs = {path: path.read_text() for path in demo.folder.glob("logs/*/*.log")}
    assert not [path for path, text in logs.items() if text.count("\n") < 2], (
        "says nothing but its environment"
    )
    assert not [
        path for path, text in logs.items() if "FutureWarning" in text or "DeprecationWarning" in text
    ]


def code_of(page: Path) -> str:
    """All Python blocks of a page, in their order."""
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```", page.read_text(), re.M | re.S)
    return "\n".join(textwrap.dedent(block) for _, block in blocks)


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_the_documents_runs_on_the_demo(demo, page):
    """As a user runs it, in the folder of the results; the set-up puts the package on the path."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-c", code_of(page)]
    reply = subprocess.run(command, cwd=demo.folder, env=environment, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr


def test_files_of_a_sample_have_one_order_of_cells(demo):
    names = {
        kind: anndata.read_h5ad(
            demo.folder / f"results/{kind}/demo{rest}.h5ad", backed="r"
        ).obs_names.tolist()
        for kind, rest in (("activity", ""), ("cells", "/peaks"))
    }
    store = open_binding(demo.folder / "results/binding/demo.zarr")
    assert names["activity"] == names["cells"] == store.obs.index.tolist()


def test_a_second_run_does_nothing(demo):
    assert "Nothing to be done" in demo.snakemake().stdout


def test_parts_that_are_not_kept_are_not_missed(demo):
    """Without them, nothing is predicted again, unless something needs them."""
    edited = ("--configfile", demo.edited("infer.keep_parts", False))
    listed = demo.snakemake("--delete-temp-output", "--dry-run", *edited).stdout
    parts = demo.folder / "results/binding/demo/shards"
    assert all(f"{parts.relative_to(demo.folder)}/{part.name}" in listed for part in parts.iterdir())
    aside = parts.rename(demo.folder / "aside")
    try:
        assert set(demo.jobs(*edited)) == ALWAYS
        assert {"infer_binding", "merge_shards"} <= demo.jobs(*edited, "--forcerun", "merge_shards").keys()
    finally:
        aside.rename(parts)


def test_the_recorded_settings_are_those_of_the_run(demo):
    copy = shutil.copy(demo.folder / "results/provenance/config.yaml", demo.folder / "recorded.yaml")
    assert "Nothing to be done" in demo.snakemake("--dry-run", "--configfile", copy).stdout


def test_results_of_an_earlier_configuration_are_named(demo):
    old = demo.folder / "results/models/old/metrics.tsv"
    run = ("--forcerun", "write_browser")
    assert "Not of this configuration" not in demo.snakemake(*run).stdout
    old.parent.mkdir()
    old.write_text("x")
    try:
        line = "Not of this configuration: results/models/old (1 file, 0.0 MB)."
        assert line in demo.snakemake(*run).stdout
        listed = demo.folder / "logs/leftovers.txt"
        assert listed.read_text() == "results/models/old\n"
        # a part of the jobs does not know what the others make
        part = demo.snakemake("--forcerun", "write_report", "--batch", "all=3/3").stdout
        assert (
            f"Report: {demo.folder / 'results/report.html'}" in part
            and "Not of this configuration" not in part
        )
        assert listed.read_text() == "results/models/old\n"
    finally:
        shutil.rmtree(old.parent)


@pytest.mark.parametrize("target", ["peaks", "train", "infer", "evaluate", "report"])
def test_targets_are_part_of_the_whole(demo, target):
    assert set(demo.jobs(target)) <= {target}


@pytest.mark.parametrize(("key", "value", "rules"), RERUN, ids=[row[0] for row in RERUN])
def test_a_changed_setting_reruns_exactly_what_depends_on_it(demo, key, value, rules):
    jobs = demo.jobs("--configfile", demo.edited(key, value))
    assert set(jobs) == rules | ALWAYS


def test_a_mappability_track_reruns_what_chooses_windows_and_what_follows(demo):
    (demo.folder / "map.bw").write_text("x")
    jobs = demo.jobs("--configfile", demo.edited("genome.mappability", "map.bw"))
    first = {"prepare_mappability", "build_dataset", "choose_windows", "find_motifs", "train_model"}
    first |= {"compare_motifs", "evaluate_baselines", "evaluate_oracle"}
    assert set(jobs) == first | AFTER_TRAINING | AFTER_MODEL | ALWAYS


def test_a_changed_clustering_renews_the_cell_types(demo):
    jobs = demo.jobs("--configfile", demo.edited("cells.resolution", 0.4))
    assert {"embed_cells", "sample_cells", "cell_types"} <= jobs.keys()
    assert not {"train_model", "count_fragments", "sample_peaks", "build_dataset"} & jobs.keys()


def test_threads_and_resources_rerun_nothing(demo):
    reply = demo.snakemake("--dry-run", "--resources", "gpu=0", "--set-threads", "train_model=1")
    assert "Nothing to be done" in reply.stdout


def test_snakemake_report(demo):
    demo.snakemake("--report", demo.folder / "snakemake_report.zip")
    with zipfile.ZipFile(demo.folder / "snakemake_report.zip") as report:
        names = {name.rpartition("/")[2] for name in report.namelist()}
    assert {"report.html", "metrics.tsv", "differential_tfs.tsv", "auprc.png"} <= names
