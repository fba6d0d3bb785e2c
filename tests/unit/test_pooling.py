"""Fragments of samples cut into types, and types merged over samples."""

import gzip
import os
import resource
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pysam
import pytest
from scbind.core.errors import InputError
from scbind.formats.fragments import iter_fragments
from scbind.formats.genome import ChromSizes
from scbind.peaks import pooling, replicates, splitting
from scbind.peaks.coverage import coverage_track
from scbind.peaks.macs3 import call_replicate_peaks
from scbind.peaks.pooling import merge_pieces
from scbind.peaks.replicates import CallOptions, make_replicates
from scbind.peaks.splitting import split_sample

SIZES = ChromSizes(("chr2", "chr1"), np.array([1000, 2000]))


@pytest.fixture
def sizes_path(tmp_path):
    path = tmp_path / "chrom.sizes"
    path.write_text("chr2\t1000\nchr1\t2000\n")
    return path


def cells(tmp_path, sample, types, n_fragments=1):
    """Barcode -> cell type, None where the cell does not pass."""
    obs = pd.DataFrame(
        {"barcode": list(types), "cell_type": pd.Categorical([kind or "x" for kind in types.values()])}
    )
    obs = obs.assign(sample=sample, n_fragments=n_fragments)
    obs["pass"] = [kind is not None for kind in types.values()]
    obs.index = [f"{sample}#{barcode}" for barcode in types]
    path = tmp_path / f"{sample}.h5ad"
    anndata.AnnData(obs=obs).write_h5ad(path)
    return path


def table(tmp_path, rows):
    """Rows are (cell type, slug, status, merged into)."""
    path = tmp_path / "types.tsv"
    pd.DataFrame(rows, columns=["cell_type", "slug", "status", "merged_into"]).to_csv(
        path, sep="\t", index=False
    )
    return path


def text(tmp_path, name, lines):
    path = tmp_path / f"{name}.tsv"
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    return path


FIRST = [("chr1", 10, 60, "A", 1), ("chr1", 20, 90, "B", 1), ("chr1", 30, 90, "C", 1)]
FIRST += [("chr1", 30, 80, "A", 2), ("chr2", 5, 9, "A", 1)]
SECOND = [("chr1", 20, 50, "A", 1), ("chr1", 30, 80, "A", 1), ("chr1", 40, 80, "D", 1)]


@pytest.fixture
def pieces(tmp_path, sizes_path):
    types = table(
        tmp_path, [("T cell", "T_cell", "own", ""), ("B", "B", "own", ""), ("D", "D", "skipped", "")]
    )
    for name, lines, kinds in [
        ("s1", FIRST, {"A": "T cell", "B": "B", "C": None}),
        ("s2", SECOND, {"A": "T cell", "D": "D"}),
    ]:
        path = text(tmp_path, name, lines)
        split_sample(path, cells(tmp_path, name, kinds), types, sizes_path, tmp_path / "pieces" / name)
    return tmp_path / "pieces"


def test_fragments_of_a_type_are_gathered_sorted_and_indexed(tmp_path, sizes_path, pieces):
    output = tmp_path / "out" / "fragments.tsv.gz"
    merge_pieces([pieces / "s1/T_cell.parquet", pieces / "s2/T_cell.parquet"], sizes_path, output)
    assert gzip.open(output, "rt").read() == (
        "chr2\t5\t9\ts1#A\t1\nchr1\t10\t60\ts1#A\t1\nchr1\t20\t50\ts2#A\t1\n"
        "chr1\t30\t80\ts1#A\t2\nchr1\t30\t80\ts2#A\t1\n"
    )
    with pysam.TabixFile(str(output)) as handle:
        assert len(list(handle.fetch("chr1", 55, 100))) == 3
    assert sum(len(frame) for frame in iter_fragments(output, SIZES)) == 5
    assert sorted(file.name for file in output.parent.iterdir()) == [
        "fragments.tsv.gz",
        "fragments.tsv.gz.tbi",
    ]


def test_each_sample_has_a_piece_per_pooled_type(pieces):
    assert sorted(str(path.relative_to(pieces)) for path in pieces.rglob("*.parquet")) == [
        "s1/B.parquet",
        "s1/T_cell.parquet",
        "s2/T_cell.parquet",
    ]


