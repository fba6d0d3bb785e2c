"""Plans of the workflow, and refusals before any job."""

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from scbind.plan import settings

pytestmark = pytest.mark.workflow


def test_plan_of_the_demo(project):
    jobs = project.jobs()
    expected = {
        "simulate_demo": 1,
        "prepare_reference": 1,
        "bulk_track": 3,
        "bulk_peaks": 3,
        "train_model": 2,
    }
    expected |= {"calibrate_model": 2, "evaluate_model": 2, "infer_binding": 2, "tf_targets": 1}
    expected |= {
        "score_cells": 1,
        "score_types": 1,
        "write_report": 1,
        "cell_types": 1,
        "record_provenance": 1,
    }
    assert expected.items() <= jobs.items()
    assert "fetch_source" not in jobs and "bam_fragments" not in jobs


def test_both_entry_points_plan_the_same(project):
    assert project.jobs("-s", "workflow/Snakefile") == project.jobs() != {}


def test_the_simulation_declares_all_that_it_writes(project):
    path = project.edited(
        "demo", {"n_cells": 25, "chromosome_mb": [0.1, 0.1, 0.1, 0.1], "cell_fragments": 300}
    )
    options = ("--configfile", path, "--", "resources/demo/truth")
    text = project.snakemake("--dry-run", *options).stdout
    declared = set(re.search(r"rule simulate_demo:\s+output: (.*)", text)[1].split(", "))
    project.snakemake(*options)
    made = project.folder / "resources/demo"
    files = {str(path.relative_to(project.folder)) for path in made.rglob("*") if path.is_file()}
    assert {file for file in files if "/truth/" not in file} == declared - {"resources/demo/truth"}
    assert "resources/demo/truth" in declared


@pytest.mark.parametrize(
    ("target", "has", "lacks"),
    [
        ("peaks", {"consensus_peaks", "cell_types"}, {"train_model", "infer_binding", "build_dataset"}),
        ("train", {"train_model", "calibrate_model"}, {"count_fragments", "evaluate_model"}),
        (
            "infer",
            {"infer_binding", "merge_shards", "activity_matrix"},
            {"write_report", "evaluate_baselines"},
        ),
        ("evaluate", {"evaluate_baselines", "merge_metrics", "score_cells"}, {"write_report", "tf_targets"}),
        ("report", {"write_report", "record_provenance"}, set()),
    ],
)
def test_named_targets(project, target, has, lacks):
    jobs = project.jobs(target)
    assert has <= jobs.keys()
    assert not lacks & jobs.keys()


def test_shards_follow_set_scatter(project):
    assert project.jobs("infer", "--set-scatter", "cells=5")["infer_binding"] == 5


def test_activity_alone_leaves_out_what_needs_the_sites(project):
    path = project.edited("infer.store", "activity")
    jobs = project.jobs("--configfile", path)
    assert {"infer_binding", "activity_matrix", "score_types", "write_report"} <= jobs.keys()
    left = {"merge_shards", "cell_type_tracks", "tf_targets", "tf_links", "cell_regulation", "score_cells"}
    left |= {"motif_enrichment", "site_genes", "peak_binding"}
    assert not left & jobs.keys()
    assert not left & project.jobs("infer", "--configfile", path).keys()


def test_only_the_shard_that_is_missing_runs_again(project):
    """Of three shards one was killed: it has no output, and the other two are not run again."""
    targets = [f"results/binding/demo/shards/{i}-of-3.npz" for i in (1, 2, 3)]
    reference, cells = "results/reference/demo", "results/cells/demo"
    inputs = [f"{reference}/{name}" for name in ("chrom.sizes", "sequence.npy", "exclude.bed")]
    inputs += [f"{cells}/{name}" for name in ("position.npy", "cell.npy", "lenders.h5ad")]
    inputs += [
        f"results/binding/{name}" for name in ("readout.npy", "readout.json", "windows.npz", "reference.npz")
    ]
    inputs += [f"results/models/scbind/{name}" for name in ("model.safetensors", "calibration.json")]
    for number, name in enumerate([*inputs, targets[0], targets[2]]):
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    options = ("--set-scatter", "cells=3", "--rerun-triggers", "mtime", "--allowed-rules", "infer_binding")
    assert project.jobs(*options, "--", *targets) == {"infer_binding": 1}


