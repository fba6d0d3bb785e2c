import copy
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from jsonschema import Draft202012Validator
from scbind.core.errors import InputError
from scbind.demo.atlas import demo_files
from scbind.plan import checks, chromosomes, settings, sheetrows, sheets, yamlfile
from scbind.plan.receipts import write_receipt

STARTER = str(Path(__file__).parents[2] / "resources/models/starter.scbind.zip")
CONFIG = {
    "genome": {"name": "g", "fasta": "g.fa"},
    "sheets": {"sources": None, "tracks": "tracks.tsv", "chip": "chip.tsv", "samples": "samples.tsv"},
    "splits": {"test": ["*:chr2"], "valid": ["*:chr3"]},
}
TRACKS = "cell_line\tpath\tformat\nA\ta.bw\tinsertions\n"
CHIP = "cell_line\ttf\tpath\nA\tCTCF\tctcf.bed\n"
SAMPLES = "sample\tpath\tformat\ns1\tf.tsv.gz\tfragments\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with sheets and the files they name; call it with sheets to change."""
    monkeypatch.chdir(tmp_path)
    for name in ("g.fa", "a.bw", "ctcf.bed", "b2.bw", "{x}.gz", "f2.tsv.gz"):
        (tmp_path / name).write_text("x")
    for name in ("f.tsv.gz", "copy.tsv.gz"):
        (tmp_path / name).write_bytes(b"y" * 2000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.bw").write_text("x")

    def load(config=None, environ=None, **texts):
        for name, text in ({"tracks": TRACKS, "chip": CHIP, "samples": SAMPLES} | texts).items():
            (tmp_path / f"{name}.tsv").write_text(text)
        whole = copy.deepcopy(CONFIG)
        for section, values in (config or {}).items():
            if isinstance(values, dict):
                whole.setdefault(section, {}).update(values)
            else:
                whole[section] = values
        return sheets.load_plan(settings.check_config(whole), environ=environ or {})

    return load


def test_schema_is_itself_valid():
    Draft202012Validator.check_schema(settings.load_schema())


def test_every_key_is_described_and_every_section_closed():
    def walk(part, key):
        if part.get("type") == "object" and ("properties" in part or key == ""):
            assert "additionalProperties" in part, key
        for name, child in part.get("properties", {}).items():
            walk(child, f"{key}.{name}")
        if isinstance(part.get("additionalProperties"), dict):
            walk(part["additionalProperties"], f"{key}.<name>")

    walk(settings.load_schema(), "")
    for key, part in settings.list_keys():
        assert part.get("description"), key


def test_defaults_are_filled_at_every_depth():
    filled = settings.check_config(CONFIG)
    assert filled["models"]["scbind"]["epochs"] == 20
    assert filled["analysis"]["populations"]["repeats"] == 10
    assert filled["infer"]["model"] == "scbind"
    assert "models" not in CONFIG
    assert settings.check_config(filled) == filled


def test_assays_bring_thresholds_and_written_ones_win():
    sections = {"genome": {"name": "g", "fasta": "f"}, "splits": {"test": ["*:a"], "valid": ["*:b"]}}
    sections["sheets"] = {"tracks": "t", "chip": "c", "samples": "s"}
    cells = settings.check_config(sections | {"cells": {"assay": "10x_atac", "min_tss": None}})["cells"]
    assert (
        cells["min_tss"] is None and cells["max_fragments"] == 100_000 and cells["max_nucleosome_signal"] == 4
    )
    assert settings.looser_thresholds(cells) == {"min_tss": [None, 4]}
    assert settings.looser_thresholds(cells | {"min_fragments": 5, "max_fragments": 10, "min_tss": 5}) == {
        "min_fragments": [5, 1000]
    }
    assert settings.looser_thresholds(cells | {"assay": "custom", "max_doublet_score": 0.5}) == {
        "max_doublet_score": [0.5, 0.3]
    }
    assert settings.check_config(sections)["cells"]["max_fragments"] is None
    schema = settings.load_schema()["properties"]["cells"]["properties"]
    assert {"custom", *settings.ASSAYS} == set(schema["assay"]["enum"])
    assert (
        {key for values in settings.ASSAYS.values() for key in values} <= settings.THRESHOLDS <= set(schema)
    )
    with pytest.raises(InputError, match="key cells.assay: '10x' is not one of the choices"):
        settings.check_config(sections | {"cells": {"assay": "10x"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "models: {scbind: {learnig_rate: 0.1}}",
            "c.yaml, key models.scbind.learnig_rate: unknown key; did you mean learning_rate?",
        ),
        ("threads: 4", "c.yaml, key threads: unknown key; known here: data, genome"),
        (
            "models: {scbind: {learning_rate: 1e-3}}",
            "c.yaml, key models.scbind.learning_rate: expected a number, found '1e-3'; write 1.0e-03 "
            "without quotes; in braces after --config every value is text, so use --configfile",
        ),
        (
            "models: {scbind: {epochs: '12'}}",
            "c.yaml, key models.scbind.epochs: expected an integer, found '12'; write 12 without quotes",
        ),
        (
            "models: {scbind: {motifs: 'false'}}",
            "c.yaml, key models.scbind.motifs: expected true or false, found 'false'; write false without quotes",
        ),
        (
            "models: {scbind: {epochs: 0}}",
            "key models.scbind.epochs: 0 is below 1; give a value of at least 1",
        ),
        (
            "models: {scbind: {architecture: bpnet}}",
            "'bpnet' is not one of the choices; use one of: scbind, scfan",
        ),
        ("models: {'a b': {}}", "key models.a b: 'a b' cannot be a name; use letters"),
        (
            "models: {accessibility: {}}",
            "key models.accessibility: a baseline or a published method has this name",
        ),
        ("models: {scbind: {bundle: ''}}", "key models.scbind.bundle: "),
        ("peaks: {qvalue: 0}", "key peaks.qvalue: 0 is not above 0; give a value of more than 0"),
        ("peaks: {qvalue: 1.5}", "key peaks.qvalue: 1.5 is above 1; give a value of at most 1"),
        ("peaks: [1]", "key peaks: expected a section, found a list; give a section"),
        ("genome: {name: a b, fasta: x}", "key genome.name: 'a b' has a wrong form; Name of the assembly"),
        ("infer: {model: big}", "key infer.model: no model is named 'big'; use one of: scbind"),
        (
            "dataset: {context: 1001}",
            "c.yaml, key dataset.context: 1001 bp cannot be centred on windows of 200 bp; give 200 or more; "
            "context minus window must be even",
        ),
        ("dataset: {window: 2000}", "key dataset.context: 1000 bp cannot be centred on windows of 2000 bp"),
        ("models: {2: {}}", "key models.2: YAML reads this key as a number (2); write the name in quotes"),
        ("motifs: {aliases: {NO: CTCF}}", "key motifs.aliases.False: YAML reads this key as true or false"),
        ("data: 5", "key data: expected text or empty, found 5; give text or empty"),
        (
            "genome: {name: a, fasta: }",
            "key genome.fasta: expected text, found nothing; give text: path of the FASTA of the genome (plain, gzip "
            "or bgzip), or source:NAME",
        ),
        ("sheets: {samples: }", "found nothing; give text: table of the scATAC-seq samples"),
        ("cells: {min_fragments: }", "give an integer: a cell with fewer unique fragments fails"),
        (
            "genome: {name: a}",
            "key genome.fasta: this key is missing; give it: path of the FASTA of the genome",
        ),
        ("analysis: {links: }", "key analysis.links: expected a section, found nothing; give a section"),
        ("cells: {min_dist: 0.1}", "key cells.min_dist: unknown key; known here: assay, "),
    ],
)
def test_bad_config_is_one_line_with_key_and_remedy(change, message):
    with pytest.raises(InputError) as caught:
        settings.check_config(CONFIG | yaml.safe_load(change), "c.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reads_all_sheets(project):
    plan = project(
        tracks="# why\ncell_line\tpath\tformat\tregion\nA\ta.bw\tcoverage\tchr1:0-10\n\nA\ta.bw\tbam\t\n",
        samples="sample\tpath\tformat\tgroup\tbinding\tdonor\ns1\tf.tsv.gz\tfragments\t\t\td1\n"
        "s2\tf2.tsv.gz\tbam\tblood\tno\t\n",
    )
    assert [t["region"] for t in plan.tracks["A"]] == ["chr1:0-10", None]
    assert plan.groups == {"cells": ["s1"], "blood": ["s2"]}
    assert plan.binding_samples == ["s1"]
    assert plan.samples["s1"]["donor"] == "d1" and plan.samples["s1"]["labels"] is None
    assert plan.chip == [{"cell_line": "A", "tf": "CTCF", "path": "ctcf.bed", "relaxed": None, "source": ""}]
    assert plan.inputs() == ["a.bw", "ctcf.bed", "f.tsv.gz", "f2.tsv.gz", "g.fa"]


def test_data_folder_comes_from_config_before_environment(project, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "g.fa").write_text("x")
    genome = {"genome": {"fasta": "{data}/g.fa"}}
    assert project(genome, {"SCBIND_DATA": "one"}).config["genome"]["fasta"] == "one/g.fa"
    assert project(genome | {"data": "two"}, {"SCBIND_DATA": "one"}).config["genome"]["fasta"] == "two/g.fa"
    with pytest.raises(
        InputError, match="key genome.fasta: {data}/g.fa needs the data folder; set data: in the"
    ):
        project(genome)


def test_sources_and_addresses_become_downloads(project, tmp_path):
    facts = {"sha256": "0" * 64, "md5": "AB" * 16, "size": "012"}
    lines = [
        ["name", "url", *facts],
        ["hg.fa", "https://x.org/hg.fa", *facts.values()],
        ["spare", "https://x.org"],
    ]
    (tmp_path / "sources.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    plan = project(
        {"sheets": {"sources": "sources.tsv"}, "genome": {"fasta": "source:hg.fa"}},
        chip="cell_line\ttf\tpath\nA\tCTCF\thttps://x.org/a/b.bed?x=1\n",
    )
    assert plan.config["genome"]["fasta"] == "resources/hg.fa"
    assert plan.sources["hg.fa"] == {
        "url": "https://x.org/hg.fa",
        **facts,
        "md5": "ab" * 16,
        "size": 12,
        "licence": "",
        "place": "sources.tsv, line 2",
    }
    name = plan.chip[0]["path"].removeprefix("resources/")
    assert name.endswith("-b.bed_x_1")
    assert plan.sources[name] == {
        "url": "https://x.org/a/b.bed?x=1",
        "sha256": "",
        "md5": "",
        "size": None,
        "licence": "",
        "place": "chip.tsv, line 2, column path",
    }
    assert plan.downloads() == sorted(["resources/hg.fa", f"resources/{name}"])


def test_a_file_put_in_place_of_a_download_has_its_size(project, tmp_path):
    (tmp_path / "sources.tsv").write_text("name\turl\tsize\nhg.fa\thttps://x.org/hg.fa\t3\n")
    plan = project({"sheets": {"sources": "sources.tsv"}, "genome": {"fasta": "source:hg.fa"}})
    checks.check_sizes(plan)
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources/hg.fa").write_text(">a\n")
    checks.check_sizes(plan)
    (tmp_path / "resources/hg.fa").write_text(">a")
    message = (
        "resources/hg.fa, sources.tsv, line 2: has 2 bytes, but its size in the sheet is 3 bytes; remove it"
    )
    with pytest.raises(InputError, match=message):
        checks.check_sizes(plan)
    write_receipt("resources/hg.fa", "asked", "url", {})  # the rule compares what was fetched
    checks.check_sizes(plan)


def test_demo_files_are_made_not_missed(project):
    plan = project(chip="cell_line\ttf\tpath\nA\tCTCF\tresources/demo/chip/x.bed\n")
    assert plan.chip[0]["path"] == "resources/demo/chip/x.bed"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"tracks": "cell_line\tpath\nA\ta.bw\n"},
            "tracks.tsv, header: column 'format' is missing; required:",
        ),
        (
            {"tracks": TRACKS.replace("format", "fromat")},
            "tracks.tsv, header: unknown column 'fromat'; known:",
        ),
        ({"tracks": "cell_line\tpath\tpath\tformat\n"}, "header: column 'path' appears twice"),
        ({"tracks": ""}, "tracks.tsv: the sheet is empty; its header is: cell_line path format"),
        ({"tracks": TRACKS + "B\tb2.bw\n"}, "tracks.tsv, line 3: format is empty; fill it in"),
        (
            {"tracks": TRACKS + "B\tb2.bw\tbam\tx\n"},
            "tracks.tsv, line 3: 4 fields where the header has 3; separate",
        ),
        (
            {"samples": SAMPLES + "s2\t./f.tsv.gz\tfragments\n"},
            "samples.tsv, line 3: sample s2 has the same file as sample s1 (line 2)",
        ),
        (
            {"samples": SAMPLES + "s2\tcopy.tsv.gz\tfragments\n"},
            "samples.tsv, line 3: sample s2 has the same file as sample s1 (line 2)",
        ),
        (
            {"tracks": TRACKS + "B\ta.bw\tinsertions\n"},
            "tracks.tsv, line 3: track of B has the same file as track of A (line 2)",
        ),
        (
            {"samples": "sample\tpath\tformat\tbarcodes\ns1\tf.tsv.gz\tbam\tNA\n"},
            "line 2, column barcodes: no such file: NA; leave the field empty for none",
        ),
        (
            {"samples": SAMPLES.replace("f.tsv", "sub\\b.bw").replace(".gz", "")},
            "write sub/b.bw, with slashes",
        ),
        (
            {"samples": SAMPLES.replace("f.tsv.gz", "sub")},
            "line 2, column path: sub is a folder; name a file in it",
        ),
        ({"samples": SAMPLES.replace("f.tsv.gz", "{x}.gz")}, "{x}.gz: the path has a brace"),
        (
            {"samples": "sample\tpath\tformat\tbarcodes\ns1\tf.tsv.gz\tbam\tsub\n"},
            "column barcodes: the folder sub has none of barcodes.tsv, barcodes.tsv.gz",
        ),
        ({"tracks": TRACKS + "\ta.bw\tbam\n"}, "tracks.tsv, line 3: cell_line is empty; fill it in"),
        (
            {"tracks": TRACKS.replace("insertions", "wig")},
            "line 2: format 'wig' is unknown; use one of: fragments",
        ),
        ({"tracks": TRACKS.replace("a.bw", "b.bw")}, "tracks.tsv, line 2, column path: no such file: b.bw"),
        (
            {"tracks": "cell_line\tpath\tformat\tregion\nA\ta.bw\tbam\tchr1\n"},
            "region 'chr1' is not CHROM:START",
        ),
        (
            {"chip": CHIP + "A\tCTCF\tctcf.bed\n"},
            "chip.tsv, line 3: experiment of CTCF in A has the same file as experiment of CTCF in A (line 2)",
        ),
        ({"chip": CHIP.replace("CTCF", "a/b")}, "chip.tsv, line 2: tf 'a/b' cannot be part of a file name"),
        (
            {"chip": CHIP.replace("CTCF", "Su(H)")},
            "tf 'Su(H)' cannot be part of a file name; write Su-H here, and name its motif in motifs.aliases: "
            "{Su-H: 'Su(H)'}",
        ),
        (
            {"chip": CHIP + "B\tCTCF\tctcf.bed\n"},
            "chip.tsv: B has ChIP-seq peaks but no ATAC-seq track; add a row",
        ),
        ({"samples": SAMPLES + "s1\tf.tsv.gz\tbam\n"}, "samples.tsv, line 3: sample 's1' is listed twice"),
        ({"samples": SAMPLES.replace("fragments", "coverage")}, "format 'coverage' is unknown; use one of"),
        ({"samples": SAMPLES.replace("s1", "s 1")}, "line 2: sample 's 1' cannot be part of a file name"),
        (
            {"samples": "sample\tpath\tformat\tlabels\ns1\tf.tsv.gz\tbam\tlabels.tsv\n"},
            "samples.tsv, line 2, column labels: no such file: labels.tsv",
        ),
        (
            {"samples": "sample\tpath\tformat\tbinding\ns1\tf.tsv.gz\tbam\tmaybe\n"},
            "samples.tsv, line 2: binding 'maybe' is unknown; use one of: yes, no, true, false, 1, 0",
        ),
    ],
)
def test_bad_sheet_is_one_line_with_place_and_remedy(project, texts, message):
    with pytest.raises(InputError) as caught:
        project(**texts)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


