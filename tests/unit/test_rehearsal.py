"""The made-up publisher of `benchmarks/rehearsal.py`: its files are what scbind reads, and hold what they should."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from scbind.bulk.ends import READERS
from scbind.formats.fragments import iter_fragments
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_bed, read_peaks
from scbind.reference.prepare import prepare_reference

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HG38 = 3_209_286_105  # bases of the 455 contigs


@pytest.fixture
def publisher(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from rehearsal_data import Publisher, Shape

    yield Publisher(Shape(scale=0.0005, pairs=6_000, tfs=3, cells=40, fragments=100), tmp_path / "published")
    for name in ("rehearsal", "rehearsal_data"):
        sys.modules.pop(name, None)


def test_contigs_are_those_of_hg38(publisher):
    rows = [line.split("\t") for line in (BENCHMARKS / "hg38.chrom.sizes").read_text().splitlines()]
    assert len(dict(rows)) == 455 and sum(int(length) for _, length in rows) == HG38
    assert list(publisher.lengths) == [name for name, _ in rows] and publisher.lengths["chrM"] == 16_569


def test_files_are_read_and_agree_with_each_other(publisher, tmp_path):
    made = {name: publisher.make(name) for name in publisher.files}
    reference = tmp_path / "reference"
    outputs = [reference / name for name in ("genome.fa.gz", "chrom.sizes", "sequence.npy", "exclude.bed")]
    prepare_reference(made["hg38.fa.gz"], *outputs, made["hg38.exclude.bed.gz"])
    sizes = ChromSizes.read(outputs[1])
    assert sizes.as_dict() == publisher.lengths
    assert len(read_genes(made["gencode.gtf.gz"], sizes)) > 20

    cuts = {
        name: np.concatenate(ends[:2]) for name, ends in READERS["bam"](made["K562.ATAC.bam"], sizes, None)
    }
    with pysam.AlignmentFile(str(made["K562.ATAC.bam"])) as bam:
        reads = list(bam)
    assert "chrEBV" in {read.reference_name for read in reads} and "chrEBV" not in cuts
    assert {1024, 4} <= {read.flag & 1028 for read in reads}  # duplicates and unmapped reads
    # The reads are dense where the line has peaks.
    peaks = read_peaks(made["K562.CTCF.bed.gz"], sizes)
    inside = sum(
        np.sum((cuts[chrom] >= start) & (cuts[chrom] < end))
        for chrom, start, end in peaks[["chrom", "start", "end"]].itertuples(index=False)
        if chrom in cuts
    )
    expected = (peaks["end"] - peaks["start"]).sum() / sizes.lengths.sum()
    assert inside / sum(map(len, cuts.values())) > 3 * expected > 0

    cells = pd.concat(iter_fragments(made["cells.fragments.tsv.gz"], sizes))
    labels = pd.read_csv(made["cells.labels.tsv"], sep="\t")
    assert 3_000 < len(cells) < 5_000 and labels["barcode"].isin(cells["barcode"]).mean() > 0.9
    assert len(read_bed(made["hg38.exclude.bed.gz"], sizes)) > 500


def test_the_same_seed_gives_the_same_bytes(publisher, tmp_path):
    from rehearsal_data import Publisher, md5

    again = Publisher(publisher.shape, tmp_path / "again")
    for name in ("K562.ATAC.bam", "HepG2.CTCF.bed.gz"):
        assert md5(publisher.make(name)) == md5(again.make(name))


def test_the_table_sums_the_jobs_of_a_rule(publisher, tmp_path, capsys, monkeypatch):
    import rehearsal

    logs = tmp_path / "run/logs/bulk_track"
    logs.mkdir(parents=True)
    for line, values in {
        "A": "10\t0:00:10\t100\t1\t80\t1\t1\t1\t1\t9",
        "B": "-\t-\t-\t-\t-\t-\t-\t-\t-\tNA",
    }.items():
        header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
        (logs / f"{line}.benchmark.tsv").write_text(header + values + "\n")
    monkeypatch.setattr(rehearsal, "written_by_rule", lambda run: {"bulk_track": 2_000_000_000})
    monkeypatch.setattr(
        sys, "argv", ["rehearsal.py", str(tmp_path), "--table-only", "--cores", "1", "--", "-n"]
    )
    rehearsal.main()
    assert "| bulk_track | 2 | 10 | 10 | 9 | 100 | 80 | 2.00 |" in capsys.readouterr().out