TYPES = """cell_type,slug,status,merged_into,reason,n_cells,n_fragments,samples
B cell,B_cell,own,,,90,900000,a+b
T cell,T_cell,sample_peaks,,30 cells are few,30,30000,b
NK,NK,merged,B cell,9 cells are few,9,900,a
dust,dust,skipped,,no fragments,1,0,a
"""
PSEUDOBULKS = """pseudobulk,cell_type,replicate,samples,n_cells,n_fragments,large
B_cell,B cell,,a+b,99,900900,yes
B_cell/replicates/a,B cell,a,a,50,400000,yes
B_cell/replicates/b,B cell,b,b,49,500900,yes
T_cell,T cell,,b,30,30000,no
"""


def lay(project, texts, size=None):
    """Write files, each later than the one before; with ``size`` (bytes, not taken on disk) the empty ones."""
    for number, (name, text) in enumerate(texts.items()):
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if size and not text:
            path.write_text(name)  # no two files are alike
            os.truncate(path, size)
        os.utime(path, (1_000_000 + number, 1_000_000 + number))


def after_the_checkpoint(project, size=None):
    """Lay the files of a run of two samples up to the tables of cell types; options for a plan of the rest."""
    reference = [f"results/reference/demo/{name}" for name in ("chrom.sizes", "exclude.bed")]
    made = ("position.npy", "cell.npy", "barcodes.tsv", "peaks.narrowPeak", "profile.tsv")
    names = [*reference, *(f"data/{sample}.tsv.gz" for sample in "ab")]
    names += [f"results/cells/{sample}/{name}" for sample in "ab" for name in made]
    names = [
        "resources/demo/genes.bed",
        *names,
        "results/embedding/cells.h5ad",
        *(f"results/cells/{sample}/embedding.h5ad" for sample in "ab"),
    ]
    tables = {"results/cells/cell_types.tsv": TYPES, "results/cells/pseudobulks.tsv": PSEUDOBULKS}
    tables = {name: text.replace(",", "\t").replace("+", ",") for name, text in tables.items()}
    lay(project, dict.fromkeys(names, "") | tables, size)
    (project.folder / "config/samples.tsv").write_text(
        "sample\tpath\tformat\tgroup\n" + "".join(f"{s}\tdata/{s}.tsv.gz\tfragments\tcells\n" for s in "ab")
    )
    path = project.edited("evaluate.truth", None)
    return "--configfile", path, "--rerun-triggers", "mtime"


def test_pseudobulks_are_planned_by_what_became_of_the_types(project):
    text = project.snakemake("--dry-run", *after_the_checkpoint(project), "--", "peaks").stdout
    assert Counter(re.findall(r"^(?:local)?rule (\w+):", text, re.M)) == {
        "peaks": 1,
        "annotate_peaks": 1,
        "split_sample": 2,
        "merge_pieces": 2,
        "pseudobulk_coverage": 2,
        "call_peaks": 1,
        "type_replicates": 1,
        "pseudobulk_peaks": 2,
        "consensus_peaks": 1,
        "peak_matrix": 2,
        "embed_umap": 1,
        "describe_cells": 2,
    }
    assert re.findall(r"output: results/pseudobulk/(\S+)/called.narrowPeak", text) == ["B_cell"]
    assert re.findall(r"output: results/pseudobulk/(\S+)/replicates", text) == ["B_cell"]