ADDRESSES = [
    ("ftp://x.org/a.bed", "cannot be fetched by ftp://; write https:// instead of ftp://; servers such as"),
    ("s3://x/a.bed", "cannot be fetched by s3://; write the https:// address of the file"),
    ("htp://x.org/a.bed", "cannot be fetched by htp://; write the https:// address of the file, or its path"),
    ("http:///a.bed", "names no server; correct the address"),
    ("https://x.org:99999/a.bed", "is not an address (Port out of range 0-65535); correct the address"),
    ("https://[x/a.bed", "is not an address (Invalid IPv6 URL); correct the address"),
    ("file://data/a.bed", "names a server; write file:/// and the absolute path"),
]


@pytest.mark.parametrize(("url", "message"), ADDRESSES)
def test_addresses_that_cannot_work_are_refused_wherever_they_stand(project, url, message):
    for texts, place in (
        ({"chip": f"cell_line\ttf\tpath\nA\tCTCF\t{url}\n"}, "chip.tsv, line 2, column path"),
        ({"config": {"genome": {"fasta": url}}}, "key genome.fasta"),
        ({"config": {"models": {"m": {"bundle": url}}}}, "key models.m.bundle"),
    ):
        with pytest.raises(InputError) as caught:
            project(**texts)
        assert f"{place}: {url} {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\thttps://x\t\na\thttps://y\t", "sources.tsv, line 3: source 'a' is listed twice"),
        (
            "a\thttps://x\tabc",
            "line 2: sha256 'abc' is not 64 hexadecimal digits; copy it from the publisher, run",
        ),
        (f"a\thttps://x\t{'g' * 64}", "line 2: sha256 'gggg"),
        (
            f"a\thttps://x\t\t{'0' * 31}",
            f"line 2: md5 '{'0' * 31}' is not 32 hexadecimal digits; copy it from",
        ),
        (f"a\thttps://x\t\t{'x' * 32}", f"line 2: md5 '{'x' * 32}' is not 32 hexadecimal digits"),
        *(
            (
                f"a\thttps://x\t\t\t{size}",
                f"line 2: size '{size}' is not a whole number of bytes; write digits only",
            )
            for size in ("1.5", "1,000", "1e9", "-3", "0", "²", "5 GB", "9" * 30)
        ),
        ("demo\thttps://x\t", "line 2: the name 'demo' is taken"),
        (
            "b.bw.partial\thttps://x\t",
            "line 2: the name 'b.bw.partial' ends as that of an unfinished download",
        ),
        *((f"a\t{url}\t", f"sources.tsv, line 2, column url: {url} {message}") for url, message in ADDRESSES),
        (
            "a\thello\t",
            "line 2, column url: hello is not an address; write it with https://, or file:///PATH",
        ),
    ],
)
def test_bad_sources(project, tmp_path, row, message):
    (tmp_path / "sources.tsv").write_text(f"name\turl\tsha256\tmd5\tsize\n{row}\n")
    with pytest.raises(InputError) as caught:
        project({"sheets": {"sources": "sources.tsv"}})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"genome": {"fasta": "source:hg"}},
            "key genome.fasta: no source named 'hg'; rows of the sources sheet: none",
        ),
        ({"genome": {"exclude": "nothing.bed"}}, "key genome.exclude: no such file: nothing.bed"),
        ({"genome": {"mappability": "m.bw"}}, "key genome.mappability: no such file: m.bw; correct the path"),
        (
            {"sheets": {"tracks": "nothing.tsv"}},
            "nothing.tsv: no such file; write it or correct sheets.tracks",
        ),
        ({"evaluate": {"sample": "s9"}}, "key evaluate.sample: no sample 's9' with binding; use one of: s1"),
    ],
)
def test_bad_paths_in_config(project, config, message):
    with pytest.raises(InputError) as caught:
        project(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "sample;path;format;binding;donor\ns1;f.tsv.gz;Fragments;NO;01\n;;;;\n",
        '"sample","path","format","binding","donor"\n"s1","f.tsv.gz","fragments","FALSE","01"\n',
        'Sample\tPath\tformat\tbinding\tdonor\t\t\r\ns1\t"f.tsv.gz"\tFRAGMENTS\tno\t01\r\n\t\t\r\n',
        "sample\tpath\tformat\tbinding\tdonor\tcondition\rs1\tf.tsv.gz\tfragments\t0\t01\r",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_sheets_as_spreadsheets_save_them(project, tmp_path, text, encoding):
    plan = project()
    (tmp_path / "samples.tsv").write_bytes(text.encode(encoding))
    row = sheets.load_plan(settings.check_config(CONFIG), environ={}).samples["s1"]
    assert row == plan.samples["s1"] | {"binding": False, "donor": "01"}


@pytest.mark.parametrize("missing", ["NA", "N/A", "<NA>", "nan", "NaN", ""])
def test_a_missing_donor_or_condition_is_none_but_a_sample_may_be_called_so(project, missing):
    header = "sample\tpath\tformat\tgroup\tdonor\tcondition\n"
    plan = project(samples=f"{header}NA\tf.tsv.gz\tfragments\tNA\t{missing}\t{missing}\n")
    row = plan.samples["NA"]
    assert row["donor"] is None and row["condition"] is None and row["group"] == "NA"
    plan = project(samples=f"{header}s\tf.tsv.gz\tfragments\tg\tNone\tnone\n")
    assert (plan.samples["s"]["donor"], plan.samples["s"]["condition"]) == ("None", "none")


def test_the_folder_of_cell_ranger_gives_its_barcodes(project, tmp_path):
    (tmp_path / "filtered_peak_bc_matrix").mkdir()
    (tmp_path / "filtered_peak_bc_matrix/barcodes.tsv").write_text("A-1\n")
    plan = project(samples="sample\tpath\tformat\tbarcodes\ns1\tf.tsv.gz\tbam\tfiltered_peak_bc_matrix\n")
    assert plan.samples["s1"]["barcodes"] == "filtered_peak_bc_matrix/barcodes.tsv"


def test_several_tracks_of_one_file_need_regions(project):
    rows = "cell_line\tpath\tformat\tregion\nA\ta.bw\tbam\tchr1:0-5\nA\ta.bw\tbam\tHLA-A*01:01:0-9\n"
    assert [row["region"] for row in project(tracks=rows).tracks["A"]] == ["chr1:0-5", "HLA-A*01:01:0-9"]
    with pytest.raises(InputError, match="tracks.tsv, line 3: track of A has the same file as track of A"):
        project(tracks=rows.replace("HLA-A*01:01:0-9", "chr1:0-5"))


@pytest.mark.parametrize(
    ("config", "tracks", "message"),
    [
        (
            {"splits": {"test": ["*:chr9"]}},
            TRACKS,
            "c.yaml, key splits.test: no chromosome 'chr9'; use one of chr2, chr3",
        ),
        (
            {"cells": {"neighbour_chromosomes": ["2"]}},
            TRACKS,
            "c.yaml, key cells.neighbour_chromosomes: no chromosome '2'",
        ),
        (
            {},
            "cell_line\tpath\tformat\tregion\nA\ta.bw\tbam\tchr1:0-5\n",
            "tracks.tsv, region chr1:0-5: no chromosome 'chr1' in the genome; use one of chr2, chr3",
        ),
    ],
)
def test_chromosomes_that_do_not_exist_are_found_before_any_job(project, config, tracks, message):
    plan = project(config, tracks=tracks)
    with pytest.raises(InputError) as caught:
        checks.check_chromosomes(plan, "c.yaml", ["chr2", "chr3"])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("path", ["resources/demo/../../genome.fa", "resources/demo/../demo/genome.fa"])
def test_a_path_through_the_folder_of_the_demo_is_refused(project, path):
    plan = project({"genome": {"fasta": path}, "evaluate": {"truth": "resources/demo/truth"}})
    with pytest.raises(InputError, match="genome.fa: the simulation makes no such file"):
        checks.check_simulated(plan, {"resources/demo/": demo_files()})


def test_a_misspelt_file_of_the_demo_is_found(project):
    plan = project(
        {"genome": {"fasta": "resources/demo/genom.fa"}, "evaluate": {"truth": "resources/demo/truth"}}
    )
    with pytest.raises(
        InputError,
        match="genom.fa: the simulation makes no such file; did you mean resources/demo/genome.fa?",
    ):
        checks.check_simulated(plan, {"resources/demo/": demo_files()})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_names_of_a_fasta(tmp_path, monkeypatch, packed, block):
    monkeypatch.setattr(chromosomes, "BLOCK", block)
    fasta, kept = tmp_path / "g.fa", tmp_path / "kept.json"
    text = b">chr1 x\nAC>GT\nAC\n>HLA-A*01:01\nAC\n>2\nA"
    fasta.write_bytes(gzip.compress(text) if packed else text)
    names = ["chr1", "HLA-A*01:01", "2"]
    assert chromosomes.fasta_names(fasta, kept) == names
    monkeypatch.setattr(chromosomes, "_read_names", None)  # not read again
    assert chromosomes.fasta_names(fasta, kept) == names
    (tmp_path / "g.fa.fai").write_text("chrI\t5\t6\t60\t61\n")
    assert chromosomes.fasta_names(fasta, kept) == ["chrI"]
    assert chromosomes.fasta_names(tmp_path / "none.fa", kept) is None


def test_names_of_a_fasta_packed_with_zstd_are_not_known(tmp_path):
    path = tmp_path / "x.fa.zst"
    path.write_bytes(pa.compress(b">chr1\nACGT\n" * 3, "zstd", asbytes=True) + b"\n>x\n")
    assert chromosomes.fasta_names(path, tmp_path / "names.json") is None


def test_names_of_a_fasta_damaged_inside_are_not_known(tmp_path):
    (tmp_path / "x.fa.gz").write_bytes(gzip.compress(b">chr1\nACGT\n" * 99)[:20] + b"\xff" * 20)
    assert chromosomes.fasta_names(tmp_path / "x.fa.gz", tmp_path / "names.json") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("splits:\n  test: [*:chr4]\n", "c.yaml, line 2, column 11: not valid YAML"),
        ("a: 1\n\tb: 2\n", "c.yaml, line 2, column 1: not valid YAML"),
        ("- a\n", "c.yaml: no keys in it"),
        (
            "a:\n  b: 1\nc: 2\na:\n  d: 3\n",
            "c.yaml, line 4, column 1: key a is also in line 1; write both parts",
        ),
        ("a:\n  b: 1\n  b: 1\n", "c.yaml, line 3, column 3: key b is also in line 2"),
        (
            "a: 1\t\t# one\n",
            "c.yaml, line 1, column 5: not valid YAML",
        ),  # libyaml accepts it, Snakemake does not
        (
            "a: 2001-13-45\n",
            "c.yaml: not valid YAML (month must be in 1..12); write text that looks like a date",
        ),
        ("a: 0x_\n", "c.yaml: not valid YAML"),
        ("a: !!timestamp x\n", "c.yaml: not valid YAML"),
        ("a: !!python/tuple [1]\n", "c.yaml, line 1, column 4: not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "c.yaml, line 1, column 4: not valid YAML"),
        (f"a: {'9' * 5000}\n", "c.yaml: not valid YAML"),
        (f"a: {'[' * 5000}\n", "c.yaml: not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_refused_with_line_and_column(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        yamlfile.check_yaml(tmp_path / "c.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_configuration_in_json_is_read(tmp_path):
    (tmp_path / "c.yaml").write_text('{\n\t"a": {"b": 1}\n}\n')
    yamlfile.check_yaml(tmp_path / "c.yaml")


def test_a_configuration_that_cannot_be_opened_is_refused(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("a: 1\n")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refused)
    with pytest.raises(InputError, match="c.yaml: cannot be read .Permission denied.; check"):
        yamlfile.check_yaml(tmp_path / "c.yaml")


def test_numbers_without_a_value_and_endless_sections_are_refused(project):
    for value in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="key peaks.qvalue: .* is no value; give a finite number"):
            project({"peaks": {"qvalue": value}})
    with pytest.raises(InputError, match=r"key demo.chromosome_mb\[1\]: nan is no value"):
        project({"demo": {"chromosome_mb": [1.0, float("nan")]}})
    endless = {}
    endless["a"] = endless
    with pytest.raises(InputError, match="key peaks.a.a: a section holds itself"):
        project({"peaks": endless})


def test_fields_of_any_length_are_refused_in_one_short_line(project):
    long = "x" * 300_000
    for texts in (
        {"tracks": f"cell_line,path,format\nA,{long},insertions\n"},
        {"tracks": f"cell_line\tpath\tformat\t{long}\nA\ta.bw\tinsertions\t\n"},
        {"tracks": f"cell_line\tpath\tformat\tregion\nA\ta.bw\tinsertions\tchr1:0-{'9' * 5000}\n"},
        {"tracks": "cell_line\tpath\tformat\nA\ta\0.bw\tinsertions\n"},
    ):
        with pytest.raises(InputError, match="tracks.tsv, ") as caught:
            project(**texts)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 2500


def test_a_sheet_that_cannot_be_opened_is_refused(project, tmp_path):
    (tmp_path / "loop.tsv").symlink_to("loop.tsv")
    for name in ("loop.tsv", "a\0.tsv", "x" * 300):
        with pytest.raises(InputError, match=r"cannot be read \(.*\); correct sheets.chip in the config"):
            project({"sheets": {"chip": name}})


def test_a_command_names_the_line_of_a_file_that_snakemake_only_refuses(tmp_path):
    (tmp_path / "c.yaml").write_text("a: 1\nb: [*:chr4]\n")
    command = [sys.executable, "-m", "scbind.plan.yamlfile", str(tmp_path / "c.yaml")]
    environment = os.environ | {"PYTHONPATH": str(Path(settings.__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "c.yaml, line 2, column 6: not valid YAML" in done.stderr


def test_barcodes_are_not_ignored_before_quality_control_unless_a_list_says_which_are_cells(project):
    problem = r"key cells.min_barcode: 100 is above cells.min_fragments \(5\).*; set it to 5 or less"
    samples = "sample\tpath\tformat\tbarcodes\ns1\tf.tsv.gz\tfragments\t"
    with pytest.raises(InputError, match=problem):
        project(config={"cells": {"min_fragments": 5}}, samples=samples + "\n")
    project(config={"cells": {"min_fragments": 5, "min_barcode": 5}}, samples=samples + "\n")
    project(config={"cells": {"min_fragments": 5}}, samples=samples + "ctcf.bed\n")
    for assay in settings.ASSAYS:
        project(config={"cells": {"assay": assay}}, samples=samples + "\n")


def test_a_missing_bundle_names_the_way_to_several_analyses(project):
    with pytest.raises(InputError, match=r"with --directory, link resources/models of scbind .*your-data.md"):
        project(config={"models": {"m": {"bundle": "resources/models/starter.scbind.zip"}}})


def test_harmony_by_donor_needs_the_donor_of_every_sample(project):
    donors = "sample\tpath\tformat\tdonor\ns1\tf.tsv.gz\tfragments\td1\ns2\tf2.tsv.gz\tfragments\t{}\n"
    config = {"cells": {"harmony": "donor"}}
    assert project(config, samples=donors.format("d2")).samples["s2"]["donor"] == "d2"
    with pytest.raises(
        InputError, match="samples.tsv, column donor: sample s2 has no donor, but .* donor; fill"
    ):
        project(config, samples=donors.format(""))
    samples = donors.format("").replace("d1", "s2")  # two donors, or one?
    with pytest.raises(
        InputError, match="s2 has no donor, but is called like the donor of another sample; fill"
    ):
        project({}, samples=samples)
    assert project({}, samples=donors.format("")).samples["s2"]["donor"] is None


@pytest.mark.parametrize(
    ("part", "rule", "message"),
    [
        ("test", "chr4", "key splits.test: 'chr4' is not LINE:CHROM"),
        ("valid", f"*:chr1:5-{'9' * 5000}", "key splits.valid: '*:chr1:5-999"),
        ("valid", "*:chr1:5-", "key splits.valid: '*:chr1:5-' is not LINE:CHROM"),
        (
            "valid",
            "LINE_B:chr2",
            "key splits.valid[0]: 'LINE_B:chr2' overlaps '*:chr2' of splits.test; make the",
        ),
        ("test", "LINE_A:*", "key splits.valid[0]: 'LINE_A:chr1' overlaps 'LINE_A:*' of splits.test"),
        ("train", "*:*", "key splits.train[0]: '*:*' overlaps '*:chr2' of splits.test"),
        ("train", "LINE_X:*", "key splits.train: no cell line 'LINE_X'; use one of LINE_A"),
    ],
)
def test_rules_of_splits_are_checked_before_anything_runs(part, rule, message):
    splits = {"test": ["*:chr2"], "valid": ["LINE_A:chr1"], "train": None} | {part: [rule]}
    with pytest.raises(InputError) as refused:
        checks.check_splits(splits, ["LINE_A", "LINE_B"], "config.yaml")
    assert str(refused.value).startswith(f"config.yaml, {message}")
    checks.check_splits({"test": ["*:chr2:1-5"], "valid": ["LINE_B:*"], "train": None}, ["LINE_B"], "c")


def test_a_quoted_field_after_a_space_is_one_field(tmp_path):
    path = tmp_path / "sources.csv"
    path.write_text('name, url, note\na.txt, https://x.org/a, "one, two"\n')
    ((_, row),) = sheetrows.read_table(path, "sources")
    assert (row["name"], row["note"]) == ("a.txt", "one, two")


def test_rows_in_another_order_are_the_same_plan(project):
    rows = {
        "tracks": (TRACKS, "A\tb2.bw\tinsertions\nB\tsub/b.bw\tinsertions\n"),
        "chip": (CHIP, "A\tSPI1\tctcf.bed\n"),
        "samples": (SAMPLES, "s0\tf2.tsv.gz\tfragments\n"),
    }
    plan = project(**{name: first + more for name, (first, more) in rows.items()})
    turned = {}
    for name, (first, more) in rows.items():
        header, *lines = (first + more).splitlines(keepends=True)
        turned[name] = header + "".join(reversed(lines))
    other = project(**turned)
    for name in rows:
        assert json.dumps(getattr(other, name)) == json.dumps(getattr(plan, name)), name


def test_keys_in_another_order_are_the_same_configuration():
    """A rule compares what it is given as text. Only the first of the models is told apart."""

    def turned(part):
        return {key: turned(part[key]) for key in reversed(part)} if isinstance(part, dict) else part

    given = CONFIG | {"motifs": {"aliases": {"A": "B", "C": "D"}}, "dataset": {"step": 100, "window": 200}}
    assert json.dumps(settings.check_config(turned(given))) == json.dumps(settings.check_config(given))
    two = CONFIG | {"models": {"b": {}, "a": {}}, "infer": {"model": "a"}}
    assert list(settings.check_config(two)["models"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("model", "more", "says"),
    [
        ({"motif_tfs": ["GATA1", "ctcf"]}, {}, "ctcf has ChIP-seq in the sheet"),
        ({"motif_tfs": ["GATA1", "Gata1"]}, {}, "Gata1 is listed twice"),
        ({"motif_tfs": "all", "architecture": "scfan"}, {}, "scfan predicts only TFs with ChIP-seq"),
        ({"motif_tfs": "all"}, {"motifs": {"release": None}}, "no motif is known"),
        ({"motif_tfs": "all", "motifs": False}, {}, "knows no matrix of the release"),
        (
            {"motif_tfs": ["PU.1", "SPI1"]},
            {"motifs": {"aliases": {"Pu.1": "Spi1"}}},
            "by motifs.aliases, PU.1 takes the same matrix as SPI1, which is in the list, too",
        ),
        (
            {"motif_tfs": ["LEF1", "TCF7"]},
            {"motifs": {"aliases": {"TCF7": "LEF1"}}},
            "by motifs.aliases, TCF7 takes the same matrix as LEF1, which is in the list, too; remove one of them",
        ),
        (
            {"motif_tfs": ["RAD21"]},
            {"motifs": {"aliases": {"RAD21": "CTCF"}}},
            "by motifs.aliases, RAD21 takes the same matrix as CTCF, which has ChIP-seq",
        ),
        (
            {"motif_tfs": ["RAD21"]},
            {"motifs": {"aliases": {"CTCF": "SPI1", "RAD21": "SPI1"}}},
            "by motifs.aliases, RAD21 takes the same matrix as CTCF, which has ChIP-seq",
        ),
        (
            {},
            {"evaluate": {"left_out_tfs": 2}},
            "no model that is trained here can predict TFs without ChIP-seq",
        ),
        (
            {"motif_tfs": "all"},
            {"evaluate": {"left_out_tfs": 1}},
            "key evaluate.left_out_tfs: 1 is not one of the choices; use one of: 0, 2 or more",
        ),
        (
            {"motif_tfs": "GATA1"},
            {},
            "motif_tfs: 'GATA1' is not one of the choices; use one of: none, all, a list, such as",
        ),
        ({"bundle": STARTER, "motif_tfs": ["GATA1", "gata1"]}, {}, "gata1 is listed twice"),
        (
            {"motif_tfs": ["GATA1", "Etv1/4/5"]},
            {},
            "key models.m.motif_tfs: 'Etv1/4/5' cannot be part of a file name; write Etv1-4-5 here, and name its motif "
            "in motifs.aliases: {Etv1-4-5: 'Etv1/4/5'}",
        ),
        ({"motif_tfs": "all", "options": {"strangers": 0}}, {}, "strangers is 0"),
        (
            {"extends": STARTER, "architecture": "scfan"},
            {},
            "key models.m.extends: scfan cannot extend a model; use the architecture scbind",
        ),
        (
            {"extends": STARTER, "options": {"units": 8, "members": 1}},
            {},
            "key models.m.options.members: a model that extends another one has the options of its network",
        ),
        (
            {"extends": STARTER},
            {"evaluate": {"left_out_tfs": 2}},
            "key evaluate.left_out_tfs: the training of the model that m extends may have seen the TFs",
        ),
        (
            {"extends": STARTER, "bundle": STARTER},
            {},
            "key models.m.extends: has no effect on a model that is given by a bundle",
        ),
        (
            {"extends": STARTER},
            {"dataset": {"window": 100}},
            "reads windows of 200 in 1000 bp, this run has 100",
        ),
        ({"extends": "nowhere.scbind.zip"}, {}, "key models.m.extends: "),
        ({"extends": __file__}, {}, "test_sheets.py: not a bundle, or cut off"),
        ({"extends": STARTER, "motif_tfs": ["GATA1", "ctcf"]}, {}, "ctcf has ChIP-seq in the sheet"),
    ],
)
def test_motif_tfs_that_cannot_be_predicted_are_refused(project, model, more, says):
    with pytest.raises(InputError, match=says):
        project(CONFIG | more | {"models": {"m": model}})


def test_a_tf_whose_matrix_an_assayed_tf_takes_can_be_listed(project):
    project(CONFIG | {"motifs": {"aliases": {"CTCF": "SPI1"}}, "models": {"m": {"motif_tfs": ["SPI1"]}}})


def test_symbols_of_other_case_are_other_tfs_in_insects(project):
    project(CONFIG | {"motifs": {"taxon": "insects"}, "models": {"m": {"motif_tfs": ["brk", "Brk", "ctcf"]}}})


@pytest.mark.parametrize(
    ("model", "tf", "says"),
    [
        (
            {"bundle": STARTER},
            "NOPE",
            r"key explain\[0\]: no TF 'NOPE' in the model m of .*starter.scbind.zip; use one of ATF3",
        ),
        ({"bundle": STARTER}, "spi1", "did you mean SPI1"),
        ({"bundle": STARTER, "motif_tfs": ["TCF7"]}, "TCF8", "did you mean TCF7"),
        ({"bundle": STARTER}, "SPI1", None),
        ({"bundle": STARTER, "motif_tfs": ["TCF7"]}, "TCF7", None),
        ({"bundle": STARTER, "motif_tfs": "all"}, "TCF7", None),  # the release is not read in the plan
        ({"bundle": "https://x.org/not_there_yet.zip"}, "NOPE", None),
        ({}, "SPI1", "no TF 'SPI1' in chip.tsv or models.m.motif_tfs; use one of CTCF"),
        ({"motif_tfs": ["SPI1"]}, "SPI1", None),
        ({}, "CTCF", None),
    ],
)
def test_a_tf_to_explain_that_the_model_lacks_is_refused_in_the_plan(project, model, tf, says):
    question = {"locus": "chr1:1000-1200", "tf": tf, "cell_type": "b_cell"}
    config = CONFIG | {"models": {"m": model}, "infer": {"model": "m"}, "explain": [question]}
    if says is None:
        assert project(config).config["explain"] == [question]
    else:
        with pytest.raises(InputError, match=says):
            project(config)
