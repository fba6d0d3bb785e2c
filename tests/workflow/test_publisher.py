"""From the sheet of sources to results, with a made-up publisher."""

import csv
import hashlib
import re
import shutil

import pytest
import yaml
from scbind.demo.simulate import simulate

pytestmark = pytest.mark.workflow
FILES = {name: f"chr1\t{number}\t{number + 50}\n".encode() * 40 for number, name in enumerate("abcd")}
USED = ("a", "b", "c")  # of the files above; d is a row that nothing names


class Shelf:
    """A project whose configuration names three sources of a publisher."""

    def __init__(self, project, publisher):
        self.project, self.publisher = project, publisher
        self.rows = {}
        for name, data in FILES.items():
            md5 = hashlib.md5(data).hexdigest()
            url = publisher.put(f"{name}.bed", data)
            self.rows[name] = {"name": name, "url": url, "md5": md5, "size": str(len(data)), "note": ""}
        path = project.folder / "config/config.yaml"
        config = yaml.safe_load(path.read_text())
        config["genome"] |= {"exclude": "source:a", "genes": "source:b", "mappability": "source:c"}
        path.write_text(yaml.safe_dump(config))
        self.write()

    def write(self):
        lines = ["\t".join(self.rows["a"]), *("\t".join(row.values()) for row in self.rows.values())]
        (self.project.folder / "config/sources.tsv").write_text("\n".join(lines) + "\n")

    def planned(self, target="download") -> tuple[int, str]:
        """Number of downloads of a dry run, and its line about them."""
        text = self.project.snakemake("--dry-run", target).stdout
        line = re.findall("^To download: .*", text, re.M)
        assert len(line) <= 1
        jobs = re.search(r"^fetch_source +(\d+)$", text.partition("Job stats:")[2], re.M)
        return int(jobs[1]) if jobs else 0, line[0] if line else ""


@pytest.fixture
def shelf(project, publisher) -> Shelf:
    return Shelf(project, publisher)


def test_download_fetches_what_the_configuration_needs_and_once(shelf):
    jobs, line = shelf.planned()
    assert jobs == 3
    assert re.fullmatch(r"To download: 3 files; 1.2 kB; \S+ [kMGT]?B free", line)
    shelf.rows["c"] |= {"md5": "", "size": ""}
    shelf.write()
    line = shelf.planned()[1]
    assert " and 1 file of unknown size; 1 without a checksum, so their bytes are not verified; " in line
    assert shelf.planned("peaks")[1].startswith("To download: 2 files; 800 bytes; ")

    shelf.publisher.faults = {"a.bed": [503, "slow"], "b.bed": ["cut"]}
    shelf.publisher.moved = {"c.bed": "c2.bed"}
    shelf.publisher.put("c2.bed", FILES["c"])
    text = shelf.project.snakemake("download").stdout
    assert "To download" not in text
    folder = shelf.project.folder
    for name in USED:
        assert (folder / "resources" / name).read_bytes() == FILES[name]
    assert sorted(path.name for path in (folder / "resources").iterdir()) == [".receipts", *USED]
    assert "no checksum is given for c" in (folder / "logs/fetch_source/c.log").read_text()
    assert not any(name == "d.bed" for name, _ in shelf.publisher.seen)

    # what the sheet says of the same file may grow
    shelf.rows["a"] |= {"note": "edited", "size": "", "url": shelf.publisher.url("mirror")}
    shelf.rows["c"]["md5"] = hashlib.md5(FILES["c"]).hexdigest()
    shelf.write()
    assert shelf.planned() == (0, "")

    new = FILES["b"] + b"chr1\t500\t600\n"
    shelf.publisher.put("b.bed", new)
    shelf.rows["b"] |= {"md5": hashlib.md5(new).hexdigest(), "size": str(len(new))}
    shelf.write()
    jobs, line = shelf.planned()
    assert (jobs, line[:20]) == (1, "To download: 1 file;")
    shelf.publisher.seen.clear()
    shelf.project.snakemake("download")
    assert [name for name, _ in shelf.publisher.seen] == ["b.bed"]
    assert (folder / "resources/b").read_bytes() == new
    assert shelf.planned() == (0, "")


def test_what_a_publisher_cannot_mean_is_one_line(shelf):
    shelf.publisher.faults = {"a.bed": ["login"] * 5, "b.bed": [404] * 5}
    shelf.rows["c"]["size"] = "100"
    shelf.write()
    reply = shelf.project.snakemake("download", "--keep-going", check=False)
    assert reply.returncode == 1
    place = "config/sources.tsv, line"
    errors = sorted(re.findall("^ *(ERROR .*)", reply.stdout, re.M))
    assert len(errors) == 3
    assert f"/a.bed, {place} 2: the server sends a web page (HTML), perhaps to log in, instead" in errors[0]
    assert f"/b.bed, {place} 3: the server answers 404; correct the address" in errors[1]
    assert f"/c.bed, {place} 4: the server has 400 bytes, but its size in the sheet is 100 bytes" in errors[2]
    assert "Traceback" not in reply.stdout
    assert not list(shelf.project.folder.glob("resources/*"))
    assert len(shelf.publisher.seen) == 3