def test_what_streams_its_input_asks_for_no_more_memory_where_it_is_large(project):
    options = after_the_checkpoint(project, 100 << 30)
    for sample in "ab":  # about a million barcodes each: the eigenvectors take 9 kB per cell
        os.truncate(project.folder / f"results/cells/{sample}/barcodes.tsv", 64 << 20)
    rerun = ("count_fragments", "sample_peaks", "embed_cells")
    text = project.snakemake("--dry-run", *options, "--forcerun", *rerun, "--", "peaks").stdout
    asked = {
        rule: int(re.search(rf"^(?:local)?rule {rule}:.*?mem_mb=(\d+)", text, re.M | re.S)[1])
        for rule in rerun
    }
    assert 2 * 9_000 < asked.pop("embed_cells") < 150_000 and max(asked.values()) == 4000


def test_a_given_model_has_no_bundle_to_make_and_the_run_says_so(project):
    as_shipped(project)
    lay(project, {"path/to/fragments.tsv.gz": ""})
    reply = project.snakemake("--dry-run", "bundle", check=False)
    assert reply.returncode != 0
    assert "ERROR config/config.yaml: no model is trained here, so there is no bundle to make" in reply.stdout


EXAMPLES = {
    "one-line-one-sample": {"bulk_track": 1, "count_fragments": 1, "embed_cells": 1, "train_model": 1},
    "two-conditions": {"bulk_track": 2, "count_fragments": 6, "embed_cells": 1, "infer_binding": 12},
    "given-labels": {"bulk_track": 2, "count_fragments": 2, "embed_cells": 1, "infer_binding": 4},
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_plan(project, name):
    files = set()
    for path in (project.folder / "config/examples" / name).iterdir():
        files |= set(re.findall(r"{data}/([\w.-]+)", path.read_text()))
    lay(project, {f"mine/{file}": "" for file in files})
    options = ("--configfile", f"config/examples/{name}/config.yaml", "--config", "data=mine")
    text = project.snakemake("--dry-run", *options).stdout
    jobs = Counter(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", text, re.M))
    assert EXAMPLES[name].items() <= jobs.items() and {"tf_targets", "write_report"} <= jobs.keys()
    assert not {"simulate_demo", "fetch_source", "evaluate_oracle", "prepare_mappability"} & jobs.keys()
    used = set(re.findall(r"mine/([\w.-]+)", text))
    assert used == files
    labels = re.search(r"rule embed_cells:\s+input: (.*)", text)[1].count("mine/cell_types.tsv")
    assert labels == (2 if name == "given-labels" else 0)


PANELS = {"small": (456, 295, 3), "full": (1118, 716, 11)}


@pytest.mark.parametrize("panel", PANELS)
def test_the_human_training_set_plans_without_a_file_at_hand(project, panel):
    assays, tfs, lines = PANELS[panel]
    options = ("--configfile", "config/examples/hg38/config.yaml", "--config", f"panel={panel}")
    text = project.snakemake("--dry-run", *options).stdout
    said = f"panel {panel}: {assays:,} ChIP-seq files of {tfs} TFs in {lines} of 11 cell lines"
    assert said in text and text.count("panel ") < 5, "once, not in every job"
    jobs = Counter(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", text, re.M))
    assert jobs["bulk_track"] == lines and jobs["match_published"] == jobs["train_model"] == 1
    fetched = set(re.findall(r"output: resources/(\S+)", text))
    assert sum(name.startswith("chip.") for name in fetched) == assays
    others = [name for name in fetched if not name.startswith(("chip.", "atac."))]
    assert len(others) == 5, "genome, exclusion list, genes, fragments and labels"
    assert not any("Umap" in name for name in fetched), "mappability is not in the configuration"


def test_the_mouse_plans_with_tracks_of_ones_own_and_with_a_given_model(project):
    files = set()
    for path in (project.folder / "config/examples/mm10").iterdir():
        files |= set(re.findall(r"{data}/([\w.-]+)", path.read_text()))
    lay(project, {f"mine/{file}": "" for file in files})
    (project.folder / "resources/models").mkdir(parents=True)
    shutil.copy(project.root / "resources/models/starter.scbind.zip", project.folder / "resources/models")
    own = project.jobs("--configfile", "config/examples/mm10/config.yaml", "--config", "data=mine")
    assert {"bulk_track": 2, "build_dataset": 1, "train_model": 1}.items() <= own.items()
    given = project.jobs("--configfile", "config/examples/mm10/apply.yaml", "--config", "data=mine")
    assert "infer_binding" in given and not {"build_dataset", "train_model"} & given.keys()


def as_shipped(project) -> None:
    """Give the project the settings and sheets of a fresh clone, and the model that comes with it."""
    shutil.copytree(project.root / "config", project.folder / "config", dirs_exist_ok=True)
    (project.folder / "resources/models").mkdir(parents=True)
    shutil.copy(project.root / "resources/models/starter.scbind.zip", project.folder / "resources/models")


def test_a_fresh_clone_asks_for_the_fragments_in_one_line(project):
    as_shipped(project)
    reply = project.snakemake("--dry-run", check=False)
    assert reply.returncode != 0 and "Traceback" not in reply.stdout
    assert (
        "ERROR config/samples.tsv, line 2, column path: no such file: path/to/fragments.tsv.gz; write the path of your "
        "file in its place (for the demo on simulated data: make demo)" in reply.stdout
    )


def test_the_shipped_configuration_is_the_one_in_the_readme_and_keeps_the_defaults():
    root = Path(__file__).parents[2]
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", (root / "README.md").read_text(), re.S)[1])
    shipped = yaml.safe_load((root / "config/config.yaml").read_text())
    assert shown == shipped
    of_assay = settings.ASSAYS["10x_atac"]
    assert of_assay.items() <= settings.check_config(shipped)["cells"].items()
    chosen = {"assay", *of_assay}
    rest = {key: value for key, value in settings.check_config(shipped)["cells"].items() if key not in chosen}
    plain = {"genome": shipped["genome"], "sheets": shipped["sheets"], "models": shipped["models"]}
    assert rest.items() <= settings.check_config(plain)["cells"].items()


def test_a_trained_model_is_applied_without_cell_lines(project):
    as_shipped(project)
    sheet = project.folder / "config/samples.tsv"
    lay(project, {"mine/fragments.tsv.gz": ""})
    sheet.write_text(sheet.read_text().replace("path/to/", "mine/"))
    jobs = project.jobs()
    assert {
        "unpack_bundle": 1,
        "infer_binding": 2,
        "activity_matrix": 1,
        "tf_targets": 1,
        "write_report": 1,
        "fetch_source": 3,
    }.items() <= jobs.items()
    of_lines = {
        "bulk_track",
        "bulk_peaks",
        "build_dataset",
        "train_model",
        "evaluate_model",
        "prepare_motifs",
    }
    assert not of_lines & jobs.keys()
    assert (
        not {"evaluate_baselines", "merge_metrics", "merge_depths", "make_bundle", "model_card"} & jobs.keys()
    )


def test_examples_are_all_planned(project):
    assert {path.name for path in (project.folder / "config/examples").iterdir()} == {
        *EXAMPLES,
        "hg38",
        "mm10",
        "pbmc",
    }


def test_the_example_of_blood_cells_downloads_all_and_trains_nothing(project):
    as_shipped(project)
    jobs = project.jobs("--configfile", "config/examples/pbmc/config.yaml")
    # sequence, exclusion list, genes, fragments, cell types
    assert jobs["fetch_source"] == 5 and jobs["unpack_bundle"] == 1
    assert not {"train_model", "bulk_track"} & jobs.keys()


def test_rna_adds_its_rules(project):
    assert not {"sample_rna", "tf_expression"} & project.jobs().keys()
    lay(project, {"mine.h5ad": "", "rna.tsv": ""})
    path = project.folder / "rna.tsv"
    row = "demo\tresources/demo/sc/demo.fragments.tsv.gz\tfragments\tmine.h5ad"
    path.write_text(f"sample\tpath\tformat\trna\n{row}\n")
    jobs = project.jobs("--configfile", project.edited("sheets.samples", "rna.tsv"))
    assert jobs["sample_rna"] == jobs["tf_expression"] == jobs["site_genes"] == 1


def test_absent_inputs_switch_features_off(project):
    first = project.edited("evaluate.truth", None)
    assert not {"score_cells", "score_types"} & project.jobs("--configfile", first).keys()
    second = project.edited("genome.genes", None)
    jobs = project.jobs("--configfile", second)
    assert not {"tf_targets", "tf_links", "site_genes"} & jobs.keys() and "score_cells" in jobs
    assert "prepare_mappability" not in jobs


def test_a_mappability_track_adds_its_rule(project):
    (project.folder / "data").mkdir()
    (project.folder / "data/map.bw").write_text("x")
    path = project.edited("genome.mappability", "{data}/map.bw")
    jobs = project.jobs("--configfile", path, "--config", "data=data")
    assert jobs["prepare_mappability"] == 1
    assert "prepare_mappability" not in project.jobs("peaks", "--configfile", path, "--config", "data=data")


def test_variants_and_questions_add_their_rules(project):
    own = {"variant_effects", "explain_loci", "draw_explained"}
    assert own & project.jobs().keys() == {"variant_effects"}
    assert not own & project.jobs("--configfile", project.edited("variants.path", None)).keys()
    question = {"locus": "chr1:1000-1200", "tf": "SPI1", "cell_type": "b_cell"}
    jobs = project.jobs("--configfile", project.edited("explain", [question, question]))
    assert own <= jobs.keys()


def test_only_the_models_of_the_config_given(project):
    path = project.edited("models", {"one": {"epochs": 1}})
    path.write_text(path.read_text().replace("model: scbind", "model: one"))
    assert project.jobs("--configfile", path)["train_model"] == 1


def test_the_full_demo_differs_in_the_sample_of_test_windows_alone(project):
    config, full = (project.folder / "config/demo" / name for name in ("config.yaml", "full.yaml"))
    shipped = yaml.safe_load(config.read_text())["models"]["scfan"]
    assert yaml.safe_load(full.read_text()) == {"models": {"scfan": {"test_windows": None}}}
    assert shipped["test_windows"] > 0
    assert (
        project.jobs("--configfile", config, full) == project.jobs("--configfile", config) == project.jobs()
    )


def test_bam_and_downloads_add_their_rules(project):
    (project.folder / "cells.bam").write_text("x")
    samples = project.folder / "config/samples.tsv"
    samples.write_text(
        "sample\tpath\tformat\tbarcodes\na\tcells.bam\tbam\tsource:list.txt\nb\thttps://x.org/f.tsv.gz\tfragments\t\n"
    )
    (project.folder / "config/sources.tsv").write_text("name\turl\nlist.txt\thttps://x.org/list.txt\n")
    jobs = project.jobs("--configfile", project.edited("evaluate.truth", None))
    assert (jobs["bam_fragments"], jobs["fetch_source"], jobs["embed_cells"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "models.scbind.learnig_rate",
            0.1,
            "key models.scbind.learnig_rate: unknown key; did you mean learning_rate?",
        ),
        ("genome.fasta", "gone.fa", "key genome.fasta: no such file: gone.fa; correct the path"),
        ("variants.path", "gone.vcf", "key variants.path: no such file: gone.vcf; correct the path"),
        (
            "explain",
            [{"locus": "chr1", "tf": "A", "cell_type": "b"}],
            "key explain[0].locus: 'chr1' has a wrong form;",
        ),
        ("genome.fasta", "{data}/g.fa", "key genome.fasta: {data}/g.fa needs the data folder; set data:"),
    ],
)
def test_a_bad_config_is_one_line(project, key, value, message):
    path = project.edited(key, value)
    reply = project.snakemake("--dry-run", "--configfile", path, check=False)
    assert reply.returncode != 0
    assert [line.strip() for line in reply.stdout.splitlines() if "ERROR" in line] == [
        f"ERROR {path}, {message}" + reply.stdout.split(message)[1].split("\n")[0]
    ]
    assert "Traceback" not in reply.stdout


def test_a_bad_sheet_is_one_line(project):
    chip = project.folder / "config/chip.tsv"
    chip.write_text(chip.read_text() + chip.read_text().splitlines()[-1] + "\n")
    reply = project.snakemake("--dry-run", check=False)
    assert reply.returncode != 0 and "Traceback" not in reply.stdout
    message = "ERROR config/chip.tsv, line 30: experiment of TCF7 in LINE_C has the same file as"
    assert message in reply.stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("results/activity/dmo.h5ad", "no sample 'dmo'; did you mean demo?"),
        ("results/cells/zzz/barcodes.tsv", "no sample 'zzz'; use one of: demo"),
        ("results/embedding/cels.h5ad", "no group 'cels'; did you mean cells?"),
    ],
)
def test_a_target_of_an_unknown_sample_is_refused_in_one_line(project, target, message):
    reply = project.snakemake("--dry-run", target, check=False)
    assert reply.returncode != 0
    said = [line.strip() for line in reply.stdout.splitlines() if "ERROR" in line]
    assert said == [f"ERROR config/samples.tsv: {message}"]


