"""The table of reruns: for each key of the schema and each column of the sheets, exactly the rules that run again.

``reruns.tsv`` was generated and reviewed. To write it again after a change of the workflow, and then to review it:

    SCBIND_WRITE_RERUNS=1 pytest -q -m reruns

Nothing is computed: all files of a run are empty, and Snakemake is told that they were made now (``--touch``). So the
table shows what a dry run plans. Behind the list of cell types, fewer jobs may run in the end: if the list is the same,
Snakemake stops there.
"""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import anndata
import pandas as pd
import pytest
import yaml
from scbind.formats.bundlefile import read_bundle, write_bundle
from scbind.plan import settings

pytestmark = [pytest.mark.workflow, pytest.mark.demo, pytest.mark.reruns]

TABLE = Path(__file__).with_name("reruns.tsv")
WRITE = bool(os.environ.get("SCBIND_WRITE_RERUNS"))
FOLDERS = re.compile(r"^results/dataset|/truth|/figures|\.zarr|/tracks|/pieces$")
TYPES = """cell_type\tslug\tn_cells\tn_fragments\tsamples\tstatus\tmerged_into\treason
B\tB\t90\t900000\tdemo\town\t\t
T\tT\t90\t900000\tdemo\town\t\t
"""
BULKS = """pseudobulk\tcell_type\treplicate\tsamples\tn_cells\tn_fragments\tlarge
B\tB\t\tdemo\t90\t900000\tyes
T\tT\t\tdemo\t90\t900000\tyes
"""
TEXTS = {"results/cells/cell_types.tsv": TYPES, "results/cells/pseudobulks.tsv": BULKS}
# What no rule depends on alone: the record of settings changes with any of them, and the report shows it.
ALWAYS = {"all", "record_provenance", "write_report"}
LEFT_OUT = {
    "data",  # a prefix of paths
    "panel",  # rows of the sheets, below
    "demo.chromosome_mb",  # another genome
    "genome.fasta",  # files of the user: tests of files that were replaced
    "genome.chrom_sizes",
    "genome.mappability",
    "evaluate.truth",
    "evaluate.cohort_truth",  # of the cohort, which the demo lacks
    "evaluate.left_out_tfs",  # only with models.<name>.motif_tfs
    "evaluate.published",  # cell lines that the demo lacks
    "evaluate.sample",
    "infer.model",
    "models.<name>.bundle",
    "models.<name>.extends",  # a bundle, as the key before
    "models.<name>.options.l1",  # of scfan
    "models.<name>.options.l2",
}
VALUES = {
    "genome.name": "other",
    "genome.species": "mouse",
    "genome.exclude": None,
    "genome.genes": None,
    "motifs.release": "JASPAR2022",
    "motifs.path": "config/README.md",
    "motifs.aliases": {"SPI1": "CTCF"},
    "dataset.window": 100,
    "dataset.step": 100,
    "dataset.context": 1200,
    "dataset.experiments": "all",
    "splits.test": ["*:chr4"],
    "splits.valid": ["LINE_A:chr3"],
    "splits.train": ["LINE_A:chr1"],
    "peaks.promoter": [1000, 100],
    "cells.neighbour_chromosomes": ["chr1", "chr2"],
    "cells.barcode_tag": "XB",
    "evaluate.depths": [1.0, 0.1],
    "models.<name>.licence": "MIT",
    "models.<name>.motif_tfs": ["HNF4A"],
    "analysis.populations.resolutions": [0.5, 2.0],
    "models.<name>.precision": "32-true",
    "models.<name>.options.reach": 800,
    "models.<name>.test_windows": 500,
    "models.<name>.depth_windows": 500,
    "infer.max_error": 0.1,
    "evaluate.test_windows": 500,
    "variants.path": "config/README.md",
    "explain": [{"locus": "chr1:1000-1200", "tf": "SPI1", "cell_type": "B"}],
}


# Sections that one rule gets as a whole: all keys are changed at once.
TOGETHER = (
    "models.scbind.options",
    "models.scbind.sampling",
    "analysis.populations",
    "analysis.sites",
    "analysis.targets",
    "analysis.motifs",
    "demo",
    "variants",
)