def test_downloads_that_do_not_fit_together_stop_a_run_before_the_first(shelf):
    for row in shelf.rows.values():
        row["size"] = str(shutil.disk_usage(shelf.project.folder).free // 2)
    shelf.write()
    assert shelf.planned()[1].endswith(", too little")
    reply = shelf.project.snakemake("download", check=False)
    assert reply.returncode == 1 and not shelf.publisher.seen
    (error,) = re.findall("^ *(?:WorkflowError:\n)?(ERROR .*)", reply.stdout, re.M)
    assert re.search(r": no space for 3 downloads: \S+ \wB needed, \S+ \wB free; free space there", error)
    assert "Traceback" not in reply.stdout


SMALL = {
    "models": {
        "scbind": {
            "epochs": 1,
            "batch_size": 64,
            "valid_windows": 100,
            "options": {"members": 1, "channels": 16, "hidden": 16},
            "sampling": {"examples_per_epoch": 128, "depth_min": 0.001},
        }
    },
    "splits": {"test": ["*:chr3"], "valid": ["*:chr2"]},
    "genome": {"fasta": "source:genome.fa", "exclude": "source:exclude.bed", "genes": None},
    "cells": {"neighbour_chromosomes": None},
    "evaluate": {"truth": None, "sample": None},
}
WHOLE = ("models", "splits")  # sections that stand in place of the demo's
ASSAYS = [(line, tf) for line in ("LINE_A", "LINE_B") for tf in ("CTCF", "SPI1")]


@pytest.mark.demo
def test_from_the_sheet_of_sources_to_metrics(project, publisher):
    """Simulated files of a publisher with a table of MD5s: tables to write, one command, figures."""
    simulate(publisher.folder, n_cells=25, chromosome_mb=(0.3, 0.2, 0.2), cell_fragments=100)
    folder = project.folder
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    for section, values in SMALL.items():
        config[section] = values if section in WHOLE else config[section] | values
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))

    paths = ["genome.fa", "exclude.bed"]
    sheets = {"tracks": ["cell_line\tpath\tformat"], "chip": ["cell_line\ttf\tpath\trelaxed"]}
    for line in ("LINE_A", "LINE_B"):
        paths.append(f"bulk/{line}.fragments.tsv.gz")
        sheets["tracks"].append(f"{line}\tsource:{line}.fragments.tsv.gz\tfragments")
    for line, tf in ASSAYS:
        paths += [f"chip/{line}/{tf}{kind}.narrowPeak.gz" for kind in ("", ".relaxed")]
        sheets["chip"].append("\t".join([line, tf, *(f"source:{source_name(path)}" for path in paths[-2:])]))
    table = {path: (publisher.folder / path).read_bytes() for path in paths}
    sheets["sources"] = ["name\turl\tmd5\tsize"]
    sheets["sources"] += [
        f"{source_name(path)}\t{publisher.url(path)}\t{hashlib.md5(data).hexdigest()}\t{len(data)}"
        for path, data in table.items()
    ]
    # no result that is asked for below needs the cells, so they are not fetched
    sheets["samples"] = ["sample\tpath\tformat", f"cells\t{publisher.url('not/there.tsv.gz')}\tfragments"]
    for name, lines in sheets.items():
        (folder / f"config/{name}.tsv").write_text("\n".join(lines) + "\n")

    publisher.faults = {"genome.fa": ["half", "slow"], paths[2]: [503], paths[3]: ["slow"]}
    publisher.moved = {"exclude.bed": "new/exclude.bed"}
    publisher.put("new/exclude.bed", table["exclude.bed"])
    project.snakemake("results/evaluation/metrics.tsv")

    for path, data in table.items():
        assert (folder / "resources" / source_name(path)).read_bytes() == data
    assert not [name for name, _ in publisher.seen if name.startswith("not/")]
    assert len(publisher.seen) == len(paths) + 3  # continued once, asked again once, moved once
    with open(folder / "results/evaluation/metrics.tsv") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert {(row["cell_line"], row["tf"]) for row in rows} == set(ASSAYS)
    assert {"scbind", "accessibility", "boosted_trees"} <= {row["model"] for row in rows}
    assert all(0 <= float(row["auprc"]) <= 1 for row in rows)


def source_name(path: str) -> str:
    """Name of a file in the sheet of sources."""
    return path.removeprefix("bulk/").removeprefix("chip/").replace("/", ".")


def test_passwords_and_signatures_are_written_nowhere(shelf):
    """Provenance, logs and bundles are passed on. The address also stands in a sheet in place of a path."""
    folder = shelf.project.folder

    def secret(url, number=1):
        return f"{url.replace('//', '//me:hunter2@')}?acc=5&X-Amz-Signature=hunter2{number}"

    for row in shelf.rows.values():
        row["url"] = secret(row["url"])
    shelf.rows["c"]["md5"] = ""
    shelf.write()
    samples = folder / "config/samples.tsv"
    url = secret(shelf.publisher.put("labels.tsv", b"barcode\tcell_type\nA\tB\n"))
    samples.write_text(
        f"sample\tpath\tformat\tbinding\tlabels\ndemo\tresources/demo/sc/demo.fragments.tsv.gz\tfragments\tyes\t{url}\n"
    )
    shelf.publisher.faults = {"a.bed": [503], "b.bed": [404]}
    said = shelf.project.snakemake("--keep-going", "download", check=False).stdout
    said += shelf.project.snakemake("download").stdout
    assert "answers 404" in said
    shown = folder.rglob("*")
    held = {path.name for path in shown if path.is_file() and b"hunter2" in path.read_bytes()}
    assert held <= {"sources.tsv", "samples.tsv"} and "hunter2" not in said
    assert not [path for path in folder.rglob("*") if "hunter2" in path.name]
    requests = len(shelf.publisher.seen)
    for row in shelf.rows.values():  # a signature that is made anew asks for the same file
        row["url"] = row["url"].replace("hunter21", "hunter22")
    shelf.write()
    assert shelf.planned()[0] == 0 and len(shelf.publisher.seen) == requests