def test_a_misspelled_target_fails(project):
    reply = project.snakemake("--dry-run", "results/activty/demo.h5ad", check=False)
    assert reply.returncode != 0 and "MissingRuleException" in reply.stdout


def test_patterns_of_paths_do_not_grow_with_the_number_of_samples(project):
    """Snakemake puts the pattern of a wildcard into each path, so a list of all names made planning slow."""
    lines = ["sample\tpath\tformat\tgroup"]
    for number in range(40):
        path = project.folder / f"data/{number}.tsv.gz"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        lines.append(f"sample{number}\tdata/{path.name}\tfragments\tgroup{number}")
    (project.folder / "config/samples.tsv").write_text("\n".join(lines) + "\n")
    show = "longest = max((str(path) for rule in workflow.rules for path in rule.output), key=len)\n"
    path = project.folder / "shown.smk"
    include = f'include: "{project.root}/Snakefile"\n'
    path.write_text(f'{include}{show}print("LONGEST", longest)\nworkflow.default_target = "all"\n')
    config = project.edited("evaluate.truth", None)
    text = project.snakemake("--dry-run", "-s", path, "--configfile", config).stdout
    assert "sample39" not in re.search(r"LONGEST (.*)", text)[1]


def test_an_edit_of_code_plans_the_rules_that_run_it(project):
    package, target = project.copy_workflow(), "results/motifs/motifs.npz"
    project.snakemake(target)  # for Snakemake to know with what code it was made

    def plan_after(module, old, new):
        path = package / module
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return project.jobs(target)

    assert plan_after("bulk/shift.py", "\n\n\ndef ", "\n\nEDITED = 1\n\n\ndef ") == {}
    assert plan_after("formats/motifs.py", '"""Motif matrices', '"""The motif matrices') == {}
    assert plan_after("formats/motifs.py", "PSEUDOCOUNT = 0.8", "PSEUDOCOUNT = 0.9") == {"prepare_motifs": 1}