def test_merged_types_go_to_their_target(tmp_path, sizes_path):
    types = table(tmp_path, [("x", "x", "own", ""), ("y", "y", "merged", "x"), ("z", "z", "skipped", "")])
    path = cells(tmp_path, "s", {"A": "x", "B": "y", "C": "z"})
    lines = [("chr1", 1, 5, name, 1) for name in "ABC"]
    split_sample(text(tmp_path, "s", lines), path, types, sizes_path, tmp_path / "p")
    assert [file.name for file in (tmp_path / "p").iterdir()] == ["x.parquet"]
    merge_pieces([tmp_path / "p/x.parquet"], sizes_path, tmp_path / "x.gz")
    assert gzip.open(tmp_path / "x.gz", "rt").read() == "chr1\t1\t5\ts#A\t1\nchr1\t1\t5\ts#B\t1\n"


@pytest.mark.parametrize(("rows", "chunk"), [(3, 200), (7, 900), (1000, 1 << 20)])
def test_any_block_size_gives_the_same_bytes(tmp_path, sizes_path, monkeypatch, rows, chunk):
    rng = np.random.default_rng(4)
    kinds = {f"B{i}": None if i > 27 else "xyz"[i % 3] for i in range(30)}
    types = table(tmp_path, [(name, name, "own", "") for name in "xyz"])
    monkeypatch.setattr(splitting, "ROWS", rows)
    monkeypatch.setattr(splitting, "iter_fragments", lambda path, sizes: iter_fragments(path, sizes, chunk))
    expected = {name: [] for name in "xyz"}
    for sample in ("s1", "s10", "s2"):
        # Few starts, so that many fragments share one, also across blocks; chr1 first, unlike the genome.
        start = np.sort(rng.integers(0, 40, 120))
        lines = [
            (chrom, int(s), int(s) + int(w), f"B{b}", 1)
            for chrom in ("chr1", "chr2")
            for s, w, b in zip(start, rng.integers(1, 9, 120), rng.integers(0, 30, 120), strict=True)
        ]
        for chrom, low, high, barcode, count in lines:
            if kinds[barcode]:
                expected[kinds[barcode]].append((chrom != "chr2", low, high, f"{sample}#{barcode}", count))
        split_sample(
            text(tmp_path, sample, lines),
            cells(tmp_path, sample, kinds),
            types,
            sizes_path,
            tmp_path / "p" / sample,
        )
    for name in "xyz":
        output = tmp_path / f"{name}.gz"
        parts = [tmp_path / "p" / sample / f"{name}.parquet" for sample in ("s1", "s10", "s2")]
        merge_pieces(parts, sizes_path, output)
        wanted = "".join(
            f"{'chr1' if late else 'chr2'}\t{low}\t{high}\t{barcode}\t{count}\n"
            for late, low, high, barcode, count in sorted(expected[name])
        )
        assert gzip.open(output, "rt").read() == wanted
        first = output.read_bytes()
        merge_pieces(parts, sizes_path, output)
        assert output.read_bytes() == first


def test_merging_reads_a_block_of_each_piece_at_a_time(monkeypatch):
    """However long the streams are, what is held is what overlaps: nothing is read far ahead."""
    ahead = []

    def stream(number):
        for low in range(0, 1000, 10):
            read[number] = low + 10
            ahead.append(max(read) - min(read))
            yield np.array([range(low, low + 10)] * 4, dtype=np.int32)

    read = [0, 0, 0]
    blocks = list(pooling._merged([stream(number) for number in range(3)]))
    assert max(ahead) <= 20
    assert max(block.shape[1] for block in blocks) <= 60
    assert np.array_equal(np.concatenate(blocks, axis=1)[0], np.repeat(np.arange(1000), 3))


