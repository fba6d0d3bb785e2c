"""The record of the runs in a folder."""

import re

from scbind import __version__
from scbind.plan.runrecord import command_line, note_event


def test_each_run_has_a_start_and_an_end_with_its_command(tmp_path):
    record = tmp_path / "logs/runs.tsv"
    arguments = ["/home/me/bin/snakemake", "--cores", "8", "--config", "sheets={samples: a b.tsv}"]
    note_event("started", arguments, record)
    note_event("failed", arguments, record)
    head, first, last = record.read_text().splitlines()
    assert head == "time\tevent\tscbind\tcommand"
    command = "snakemake --cores 8 --config 'sheets={samples: a b.tsv}'"
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ\tstarted\t{re.escape(__version__)}\t.*", first)
    assert [line.split("\t")[1:] for line in (first, last)] == [
        ["started", __version__, command], ["failed", __version__, command],
    ]  # fmt: skip


def test_no_password_and_no_line_break_gets_into_the_record(tmp_path):
    text = command_line(
        ["snakemake", "--storage-s3-secret-key", "abc", "--storage-s3-access-key=def", "all", "--config",
         "x=https://me:pass@x.org/a", "y=1\t2\n3"]
    )  # fmt: skip
    assert not re.search("abc|def|pass@", text) and text.isprintable()
    assert "--storage-s3-access-key=*** all --config" in text


def test_a_record_that_cannot_be_written_does_not_stop_the_run(tmp_path):
    (tmp_path / "logs").write_text("a file")
    note_event("started", ["snakemake"], tmp_path / "logs/runs.tsv")