def test_a_model_with_motif_tfs_is_trained_and_then_extended(project):
    models = {"scbind": {"motif_tfs": "all"}}
    jobs = project.jobs("--configfile", project.edited("models", models), "--", "train")
    assert jobs["choose_motif_tfs"] == jobs["train_shared_model"] == jobs["add_motif_tfs"] == 1


def lay_outputs(project, text):
    """Make the outputs of planned jobs, empty."""
    for output in re.findall(r"^    output: (.*)$", text, re.M):
        for name in (each.split(" (")[0] for each in output.split(", ")):
            if name in ("results/dataset", "resources/demo/truth"):
                (project.folder / name).mkdir(parents=True)
            else:
                lay(project, {name: ""})


def test_names_are_checked_before_the_training_and_others_need_no_new_one(project):
    target = "--", "results/models/scbind/model.safetensors"

    def asked(*tfs):
        return "--configfile", project.edited("models", {"scbind": {"motif_tfs": list(tfs)}}), *target

    text = project.snakemake("--dry-run", *asked("HNF4A")).stdout
    trained = text.partition("rule train_shared_model:")[2].partition("output:")[0]
    assert "results/models/scbind/motif_tfs.npz" in trained
    lay_outputs(project, text)
    project.snakemake("--touch", "--forceall", *asked("HNF4A"))
    assert project.jobs(*asked("HNF4A")) == {}
    assert project.jobs(*asked("HNF4A", "FOS")) == {"choose_motif_tfs": 1, "add_motif_tfs": 1}
    reply = project.snakemake(*asked("HNF4AA")[:2], "--", "results/models/scbind/motif_tfs.npz", check=False)
    log = (project.folder / "logs/choose_motif_tfs/scbind.log").read_text()
    assert reply.returncode and "HNF4AA has no matrix in JASPAR2024, vertebrates; correct its symbol" in log