def test_split_refusals_leave_nothing(tmp_path, sizes_path):
    types = table(tmp_path, [("T", "T", "own", "")])
    good, stranger = cells(tmp_path, "s1", {"A": "T"}), cells(tmp_path, "s3", {"Z-1": "T"})
    cases = [
        (
            text(tmp_path, "f", FIRST),
            stranger,
            "f.tsv: cells of 'T' have no fragments in it; check that barcodes",
        ),
        (text(tmp_path, "u", [("chr1", 9, 20, "A", 1), ("chr1", 3, 9, "A", 1)]), good, "not sorted"),
    ]
    for fragments, path, message in cases:
        with pytest.raises(InputError, match=message):
            split_sample(fragments, path, types, sizes_path, tmp_path / "out" / "p")
        assert list((tmp_path / "out").iterdir()) == []


def test_a_sample_of_three_cells_one_of_them_without_fragments(tmp_path, sizes_path):
    types = table(tmp_path, [("T", "T", "own", ""), ("B", "B", "own", "")])
    path = cells(tmp_path, "s", {"A": "T", "B": "T", "E": "B"}, n_fragments=[1, 1, 0])
    split_sample(text(tmp_path, "f", FIRST), path, types, sizes_path, tmp_path / "p")
    merge_pieces([tmp_path / "p/T.parquet"], sizes_path, tmp_path / "t.gz")
    assert len(gzip.open(tmp_path / "t.gz").readlines()) == 4
    merge_pieces([tmp_path / "p/T.parquet", tmp_path / "p/B.parquet"], sizes_path, tmp_path / "both.gz")
    assert (tmp_path / "both.gz").read_bytes() == (tmp_path / "t.gz").read_bytes()


def test_what_is_no_piece_is_refused(tmp_path, sizes_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(InputError, match=r"x.parquet: not readable \(.*\); split the sample again"):
        merge_pieces([tmp_path / "x.parquet"], sizes_path, tmp_path / "o" / "f.gz")
    with pytest.raises(InputError, match="no such file; split the sample again"):
        merge_pieces([tmp_path / "none.parquet"], sizes_path, tmp_path / "o" / "f.gz")
    assert not (tmp_path / "o").exists()


def test_a_piece_with_damaged_pages_is_refused(tmp_path, sizes_path):
    types, path = table(tmp_path, [("T", "T", "own", "")]), cells(tmp_path, "s", {"A": "T"})
    split_sample(text(tmp_path, "f", FIRST), path, types, sizes_path, tmp_path / "p")
    piece = tmp_path / "p/T.parquet"
    data = piece.read_bytes()
    piece.write_bytes(data[:8] + b"\xff" * 40 + data[48:])
    with pytest.raises(InputError, match=r"^\S+T.parquet: not readable \(.*\); split the sample again$"):
        merge_pieces([piece], sizes_path, tmp_path / "t.gz")
    assert not list(tmp_path.glob("*t.gz*"))


@pytest.mark.parametrize("step", ["split", "merge"])
def test_a_full_disk_leaves_no_partial_output(tmp_path, sizes_path, step):
    rng = np.random.default_rng(0)
    starts = np.sort(rng.integers(0, 1500, 60_000)).tolist()
    lines = [("chr1", low, low + 1 + low * 7919 % 397, "A", 1) for low in starts]
    types, path = table(tmp_path, [("T", "T", "own", "")]), cells(tmp_path, "s", {"A": "T"})
    source, folder = text(tmp_path, "f", lines), tmp_path / "p"
    calls = {
        "split": f"split_sample({str(source)!r}, {str(path)!r}, {str(types)!r}, {str(sizes_path)!r}, "
        f"{str(tmp_path / 'out/p')!r})",
        "merge": f"merge_pieces([{str(folder / 'T.parquet')!r}], {str(sizes_path)!r}, {str(tmp_path / 'out/f.gz')!r})",
    }
    split_sample(source, path, types, sizes_path, folder)
    code = "from scbind.core.runlog import logged\n"
    code += "from scbind.peaks.pooling import *\nfrom scbind.peaks.splitting import *\n"
    code += f"with logged({str(tmp_path / 'log')!r}):\n    {calls[step]}"
    # No file may grow beyond 5 kB: writing fails in the middle, as on a full disk.
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pooling.__file__.rpartition("/scbind/")[0],
        # Python would leave compiled modules of at most 5 kB, which no later import can read.
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000)),
    )
    lines = (tmp_path / "log").read_text().splitlines()
    assert done.returncode == 1 and "Traceback" not in "".join(lines)
    assert ": cannot write: " in lines[-1] and "; free space (or quota) there" in lines[-1]
    assert list((tmp_path / "out").iterdir()) == []