def key_cases():
    """Name of a change -> keys of the configuration and their other values."""
    config = yaml.safe_load((settings.SCHEMA.parents[2] / "config/demo/config.yaml").read_text())
    cases = {}
    for key, leaf in settings.list_keys():
        if key in LEFT_OUT or key.startswith(("sheets.", "panels.")):
            continue
        name = key.replace("<name>", "scbind")
        part = config
        for step in name.split("."):
            part = part.get(step) if isinstance(part, dict) else None
        value = VALUES[key] if key in VALUES else another(part, leaf)
        section = next((section for section in TOGETHER if name.startswith(f"{section}.")), None)
        change = f"{section}: every key" if section else f"{name} = {json.dumps(value)}"
        cases.setdefault(change, {})[name] = value
    return cases


def another(now, leaf):
    """A value of a key that differs from what it is now."""
    now = leaf.get("default") if now is None else now
    if "enum" in leaf:
        return next(value for value in leaf["enum"] if value != now)
    if isinstance(now, bool):
        return not now
    if isinstance(now, int):
        return now + 1
    if isinstance(now, float):
        return round(now * 0.9, 6)
    kinds = leaf.get("type", [])
    return next(
        (value for kind, value in (("boolean", True), ("integer", 3), ("number", 0.5)) if kind in kinds), "x"
    )


SHEETS = {  # sheet and what is done to it -> (file, edit of its rows)
    "chip: rows in another order": ("chip", lambda rows: rows.reverse()),
    "tracks: rows in another order": ("tracks", lambda rows: rows.reverse()),
    "chip: source": ("chip", lambda rows: rows[0].update(source="new")),
    "chip: a row less": ("chip", lambda rows: rows.pop()),
    "tracks: a note": ("tracks", lambda rows: rows[0].update(note="new")),
    "chip: no relaxed peaks": ("chip", lambda rows: rows[0].update(relaxed="")),
    "chip: another TF": ("chip", lambda rows: rows[0].update(tf="MYC")),
    "tracks: path": ("tracks", lambda rows: rows[0].update(path="config/README.md", format="fragments")),
    "tracks: region": ("tracks", lambda rows: rows[0].update(region="chr1:0-100000")),
    "samples: donor": ("samples", lambda rows: rows[0].update(donor="d1")),
    "samples: condition": ("samples", lambda rows: rows[0].update(condition="c1")),
    "samples: path": ("samples", lambda rows: rows[0].update(path="config/README.md", format="fragments")),
    "samples: binding": ("samples", lambda rows: rows[0].update(binding="no")),
    "samples: barcodes": ("samples", lambda rows: rows[0].update(barcodes="config/README.md")),
    "samples: labels": ("samples", lambda rows: rows[0].update(labels="config/README.md")),
    "samples: rna": ("samples", lambda rows: rows[0].update(rna="config/README.md")),
    "samples: group": ("samples", lambda rows: rows[0].update(group="other")),
    "samples: a note": ("samples", lambda rows: rows[0].update(note="new")),
}
OPTIONS = {
    "--set-scatter cells=3": ["--set-scatter", "cells=3"],
    "--resources gpu=0": ["--resources", "gpu=0"],
    "--set-threads train_model=1": ["--set-threads", "train_model=1"],
    "--set-resources train_model:mem_mb=1": ["--set-resources", "train_model:mem_mb=1"],
}


def lay(project, text):
    """Make the outputs of planned jobs, empty."""
    for output in re.findall(r"^    output: (.*)$", text, re.M):
        for name in output.split(", "):
            path = project.folder / name.split(" (")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            if FOLDERS.search(name):
                path.mkdir(exist_ok=True)
            elif not path.exists():
                path.write_text(TEXTS.get(name, name))