def test_a_model_can_be_trained_so_that_tfs_are_added_later(project):
    models = {"scbind": {"options": {"strangers": 0.25}}}
    jobs = project.jobs("--configfile", project.edited("models", models), "--", "train")
    assert jobs["choose_motif_tfs"] == jobs["train_shared_model"] == jobs["add_motif_tfs"] == 1


def test_a_model_that_extends_a_bundle_is_trained_again_if_the_bundle_changes(project):
    """Also if the new file is older. The dataset reads it, too: windows that it saw are not held out."""
    bundle = project.folder / "base.scbind.zip"
    shutil.copy(project.root / "resources/models/starter.scbind.zip", bundle)

    def asked(**model):
        return "--configfile", project.edited("models", {"scbind": model}), "--", "train"

    target = asked(extends=str(bundle))
    text = project.snakemake("--dry-run", *target).stdout
    for rule in ("build_dataset", "train_shared_model"):
        (inputs,) = re.findall(rf"rule {rule}:\n +input: (.*)", text)
        assert str(bundle) in inputs
    assert "rule add_motif_tfs:" in text and "rule train_model:" not in text
    lay_outputs(project, text)
    project.snakemake("--touch", "--forceall", *target)
    assert project.jobs(*target) == {}
    jobs = project.jobs(*asked(options={"strangers": 0.25}))
    assert {"build_dataset", "train_shared_model"} <= jobs.keys()
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-1])
    asked(extends=str(bundle))
    assert "not a bundle, or cut off" in project.snakemake("--dry-run", *target, check=False).stdout
    middle = len(whole) // 2  # in the weights, which the plan needs for nothing else
    bundle.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refused = project.snakemake("--dry-run", *target, check=False).stdout
    assert f"ERROR {bundle}, model.safetensors: " in refused and "get the bundle again" in refused


