import platform
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from scbind.plan import digests, provenance, versions


def test_record_writes_what_was_used(tmp_path):
    sheet, data = tmp_path / "tracks.tsv", tmp_path / "data"
    sheet.write_text("cell_line\tpath\nA\tx\n")
    data.mkdir()
    (data / "b.txt").write_text("abc")
    (data / "a.txt").write_text("")
    names = ("config.yaml", "sheets.tsv", "environments.tsv", "digests.tsv", "inputs.tsv")
    out = [tmp_path / "provenance" / name for name in names]
    environments = {"train_model": "train", "bulk_peaks": "peaks"}
    config = {"seed": 1, "a": {"b": None}}
    provenance.record(config, {"tracks": str(sheet)}, environments, [str(data), str(data)], *out)
    assert yaml.safe_load(out[0].read_text()) == config
    assert 'tracks\t2\t"A\tx"' in out[1].read_text()
    assert out[2].read_text() == "rule\tenvironment\nbulk_peaks\tpeaks\ntrain_model\ttrain\n"
    assert "peaks.macs3\t" + digests.source_digest("peaks.macs3") in out[3].read_text().splitlines()
    assert out[4].read_text().splitlines() == [
        "path\tbytes\tsha256",
        f"{data}/a.txt\t0\te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        f"{data}/b.txt\t3\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_sheets_are_recorded_in_any_encoding_that_planning_reads(tmp_path, encoding):
    sheet = tmp_path / "samples.tsv"
    sheet.write_bytes("sample\tnote\r\ns1\tM\xfcller\r\n".encode(encoding))
    out = [tmp_path / name for name in "abcde"]
    provenance.record({}, {"samples": str(sheet)}, {}, [], *out)
    assert out[1].read_text().splitlines()[1:] == [
        'samples\t1\t"sample\tnote"',
        'samples\t2\t"s1\tM\xfcller"',
    ]


def test_versions_are_those_of_the_environment_that_runs(tmp_path):
    """A job of a conda environment sees the packages of Snakemake's environment behind its own."""
    venv.create(tmp_path / "env")
    bare = tmp_path / "env/lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for folder, version in ((bare, "1.0"), (tmp_path / "snakemake", "2.0")):
        for name in ("both", folder.name.replace("-", "")):
            info = folder / f"{name}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (tmp_path / "env/conda-meta").mkdir()
    (tmp_path / "env/conda-meta/htslib-1.23-h0.json").write_text('{"name": "htslib", "version": "1.23"}')
    places = [str(tmp_path / "snakemake"), str(digests.PACKAGE.parent)]
    code = f"import sys; sys.path.extend({places}); from scbind.plan import versions; "
    code += f"versions.record_versions({str(tmp_path / 'out.tsv')!r})"
    subprocess.run([tmp_path / "env/bin/python", "-c", code], check=True)
    found = dict(line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines())
    assert found["environment"] == str(tmp_path / "env") and found["python"] == platform.python_version()
    assert (found["both"], found["sitepackages"], found["conda:htslib"]) == ("1.0", "1.0", "1.23")
    assert "snakemake" not in found
    assert versions.list_versions()["pytest"] == pytest.__version__


def test_only_stated_rows_of_the_versions_depend_on_the_folder_or_the_machine(monkeypatch):
    before = versions.list_versions()
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    monkeypatch.setattr(platform, "platform", lambda: "another")
    after = versions.list_versions()
    differ = [name for name in after if after[name] != before[name]]
    assert differ == ["environment", "platform"]
    stated = (Path(__file__).parents[2] / "docs/reference/outputs.md").read_text()
    assert f"`provenance/versions/*.tsv` is an exception: its rows `{'` and `'.join(differ)}`" in stated


def test_the_record_has_no_password(tmp_path):
    sheet = tmp_path / "sources.tsv"
    sheet.write_text("name\turl\na\thttps://me:hunter2@x.org/a?sig=hunter2\n")
    out = [tmp_path / name for name in "abcde"]
    provenance.record({"fasta": "https://me:hunter2@x.org/a"}, {"sources": str(sheet)}, {}, [], *out)
    assert not [path for path in out if "hunter2" in path.read_text()]
    assert "https://***@x.org/a?sig=***" in out[1].read_text()