@pytest.fixture(scope="module")
def laid(tmp_path_factory, new_project):
    """A run of the demo that is complete in the eyes of Snakemake."""
    project = new_project(tmp_path_factory.mktemp("reruns"))
    for _ in range(2):  # up to the cell types, and behind them
        lay(project, project.snakemake("--dry-run").stdout)
        project.snakemake("--touch", "--forceall")
    assert project.jobs() == {}
    shutil.copytree(project.folder / "config", project.folder / "kept")
    return project


def expected():
    with open(TABLE, newline="") as handle:
        return {row["change"]: row["rules"].split() for row in csv.DictReader(handle, delimiter="\t")}


def edit_sheet(project, name, edit):
    with open(project.folder / f"kept/{name}.tsv", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    edit(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with open(project.folder / f"config/{name}.tsv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


CASES = {**key_cases(), **SHEETS, **OPTIONS}
FOUND = {}


@pytest.mark.parametrize("change", CASES if WRITE else expected())
def test_a_change_reruns_exactly_what_depends_on_it(laid, change):
    arguments = []
    if change in SHEETS:
        edit_sheet(laid, *SHEETS[change])
    elif change in OPTIONS:
        arguments = OPTIONS[change]
    else:
        config = yaml.safe_load((laid.folder / "config/config.yaml").read_text())
        for key, value in CASES[change].items():
            *sections, last = key.split(".")
            part = config
            for section in sections:
                part = part.setdefault(section, {})
            part[last] = value
        path = laid.folder / "edited.yaml"
        path.write_text(yaml.safe_dump(config))
        arguments = ["--configfile", path]
    try:
        reply = laid.snakemake("--dry-run", *arguments, check=False)
        assert reply.returncode == 0, reply.stdout[-600:]
    finally:
        shutil.copytree(laid.folder / "kept", laid.folder / "config", dirs_exist_ok=True)
    blocks = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", reply.stdout, re.M)
    found = sorted(set(blocks) - ALWAYS) or (["record"] if "record_provenance" in blocks else ["nothing"])
    if WRITE:
        FOUND[change] = found
        with open(TABLE, "w") as handle:
            handle.write(
                "change\trules\n" + "".join(f"{name}\t{' '.join(rules)}\n" for name, rules in FOUND.items())
            )
    else:
        assert found == expected()[change]


def test_the_table_has_a_row_for_every_change():
    if not WRITE:
        assert list(expected()) == list(CASES)


def rename_model(project, *target):
    """Call the model scbind mine, as docs/how-to/rerun.md says; return the jobs of the last command there."""
    path = project.folder / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["models"] = {{"scbind": "mine"}.get(name, name): model for name, model in config["models"].items()}
    config["infer"]["model"] = "mine"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    page = (project.root / "docs/how-to/rerun.md").read_text().partition("## Rename a model")[2]
    move, *commands = re.findall(r"^    (.*)$", page.partition("## ")[0], re.M)
    touch, again = (command.removeprefix("snakemake ").split() for command in commands)
    move = move.replace("OLD", "scbind").replace("NEW", "mine").split()
    subprocess.run(move, cwd=project.folder, check=True)
    project.snakemake(*touch, *target)
    jobs = project.jobs(*again, *target)
    project.snakemake("--touch", *again, *target)
    assert project.jobs(*target) == {}
    return jobs.keys()


def rules_that_write_the_name():
    """Rules whose scripts get the name of a model; what reads their outputs runs after them in any case."""
    folder = settings.SCHEMA.parents[1]
    texts = [path.read_text() for path in (folder / "rules").glob("*.smk")]
    found = {"record_provenance"}  # all settings
    for block in [block for text in texts for block in re.split(r"^(?=(?:use )?rule )", text, flags=re.M)]:
        params = block.partition("    params:\n")[2].partition("\n\n\n")[0]
        script = re.search(r'"\.\./(scripts/\w+\.py)"', params)
        read = script and "wildcards.model" in (folder / script[1]).read_text()
        if read or re.search(r"\b(INFER_MODEL|MODELS|TESTED)\b", params):
            found.add(re.match(r"rule (\w+)", block)[1])
    return found


def test_results_that_were_copied_without_their_records_rerun_what_a_later_change_needs(
    laid, new_project, tmp_path
):
    leave = shutil.ignore_patterns(".snakemake")
    shutil.copytree(laid.folder, tmp_path / "copy", symlinks=True, ignore=leave)
    project = new_project(tmp_path / "copy", there=True)
    page = (project.root / "docs/how-to/rerun.md").read_text()
    (advice,) = [part for part in re.split(r"^(?=- |#)", page, flags=re.M) if ".snakemake" in part]
    change = ("--configfile", project.edited("models.scbind.epochs", 77))
    assert project.jobs(*change) == {}
    project.snakemake(*re.search(r"`snakemake (--touch[^`]*)`", advice)[1].split())
    assert project.jobs() == {}
    assert "train_model" in project.jobs(*change)


def test_a_renamed_model_keeps_training_and_inference(laid, new_project, tmp_path):
    """What contains the name is made again, and later changes of the settings train the model."""
    shutil.copytree(laid.folder, tmp_path / "renamed", symlinks=True)
    project = new_project(tmp_path / "renamed", there=True)
    for path in project.folder.glob("results/cells/*/pieces"):
        path.rmdir()  # temporary: a run that has ended has none
    jobs = rename_model(project)
    named = rules_that_write_the_name()
    assert {"evaluate_model", "evaluate_depth", "merge_shards", "score_cells", "write_report"} < named
    assert named - jobs == {"evaluate_left_out", "make_bundle", "unpack_bundle"}, (
        "these have no job in the demo"
    )
    slow = {"train_model", "calibrate_model", "sequence_readout", "reference_profile", "infer_binding"}
    assert not slow & jobs
    for key, rule in (("epochs", "train_model"), ("seed", "calibrate_model")):
        assert rule in project.jobs("--configfile", project.edited(f"models.mine.{key}", 77))


def test_a_renamed_model_keeps_the_trainings_without_some_tfs(new_project, tmp_path):
    project = new_project(tmp_path / "left_out")
    path = project.folder / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["models"]["scbind"]["motif_tfs"] = ["HNF4A"]
    config["evaluate"]["left_out_tfs"] = 2
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    lay(project, project.snakemake("--dry-run", "--", "results/models/scbind/card.md").stdout)
    project.snakemake("--touch", "--forceall", "--", "results/models/scbind/card.md")
    target = ("--", "results/models/mine/card.md")
    jobs = rename_model(project, *target)
    assert {"evaluate_left_out", "join_left_out", "model_card"} <= jobs
    assert not {"train_shared_model", "train_left_out", "choose_motif_tfs", "add_motif_tfs"} & jobs
    later = project.jobs("--configfile", project.edited("models.mine.epochs", 77), *target)
    assert {"train_shared_model", "train_left_out"} <= later.keys()


def test_a_model_is_not_renamed_onto_another(tmp_path):
    """Otherwise, the files that are there already would be taken for those of the renamed model."""
    page = (settings.SCHEMA.parents[2] / "docs/how-to/rerun.md").read_text()
    move = re.search(r"^    (mv .*)$", page, re.M)[1].split()
    for name in ("OLD", "NEW"):
        (tmp_path / "results/models" / name).mkdir(parents=True)
        (tmp_path / "results/models" / name / "model.safetensors").write_text(name)
    assert subprocess.run(move, cwd=tmp_path, capture_output=True).returncode
    assert (tmp_path / "results/models/NEW/model.safetensors").read_text() == "NEW"
    assert not (tmp_path / "results/models/NEW/OLD").exists()


def test_a_threshold_that_changes_no_cell_type_repeats_no_peak_calling(laid, new_project, tmp_path):
    """The list of cell types is made again. It is the same, although one type is small, so Snakemake stops there."""
    shutil.copytree(laid.folder, tmp_path / "same", symlinks=True)
    project = new_project(tmp_path / "same", there=True)
    obs = {"sample": "demo", "barcode": [f"b{row}" for row in range(180)], "pass": True}
    obs |= {"cell_type": ["B", "T"] * 85 + ["NK"] * 10, "n_fragments": 10_000}
    table = pd.DataFrame(obs, index=[f"c{row}" for row in range(180)])
    anndata.AnnData(obs=table).write_h5ad(project.folder / "results/cells/demo/embedding.h5ad")
    target = "results/peaks/consensus.bed"
    project.snakemake("--touch", "--forceall")
    project.snakemake("--forcerun", "cell_types", "--until", "cell_types", "--", target)
    lay(project, project.snakemake("--dry-run").stdout)
    project.snakemake("--touch", "--forceall")
    options = ("--configfile", project.edited("peaks.min_cells", 21), "--", target)
    assert "consensus_peaks" in project.jobs(*options), "before the list is known"
    said = project.snakemake(*options).stdout  # all other files are empty, so another job would fail
    assert re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", said, re.M) == ["cell_types"]
    assert project.jobs(*options) == {}


KEYS_OF_FILES = {  # key -> file of the user
    "genome.fasta": "genome.fa",
    "genome.chrom_sizes": "chrom.sizes",
    "genome.exclude": "exclude.bed",
    "genome.genes": "genes.bed",
    "genome.mappability": "mappability.bw",
    "motifs.path": "motifs.txt",
    "evaluate.truth": "truth",
    "variants.path": "variants.vcf",
}
COLUMNS_OF_FILES = {  # sheet -> column -> file of the first row
    "tracks": {"path": "track.tsv.gz"},
    "chip": {"path": "strict.narrowPeak", "relaxed": "relaxed.narrowPeak"},
    "samples": {"path": "cells.tsv.gz", "barcodes": "b.txt", "labels": "labels.tsv", "rna": "rna.h5ad"},
}
FILES = [*KEYS_OF_FILES.values(), "starter.scbind.zip"]
FILES += [file for columns in COLUMNS_OF_FILES.values() for file in columns.values()]


@pytest.fixture(scope="module")
def own_files(tmp_path_factory, new_project):
    """A run that is complete in the eyes of Snakemake, in which every input is a file of the user."""
    project = new_project(tmp_path_factory.mktemp("files"))
    data = project.folder / "data"
    (data / "truth").mkdir(parents=True)
    (data / "truth/cells.tsv").write_text("x\n")
    for name in FILES:
        if name != "truth":
            (data / name).write_text("x\n")
    config = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    for key, file in KEYS_OF_FILES.items():
        section, name = key.split(".")
        config.setdefault(section, {})[name] = f"data/{file}"
    config["motifs"]["release"] = None
    shutil.copy(project.root / "resources/models/starter.scbind.zip", data)
    config["models"]["starter"] = {"bundle": "data/starter.scbind.zip"}
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    shutil.copytree(project.folder / "config", project.folder / "kept")
    for sheet, columns in COLUMNS_OF_FILES.items():
        edit_sheet(
            project, sheet, lambda rows, c=columns: rows[0].update({k: f"data/{v}" for k, v in c.items()})
        )
    for _ in range(2):
        lay(project, project.snakemake("--dry-run").stdout)
        project.snakemake("--touch", "--forceall")
    assert project.jobs() == {}
    return project


def alter(path: Path) -> None:
    """Change the content of a file; a bundle stays one that scbind wrote."""
    if path.suffix != ".zip":
        path.write_bytes(path.read_bytes() + b"y\n")
        return
    bundle = read_bundle(path)
    about = {key: value for key, value in bundle.about.items() if key not in ("format", "members")}
    write_bundle(path, about | {"licence": "another one"}, bundle.members)


@pytest.mark.parametrize("name", FILES)
def test_an_older_file_in_the_place_of_another_reruns_what_a_newer_one_does(own_files, name):
    path = own_files.folder / "data" / name
    path = path / "cells.tsv" if path.is_dir() else path
    before, content = path.stat(), path.read_bytes()
    try:
        alter(path)  # Snakemake does not run anything for the same content
        newer = own_files.jobs()
        os.utime(path, ns=(1, before.st_mtime_ns - 10**15))
        older = own_files.jobs()
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert older == newer and set(older) - ALWAYS