def test_tfs_are_added_to_a_given_model_as_it_is_unpacked(project):
    given = {"bundle": str(project.root / "resources/models/starter.scbind.zip")}
    target = "results/models/starter/model.safetensors"
    project.edited("models", {"scbind": {}, "starter": given | {"motif_tfs": ["GATA1", "TCF7"]}})
    jobs = project.jobs("--configfile", project.folder / "edited.yaml", "--", target)
    assert jobs["unpack_bundle"] == 1 and "add_motif_tfs" not in jobs
    project.edited("models", {"scbind": {}, "starter": given | {"motif_tfs": ["GATA1", "gata1"]}})
    reply = project.snakemake(
        "--dry-run", "--configfile", project.folder / "edited.yaml", "--", target, check=False
    )
    assert "gata1 is listed twice" in reply.stdout


def test_baselines_read_the_facts_of_given_models_if_none_is_trained(project):
    """They then have the kinds of holdout of the given model."""
    given = {"bundle": str(project.root / "resources/models/starter.scbind.zip")}
    config = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    for models, reads in (({"m": given}, True), ({"scbind": {}, "m": given}, False)):
        changed = config | {"models": models, "infer": config["infer"] | {"model": "m"}}
        (project.folder / "edited.yaml").write_text(yaml.safe_dump(changed))
        tables = [f"results/evaluation/{name}.tsv" for name in ("baselines", "oracle")]
        plan = project.snakemake(
            "--dry-run", "--configfile", project.folder / "edited.yaml", "--", *tables
        ).stdout
        for rule in ("evaluate_baselines", "evaluate_oracle"):
            (inputs,) = re.findall(rf"rule {rule}:\n +input: (.*)", plan)
            assert ("results/models/m/bundle.json" in inputs) == reads