CALL = {"replicate_pvalue": 0.01, "extsize": 150, "max_fragments": None}


@pytest.fixture
def given_replicates(tmp_path):
    """Pieces of three samples with a peak each, and the sizes of the chromosomes."""
    sizes = tmp_path / "chrom.sizes"
    sizes.write_text("chr1\t50000\n")
    types = table(tmp_path, [("T", "T", "own", "")])
    for number in range(3):
        rng = np.random.default_rng(number)
        start = np.sort(np.r_[rng.integers(0, 49_000, 200), rng.integers(20_000, 20_300, 200)])
        lines = [("chr1", place, place + 100, "AB"[i % 2], 1) for i, place in enumerate(start)]
        kinds = dict.fromkeys("AB", "T")
        path = text(tmp_path, f"s{number}", lines)
        split_sample(path, cells(tmp_path, f"s{number}", kinds), types, sizes, tmp_path / f"p{number}")
    pieces = {"d1": [tmp_path / "p0/T.parquet", tmp_path / "p1/T.parquet"], "d2": [tmp_path / "p2/T.parquet"]}
    return pieces, sizes


@pytest.mark.parametrize("threads", [1, 3])
def test_each_replicate_is_as_if_it_were_alone(tmp_path, given_replicates, threads):
    pieces, sizes = given_replicates
    output = tmp_path / "replicates"
    make_replicates(pieces, sizes, output, ["d1"], CallOptions(**CALL), threads=threads)
    found = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    each = ["coverage.bw", "fragments.tsv.gz", "fragments.tsv.gz.tbi"]
    assert found == [
        "d1/called.narrowPeak",
        *(f"d1/{name}" for name in each),
        *(f"d2/{name}" for name in each),
    ]
    alone = tmp_path / "alone"
    alone.mkdir()
    merge_pieces(pieces["d1"], sizes, alone / "fragments.tsv.gz")
    coverage_track(alone / "fragments.tsv.gz", sizes, alone / "coverage.bw")
    alone_fragments, called = alone / "fragments.tsv.gz", alone / "called.narrowPeak"
    call_replicate_peaks(alone_fragments, sizes, called, 0.01, 150, None, shown=alone_fragments)
    for name in (*each, "called.narrowPeak"):
        assert (alone / name).read_bytes() == (output / "d1" / name).read_bytes(), name
    assert (alone / "called.narrowPeak").read_text()


def test_the_log_names_the_replicate_and_its_final_path(tmp_path, given_replicates, capfd):
    pieces, sizes = given_replicates
    output = tmp_path / "replicates"
    few = CallOptions(**CALL | {"replicate_pvalue": 1e-300})
    make_replicates(pieces, sizes, output, ["d1", "d2"], few, threads=2)
    *lines, last = capfd.readouterr().err.splitlines()
    assert last == "2 replicates, 2 of them with peaks" and ".partial." not in "".join(lines)
    starts = [line.partition(": ")[0] for line in lines]  # of d1 a peak is found, of d2 none
    assert starts.count("replicate d1") == 4 and starts.count("replicate d2") == 5 and len(lines) == 9
    warning = f"replicate d2: WARNING {output}/d2/fragments.tsv.gz: MACS3 found no peak"
    assert any(line.startswith(warning) for line in lines)


def test_an_error_in_one_replicate_leaves_nothing(tmp_path, given_replicates, monkeypatch):
    pieces, sizes = given_replicates

    def fail(*_):
        raise InputError("d1", "is broken", "mend it")

    monkeypatch.setattr(replicates, "coverage_track", fail)
    with pytest.raises(InputError, match="d1: is broken"):
        make_replicates(pieces | {"d3": pieces["d2"]}, sizes, tmp_path / "out", [], CallOptions(**CALL))
    assert not list(tmp_path.glob("*out*"))
