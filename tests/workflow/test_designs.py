"""Small and lopsided designs run to the end: each through `all`, and what cannot be told is marked as such."""

import csv
import gzip
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyBigWig
import pysam
import pytest
import yaml
from proctree import below, lives, waited
from scbind.core.scratch import began
from scbind.formats.motiffiles import load_profiles
from scipy.sparse import csr_matrix, issparse
from smalldemo import SMALL, make_small

pytestmark = [pytest.mark.workflow, pytest.mark.demo]

ROOT = Path(__file__).parents[2]


class Design:
    """A project on a copy of the small demo data, whose configuration and sheets can be changed."""

    def __init__(self, project, data: Path):
        self.project, self.folder = project, project.folder
        shutil.copytree(data, self.folder / "data")
        self.config = yaml.safe_load((self.folder / "config/config.yaml").read_text())
        make_small(self.config)
        self.config["genome"] |= {
            "fasta": "data/genome.fa",
            "exclude": "data/exclude.bed",
            "genes": "data/genes.bed",
        }
        self.sheets = {name: self.read(name) for name in ("tracks", "chip", "samples")}

    def read(self, name: str) -> list[dict[str, str]]:
        text = (self.folder / f"config/{name}.tsv").read_text().replace("resources/demo/", "data/")
        return list(csv.DictReader(text.splitlines(), delimiter="\t"))

    def write(self):
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(self.config))
        for name, rows in self.sheets.items():
            lines = ["\t".join(rows[0])] + ["\t".join(row.values()) for row in rows]
            (self.folder / f"config/{name}.tsv").write_text("\n".join(lines) + "\n")

    def run(self, *arguments):
        self.write()
        return self.project.snakemake(*arguments)

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text()

    def table(self, name: str) -> list[dict[str, str]]:
        with open(self.folder / "results" / name) as handle:
            return list(csv.DictReader(handle, delimiter="\t"))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory, new_project) -> Path:
    """The data of the demo, made small, once for all designs."""
    project = new_project(tmp_path_factory.mktemp("small"))
    config = yaml.safe_load((project.folder / "config/config.yaml").read_text()) | {"demo": SMALL["demo"]}
    config["splits"] = SMALL["splits"]
    config["cells"]["neighbour_chromosomes"] = ["chr1", "chr2"]
    (project.folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    project.snakemake("simulate_demo")
    return project.folder / "resources/demo"


@pytest.fixture
def design(tmp_path, small_data, new_project) -> Design:
    return Design(new_project(tmp_path / "design"), small_data)


def keep_lines(design: Design, *lines: str) -> None:
    for name in ("tracks", "chip"):
        design.sheets[name] = [row for row in design.sheets[name] if row["cell_line"] in lines]


def rewrite(path: Path, keep: Callable[[list[str]], bool]) -> None:
    """Keep some lines of a tab-separated file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as handle:
        lines = [line for line in handle if line.startswith("#") or keep(line.rstrip("\n").split("\t"))]
    with opened(path, "wt") as handle:
        handle.writelines(lines)


def one_line(design: Design) -> None:
    """The design of scFAN, and of most who train: no other line to compare with."""
    keep_lines(design, "LINE_A")
    design.config["splits"] = {"test": ["*:chr3"], "valid": ["*:chr2"], "train": None}


def one_tf(design: Design) -> None:
    design.sheets["chip"] = [row for row in design.sheets["chip"] if row["tf"] == "CTCF"]


def one_cell_type(design: Design) -> None:
    cells = design.folder / "data/labels.tsv"
    with gzip.open(design.folder / "data/sc/demo.fragments.tsv.gz", "rt") as handle:
        barcodes = sorted({line.split("\t")[3] for line in handle if not line.startswith("#")})
    cells.write_text("barcode\tcell_type\n" + "".join(f"{name}\tαβ T\n" for name in barcodes))
    design.sheets["samples"][0] |= {"labels": "data/labels.tsv", "donor": "01", "condition": "1e5"}


def no_bound_test_window(design: Design) -> None:
    for path in design.folder.glob("data/chip/*/*.gz"):
        rewrite(path, lambda row: row[0] != "chr3")
    design.config["splits"] = {"test": ["*:chr3"], "valid": ["*:chr2"], "train": None}


def line_on_test_chromosomes_only(design: Design) -> None:
    for row in design.sheets["tracks"]:
        if row["cell_line"] == "LINE_C":
            row["region"] = "chr3:0-200000"


def tf_in_test_lines_only(design: Design) -> None:
    design.sheets["chip"] = [
        row for row in design.sheets["chip"] if row["tf"] != "GATA1" or row["cell_line"] == "LINE_C"
    ]


def tf_in_training_lines_only(design: Design) -> None:
    design.sheets["chip"] = [
        row for row in design.sheets["chip"] if row["tf"] in ("CTCF", "SPI1") and row["cell_line"] != "LINE_C"
    ]


def nothing_optional(design: Design) -> None:
    design.config["genome"] |= {"genes": None, "exclude": None}


def one_chromosome(design: Design) -> None:
    path = design.folder / "data/genome.fa"
    path.write_text(path.read_text().partition(">chr2")[0])
    rewrite(design.folder / "data/exclude.bed", lambda row: row[0] == "chr1")
    design.config["cells"]["neighbour_chromosomes"] = None
    lines = [row["cell_line"] for row in design.sheets["tracks"] if row["cell_line"] != "LINE_C"]
    design.config["splits"] = {
        "test": ["*:chr1:0-80000"],
        "valid": ["*:chr1:80000-150000"],
        "train": [f"{line}:chr1:150000-350000" for line in lines],
    }


def many_contigs(design: Design) -> None:
    with open(design.folder / "data/genome.fa", "a") as handle:
        handle.writelines(f">scaffold_{number}\n{'ACGTTGCAAC' * 100}\n" for number in range(5000))


def small_types(design: Design) -> None:
    """No type is large enough for peaks of its own."""
    design.config["peaks"] |= {"min_cells": 1000, "min_fragments": 10**8}


MOTIF_TFS = ["FOS", "FOSL1", "HNF4A", "NOWHERE", "SPI1"]


def tfs_without_chip(design: Design) -> None:
    """Two of one family (FOS, FOSL1), one of another, one that no window matches, and one whose ChIP-seq is taken away.

    Some of the other TFs are left out of a training and tested.
    """
    design.sheets["chip"] = [row for row in design.sheets["chip"] if row["tf"] != "SPI1"]
    design.config["models"]["scbind"]["motif_tfs"] = MOTIF_TFS
    design.config["evaluate"] |= {"left_out_tfs": 2, "chromvar": False, "depths": [1.0, 0.1]}
    profiles, _ = load_profiles(None, "JASPAR2024", "vertebrates")
    wanted = {row["tf"] for row in design.sheets["chip"]} | set(MOTIF_TFS)
    named = {m.name: m.counts for m in reversed(profiles) if wanted & set(m.name.upper().split("::"))}
    named["NOWHERE"] = 1000 * np.eye(4)[:, np.random.default_rng(0).integers(0, 4, 25)]
    with open(design.folder / "data/motifs.jaspar", "w") as handle:
        for name, counts in named.items():
            rows = [f"{base} [ {' '.join(map(str, row))} ]" for base, row in zip("ACGT", counts, strict=True)]
            handle.write("\n".join([f">M_{name} {name}", *rows]) + "\n")
    design.config["motifs"] |= {"path": "data/motifs.jaspar", "release": None}


DESIGNS = [
    one_line,
    one_tf,
    one_cell_type,
    no_bound_test_window,
    line_on_test_chromosomes_only,
    tf_in_test_lines_only,
    tf_in_training_lines_only,
    nothing_optional,
    one_chromosome,
    many_contigs,
    small_types,
]

NAMES = {  # of Ensembl, yeast, the fly, HLA contigs, NCBI
    "numbers": {"chr1": "1", "chr2": "2", "chr3": "10"},
    "letters": {"chr1": "I", "chr2": "2L", "chr3": "NC_000001.11"},
    "HLA": {"chr1": "HLA-A*01:01:01:01", "chr2": "X", "chr3": "1"},
}


def rename(design: Design, names: dict[str, str]) -> None:
    """Give the chromosomes other names, in every file and setting."""

    def line(text: str) -> str:
        first, *rest = text.split("\t")
        return "\t".join([names.get(first, first), *rest])

    for path in (path for path in design.folder.glob("data/**/*") if path.suffix in (".bed", ".gz", ".vcf")):
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt") as handle:
            lines = [line(text) for text in handle]
        with opened(path, "wt") as handle:
            handle.writelines(lines)
    fasta = design.folder / "data/genome.fa"
    lines = fasta.read_text().splitlines(keepends=True)
    fasta.write_text("".join(f">{line(text[1:].rstrip())}\n" if text[0] == ">" else text for text in lines))
    for row in (row for row in design.sheets["tracks"] if row["region"]):
        name, _, span = row["region"].rpartition(":")
        row["region"] = f"{names[name]}:{span}"
    config = design.config
    config["variants"]["path"] = "data/variants.vcf"
    config["cells"]["neighbour_chromosomes"] = [
        names[name] for name in config["cells"]["neighbour_chromosomes"]
    ]
    for part, rules in config["splits"].items():
        config["splits"][part] = [
            f"{rule.split(':')[0]}:{names.get(rule.split(':')[1], rule.split(':')[1])}"
            for rule in rules or ()
        ] or None


def numbers(design: Design) -> None:
    rename(design, NAMES["numbers"])


# What belongs together in one run: a design of one of each, and one whose lines and TFs are unevenly assayed.
TOGETHER = {
    "one of each": (one_line, one_tf, one_cell_type, nothing_optional, one_chromosome),
    "uneven": (line_on_test_chromosomes_only, tf_in_test_lines_only, many_contigs, numbers),
}


def compared(plain: Path, other: Path, names: dict[str, str]) -> int:
    """Compare the results of two runs whose chromosomes have other names; return the number of files."""
    count = 0
    for path in sorted((plain / "results").rglob("*")):
        twin = other / path.relative_to(plain)
        if path.suffix in (".tsv", ".bed", ".narrowPeak") and "provenance" not in path.parts:
            text = re.sub(r"(?<![\w.])chr\d(?![\w.])", lambda match: names[match[0]], path.read_text())
            assert sorted(twin.read_text().splitlines()) == sorted(text.splitlines()), path
        elif path.suffix == ".npy":
            assert twin.read_bytes() == path.read_bytes(), path
        else:
            continue
        count += 1
    return count


def check(design: Design) -> None:
    """Run the design to its end, and look at what every design must have."""
    design.run()
    assert (design.folder / "results/report.html").read_text().rstrip().endswith("</html>")
    assert design.table("evaluation/metrics.tsv")
    assert design.table("cells/cell_types.tsv")
    assert not list(design.folder.glob("results/**/*.partial.*"))


@pytest.mark.designs
@pytest.mark.parametrize("name", TOGETHER)
def test_small_and_lopsided_designs_run_to_the_end(design, name):
    for change in TOGETHER[name]:
        change(design)
    check(design)


@pytest.mark.designs
@pytest.mark.parametrize("change", DESIGNS, ids=lambda change: change.__name__)
def test_each_design_runs_to_the_end(design, change):
    change(design)
    check(design)


@pytest.mark.designs
def test_names_of_chromosomes_change_nothing_else(tmp_path, small_data, new_project):
    """Tables and peaks are the same to the last digit, but for the names."""
    plain = Design(new_project(tmp_path / "plain"), small_data)
    plain.run()
    for kind, names in NAMES.items():
        other = Design(new_project(tmp_path / kind), small_data)
        rename(other, names)
        other.run()
        assert compared(plain.folder, other.folder, names) > 50


def given(design: Design, bundle: Path) -> None:
    """Nothing but cells, a genome and a bundle."""
    design.config["models"] = {"other": {"bundle": str(bundle)}}
    design.config["infer"]["model"] = "other"
    design.config["sheets"] = {"samples": "config/samples.tsv"}
    del design.config["splits"]


def same_results(here: Path, there: Path) -> None:
    """Activity, binding and tracks of two runs are the same to the bit."""
    one, other = (anndata.read_h5ad(folder / "results/activity/demo.h5ad") for folder in (here, there))
    pd.testing.assert_frame_equal(one.var, other.var, check_exact=True)
    for name in (None, *one.layers):
        values = (each.layers[name] if name else each.X for each in (one, other))
        assert np.array_equal(*values, equal_nan=name == "scfan_score"), name
    binding = "results/binding/demo.zarr"
    one, other = (anndata.read_zarr(folder / binding) for folder in (here, there))
    assert list(one.layers) == list(other.layers) and one.n_vars > 100
    for tf in one.layers:
        assert (
            (one.layers[tf] != other.layers[tf]).nnz == 0
            if issparse(one.layers[tf])
            else (np.array_equal(one.layers[tf], other.layers[tf]))
        ), tf
    tracks = [path for path in sorted((here / "results/binding/demo/tracks").rglob("*")) if path.is_file()]
    assert len(tracks) > 10
    for path in tracks:
        assert path.read_bytes() == (there / path.relative_to(here)).read_bytes(), path


def test_a_bundle_gives_the_results_of_the_model_it_was_made_from(tmp_path, small_data, new_project):
    """On chromosomes 1, 2 and 10, whose order is not that of their names as text."""
    trained = Design(new_project(tmp_path / "trained"), small_data)
    numbers(trained)
    trained.run("infer", "bundle")
    bundle = trained.folder / "results/models/scbind/scbind.scbind.zip"

    applied = Design(new_project(tmp_path / "applied"), small_data)
    numbers(applied)
    given(applied, bundle)
    applied.run("infer", "report")
    same_results(trained.folder, applied.folder)
    page = (applied.folder / "results/report.html").read_text()
    assert "was not trained in this run" in page and "was not tested in this run" in page
    assert not (applied.folder / "results/dataset").exists()

    # With cell lines, the model is tested on what its training did not see: the same windows as where it was trained.
    applied.config["sheets"] |= {name: f"config/{name}.tsv" for name in ("tracks", "chip")}
    applied.run("results/models/other/metrics.tsv")
    here, there = (
        [row | {"model": ""} for row in design.table(f"models/{name}/metrics.tsv")]
        for design, name in ((trained, "scbind"), (applied, "other"))
    )
    held_out = {("LINE_A", "chromosome"), ("LINE_C", "both"), ("LINE_C", "cell_line")}
    kept = [[row for row in rows if (row["cell_line"], row["split"]) in held_out] for rows in (here, there)]
    assert len(kept[0]) > 10 and kept[0] == kept[1]
    assert "windows left out because the training of other saw them" in applied.log("build_dataset/dataset")


OF_CHIP = re.compile(
    r"evaluation/|models/\w+/(depth|metrics|learned_motifs)|/(found|candidates)\.tsv"
)  # where only TFs with ChIP-seq stand


def unmarked(results: Path) -> tuple[set[str], set[str]]:
    """Tables in which a TF without ChIP-seq stands unmarked, and all tables in which one stands."""
    wrong, seen = set(), set()
    for path in results.rglob("*.tsv"):
        table = pd.read_csv(path, sep="\t", comment="#", dtype=str, keep_default_na=False)
        column = next((name for name in ("tf", "source") if name in table), None)
        if "provenance" in path.parts or column is None:
            continue
        name, by_motif = str(path.relative_to(results)), table[column].isin(MOTIF_TFS)
        if by_motif.any():
            seen.add(name)
        assert not (OF_CHIP.search(name) and by_motif.any()), name
        kind = table["evidence"] if "evidence" in table else pd.Series("", index=table.index)
        if "left_out" in name:  # TFs with ChIP-seq that are predicted, and marked, as if they had none
            by_motif[:] = True
        if (kind[by_motif] != "motif").any() or (kind[~by_motif & (table[column] != "")] == "motif").any():
            wrong.add(name)
    return wrong, seen


@pytest.mark.designs
def test_tfs_without_chip_are_marked_in_every_output_and_come_with_the_bundle(
    tmp_path, small_data, new_project
):
    design = Design(new_project(tmp_path / "design"), small_data)
    tfs_without_chip(design)
    check(design)
    results = design.folder / "results"
    wrong, seen = unmarked(results)
    assert not wrong
    assert {"analysis/differential_tfs.tsv", "analysis/differential_site_counts.tsv"} <= seen
    activity = anndata.read_h5ad(results / "activity/demo.h5ad")
    assert activity.var.index[activity.var["evidence"] == "motif"].tolist() == MOTIF_TFS
    assert activity.var.loc["FOSL1", "motif_group"] == activity.var.loc["FOS", "motif_group"]
    assert np.isfinite(activity[:, "SPI1"].X).all()
    for name in ("analysis/tf_active.h5ad", "analysis/regulation/demo.h5ad"):
        assert "evidence" in anndata.read_h5ad(results / name).var, name
    page, card = ((results / name).read_text() for name in ("report.html", "models/scbind/card.md"))
    assert "5 of 18 TFs have no ChIP-seq" in page and "Accuracy of TFs without ChIP-seq" in page
    assert "TFs with ChIP-seq were left out of the training" in card and "AUPRC, left out" in card
    left_out = design.table("evaluation/left_out_tfs.tsv")
    assert {row["tf"] for row in left_out} == {row["tf"] for row in design.sheets["chip"]}
    assert {row["fold"] for row in left_out} == {"1", "2"}

    design.run("bundle")
    applied = Design(new_project(tmp_path / "applied"), small_data)
    given(applied, results / "models/scbind/scbind.scbind.zip")
    applied.run("infer", "report")
    same_results(design.folder, applied.folder)
    there = applied.folder / "results"
    assert not unmarked(there)[0] and "5 of 18 TFs have no ChIP-seq" in (there / "report.html").read_text()


def lengths(data: Path) -> dict[str, int]:
    """Return the length of each chromosome."""
    with pysam.FastxFile(str(data / "genome.fa")) as fasta:
        return {record.name: len(record.sequence) for record in fasta}


def with_rna_and_donors(design: Design) -> None:
    """Give the sample RNA, and add a second one of another donor and condition, as a BAM."""
    data = design.folder / "data"
    with gzip.open(data / "sc/demo.fragments.tsv.gz", "rt") as handle:
        rows = [line.split("\t") for line in handle if not line.startswith("#")]
    rows = [(row[0], int(row[1]), int(row[2]), row[3]) for row in rows]
    names = [line.split("\t")[3] for line in (data / "genes.bed").read_text().splitlines()]
    genes = sorted({row["tf"] for row in design.sheets["chip"]} | set(names))
    cells = sorted({row[3] for row in rows})
    counts = np.random.default_rng(0).poisson(2, (len(cells), len(genes)))
    rna = anndata.AnnData(csr_matrix(counts.astype(np.float32)))
    rna.obs_names, rna.var_names = cells, genes
    rna.write_h5ad(data / "rna.h5ad")
    header = pysam.AlignmentHeader.from_references(*zip(*lengths(data).items(), strict=True))
    reads = []
    for number, (chrom, start, end, barcode) in enumerate(
        rows[::-2][::-1]
    ):  # half of them: not the same library
        left, right = max(start - 4, 0), min(end + 5, header.get_reference_length(chrom))
        for flag, begin, mate in ((99, left, right - 20), (147, right - 20, left)):
            read = pysam.AlignedSegment(header)
            read.query_name, read.query_sequence, read.mapping_quality = f"r{number}", "A" * 20, 60
            read.flag, read.cigartuples = flag, [(0, 20)]
            read.reference_id = read.next_reference_id = header.get_tid(chrom)
            read.reference_start, read.next_reference_start = max(begin, 0), max(mate, 0)
            read.template_length = (right - left) * (1 if flag == 99 else -1)
            read.set_tag("CB", barcode)
            reads.append(read)
    reads.sort(key=lambda read: (read.reference_id, read.reference_start))
    with pysam.AlignmentFile(str(data / "other.bam"), "wb", header=header) as out:
        for read in reads:
            out.write(read)
    first = design.sheets["samples"][0] | {"rna": "data/rna.h5ad", "donor": "d1", "condition": "c1"}
    second = {"sample": "other", "path": "data/other.bam", "format": "bam", "donor": "d2", "condition": "c2"}
    design.sheets["samples"] = [first, first | second]


def everything(design: Design, publisher) -> list[str]:
    """Turn on all that the workflow can do; return the targets of which each rule is a part."""
    tfs_without_chip(design)
    with_rna_and_donors(design)
    data, config = design.folder / "data", design.config
    shutil.copy(ROOT / "resources/models/starter.scbind.zip", data)
    models = config["models"]
    models["plain"] = {key: value for key, value in models["scbind"].items() if key != "motif_tfs"}
    models["starter"] = {"bundle": "data/starter.scbind.zip", "motif_tfs": ["NOWHERE"]}
    config["evaluate"] |= {"chromvar": True, "truth": "data/truth", "sample": "demo", "published": "maxatac"}
    asked = {"tf": "CTCF", "cell_type": "cells_c0"}
    config["explain"] = [
        {"locus": f"chr1:{at}-{at + 200}", **asked} for at in (1000, 100_000)
    ]  # the first is all N
    config["cohort"] = {"donors": 4, "n_cells": 100, "cell_fragments": 100}
    with pyBigWig.open(str(data / "map.bw"), "w") as bigwig:
        bigwig.addHeader(list(lengths(data).items()))
        for name, end in lengths(data).items():
            bigwig.addEntries([name], [0], ends=[end], values=[1.0])
    config["genome"] |= {"mappability": "data/map.bw", "exclude": "source:exclude.bed"}
    url = publisher.put("exclude.bed", (data / "exclude.bed").read_bytes())
    (design.folder / "config/sources.tsv").write_text(f"name\turl\nexclude.bed\t{url}\n")
    return ["all", "evaluate", "bundle", "simulate_cohort"]


class Killer:
    """Kills a run of a design once in each rule: in turn at some moment, and when the rule has begun to write.

    In turn, too, it kills the main process of the run, and the newest process below it, as a system does that is out of
    memory: a job, or a program that it runs. The run then goes on, and Snakemake has to notice.
    """

    def __init__(self, design: Design, rules: set[str]):
        self.design, self.rules, self.killed = design, rules, set()
        self.moments, self.seen, self.kinds = np.random.default_rng(0), set(), Counter()

    def run(self, *arguments: str) -> None:
        """Run the design again and again until it comes to its end."""
        said = self.design.folder / "said.txt"
        while True:
            with open(said, "w") as handle:
                run = subprocess.Popen(**self.design.project.call(*arguments), stdout=handle, stderr=handle)
            jobs, before = set(), len(self.killed)
            while run.poll() is None:
                self.seen = self._files()
                time.sleep(0.05)
                if begun := self._begun():
                    jobs = self._kill(run, len(self.killed), begun)
                    self.killed |= begun
            assert waited(lambda jobs=jobs: not any(map(lives, jobs)), 60), f"a job of {self.killed} runs on"
            if run.returncode == 0:
                return
            print(sorted(self.killed), dict(self.kinds))
            assert len(self.killed) > before, said.read_text()[-3000:]

    def _kill(self, run: subprocess.Popen, turn: int, begun: set[str]) -> set[int]:
        """Kill one process. Return all that are below the run."""
        writing, newest = turn % 2 == 1, turn // 2 % 2 == 1
        end = time.monotonic() + (
            20 if writing else self.moments.uniform(0, 4)
        )  # Python starts, works, or writes
        while time.monotonic() < end and run.poll() is None and not (self._begun() - begun):
            if writing and self._files() - self.seen:
                break
            time.sleep(0.01)
        jobs = below(run.pid) if run.poll() is None else set()
        last = max(jobs, key=lambda pid: (began(pid) or 0, pid), default=None) if newest else None
        self.kinds["newest" if last else "run", writing] += 1
        if last is None:
            run.kill()
            run.wait()
        else:
            with suppress(ProcessLookupError):
                os.kill(last, signal.SIGKILL)
        return jobs

    def _begun(self) -> set[str]:
        """Rules of which a job has begun, and in which nothing was killed yet."""
        logs = self.design.folder.glob("logs/*/**/*.log")
        begun = {path.relative_to(self.design.folder).parts[1] for path in logs if path.stat().st_size}
        return (begun & self.rules) - self.killed

    def _files(self) -> set[str]:
        """Files and scratch that jobs have made."""
        tops = [self.design.folder / name for name in ("results", "resources")]
        return {os.path.join(at, name) for top in tops for at, _, names in os.walk(top) for name in names}


# Rules that are planned when the cell types are known.
BEHIND_TYPES = {
    "split_sample",
    "merge_pieces",
    "pseudobulk_coverage",
    "call_peaks",
    "type_replicates",
    "pseudobulk_peaks",
}
NOT_KILLED = {  # rule that is in no design -> why
    "score_cohort": "needs the cells of a cohort, and the design has those of the demo; test_cohortscore.py runs it",
}


def rules_that_run() -> dict[str, bool]:
    """Rule that runs a script -> whether its jobs use several threads. A rule may take its script from another one."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    blocks = re.findall(r"^(?:rule|checkpoint) (\w+):\n((?:(?:    .*)?\n)*)", text, re.M)
    found = {
        name: bool(re.search(r"^    threads: [1-9a-z]", block, re.M))
        for name, block in blocks
        if "script:" in block
    }
    copies = {new: old for old, new in re.findall(r"^use rule (\w+) as (\w+) with:", text, re.M)}
    for new, old in copies.items():
        while old in copies:
            old = copies[old]
        found[new] = found[old]
    return found


def test_every_rule_is_part_of_the_kill_matrix(design, publisher):
    """A new rule needs a place in :func:`everything`, or an entry with its reason."""
    targets = everything(design, publisher)
    design.write()
    planned = design.project.jobs(*targets).keys() & rules_that_run().keys()
    assert not planned & NOT_KILLED.keys() and not planned & BEHIND_TYPES
    assert rules_that_run().keys() == planned | BEHIND_TYPES | NOT_KILLED.keys()


def one_thread() -> list[str]:
    """Options that give all jobs one thread. With other threads, sums of floats may be in another order."""
    return ["--set-threads", *(f"{rule}=1" for rule, several in rules_that_run().items() if several)]


def same_bytes(here: Path, there: Path, least: int = 100) -> None:
    """All results of two runs are the same, but for the parts of a sample: there are as many as asked for."""
    files = [
        {path.relative_to(folder / "results") for path in (folder / "results").rglob("*") if path.is_file()}
        for folder in (here, there)
    ]
    files = [{path for path in each if "shards" not in path.parts} for each in files]
    assert files[0] == files[1] and len(files[0]) > least
    differ = [
        str(path)
        for path in sorted(files[0])
        if (here / "results" / path).read_bytes() != (there / "results" / path).read_bytes()
    ]
    assert not differ


@pytest.mark.designs
def test_two_runs_have_the_same_bytes(tmp_path, small_data, new_project):
    """In folders with other names, with another number of cores and of parts of a sample."""
    runs = {"plain": ["--cores", "2"], "a b {c} ü": ["--cores", "1", "--set-scatter", "cells=3"]}
    for name, options in runs.items():
        Design(new_project(tmp_path / name), small_data).run(*options, *one_thread())
    same_bytes(*(tmp_path / name for name in runs))


@pytest.mark.designs
@pytest.mark.skipif(not os.environ.get("SCBIND_KILLS"), reason="SCBIND_KILLS is not set: make test-kills")
def test_a_run_that_is_killed_in_every_rule_has_the_same_bytes(tmp_path, small_data, new_project, publisher):
    """In another folder, with another number of cores and of parts of a sample, and as many threads of each job.

    ``SCBIND_KILLS=call_peaks,infer_binding`` kills in these rules only; ``SCBIND_UPTO=infer`` makes this target only.
    """
    threads, all_rules = one_thread(), rules_that_run().keys() - NOT_KILLED.keys()
    named = set(os.environ["SCBIND_KILLS"].split(",")) - {"1"}
    assert named <= all_rules
    rules, upto = named or all_rules, os.environ.get("SCBIND_UPTO")
    plain = Design(new_project(tmp_path / "plain"), small_data)
    targets = everything(plain, publisher)
    targets = [upto] if upto else targets
    plain.run(*threads, "--", *targets)
    other = Design(new_project(tmp_path / "other" / "longer"), small_data)
    everything(other, publisher)
    other.write()
    killer = Killer(other, rules)
    killer.run("--cores", "1", *threads, "--set-scatter", "cells=3", "--", *targets)
    assert killer.killed == rules
    assert len(killer.kinds) == 4 or named, killer.kinds
    same_bytes(plain.folder, other.folder, least=1 if upto else 100)
    assert not list(other.folder.rglob("*.partial.*"))