def test_a_file_of_matrices_adds_tfs_to_a_given_model(project):
    """The job itself: a rule may pass its script a list where it expects a path."""
    rows = "A [ 90 1 1 1 90 1 ]\nC [ 1 90 1 1 1 1 ]\nG [ 1 1 90 1 1 90 ]\nT [ 1 1 1 90 1 1 ]\n"
    (project.folder / "mine.jaspar").write_text(
        "".join(f">M{n} {name}\n{rows}" for n, name in enumerate(("CTCF", "NOWHERE")))
    )
    bundle = project.root / "resources/models/starter.scbind.zip"
    path = project.folder / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["models"] = {"starter": {"bundle": str(bundle), "motif_tfs": ["NOWHERE"]}}
    config["infer"]["model"] = "starter"
    config["motifs"] |= {"path": "mine.jaspar", "release": None}
    path.write_text(yaml.safe_dump(config))
    project.snakemake("results/models/starter/model.safetensors")
    assert b"NOWHERE" in (project.folder / "results/models/starter/model.safetensors").read_bytes()


def test_each_analysis_has_its_own_folder_as_documented(tmp_path, project):
    """The commands of the documents, as they stand; the last of the run only lists the jobs."""
    for name in ("workflow", "envs", "profiles", "resources/models"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copytree(project.root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(project.root / "config", tmp_path / "config")
    shutil.copy(project.root / "Snakefile", tmp_path)
    (tmp_path / "f.tsv.gz").write_bytes(b"x")
    samples = f"sample\tpath\tformat\ns1\t{tmp_path}/f.tsv.gz\tfragments\n"
    (tmp_path / "config/samples.tsv").write_text(samples)
    (tmp_path / "config/mine").mkdir()
    shutil.copy(tmp_path / "config/config.yaml", tmp_path / "config/mine")
    text = (project.root / "docs/how-to/your-data.md").read_text().partition("## Several analyses")[2]
    commands = re.findall(r"^    (.*)$", text, re.M)
    assert [line.split()[0] for line in commands] == ["mkdir", "cp", "ln", "snakemake", "snakemake"]
    environment = project.call()["env"]
    for line in commands:
        dry = line.replace("snakemake ", "snakemake --dry-run ")
        reply = subprocess.run(dry, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert reply.returncode == 0, reply.stdout + reply.stderr
        assert "snakemake" not in line or re.search(r"^unpack_bundle +1$", reply.stdout + reply.stderr, re.M)
    assert not (tmp_path / "results").exists() and (tmp_path / "my_analysis/.snakemake").exists()


PLUGIN = """
from snakemake_interface_storage_plugins.storage_object import StorageObjectRead, StorageObjectWrite
from snakemake_interface_storage_plugins.storage_provider import StorageProviderBase


class StorageProvider(StorageProviderBase):
    pass


class StorageObject(StorageObjectRead, StorageObjectWrite):
    pass


for each in StorageProvider, StorageObject:
    each.__abstractmethods__ = frozenset()  # none of them is called
"""


def test_storage_plugins_are_refused_in_one_line(project):
    (project.folder / "snakemake_storage_plugin_bucket").mkdir()
    (project.folder / "snakemake_storage_plugin_bucket/__init__.py").write_text(PLUGIN)
    call = project.call("-n", "--default-storage-provider", "bucket", "--default-storage-prefix", "b")
    call["env"] |= {"PYTHONPATH": str(project.folder)}
    reply = subprocess.run(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = [line for line in reply.stdout.splitlines() if "ERROR" in line]
    assert reply.returncode == 1 and "Traceback" not in reply.stdout
    assert len(said) == 1 and "scbind does not work with storage plugins; leave the option out" in said[0]
