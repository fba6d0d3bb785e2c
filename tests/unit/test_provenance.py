import pytest
import yaml
from scbind.plan import digests, provenance


def test_record_writes_what_was_used(tmp_path):
    sheet, data = tmp_path / "tracks.tsv", tmp_path / "data"
    sheet.write_text("cell_line\tpath\nA\tx\n")
    data.mkdir()
    (data / "b.txt").write_text("abc")
    (data / "a.txt").write_text("")
    names = ("config.yaml", "sheets.tsv", "versions.tsv", "digests.tsv", "inputs.tsv")
    out = [tmp_path / "provenance" / name for name in names]
    provenance.record({"seed": 1, "a": {"b": None}}, {"tracks": str(sheet)}, [str(data), str(data)], *out)
    assert yaml.safe_load(out[0].read_text()) == {"seed": 1, "a": {"b": None}}
    assert 'tracks\t2\t"A\tx"' in out[1].read_text()
    versions = dict(line.split("\t", 1) for line in out[2].read_text().splitlines())
    assert versions["python"].startswith("3.") and versions["pytest"] == pytest.__version__
    assert "peaks.macs3\t" + digests.source_digest("peaks.macs3") in out[3].read_text().splitlines()
    assert out[4].read_text().splitlines() == [
        "path\tbytes\tsha256",
        f"{data}/a.txt\t0\te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        f"{data}/b.txt\t3\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ]
