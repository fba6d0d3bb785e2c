"""The page of loci: which places it takes, what it holds of them, and that it keeps to its size."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pysam
import pytest
from scbind.core.errors import InputError
from scbind.core.files import file_sha256
from scbind.formats.bigwigwriter import create_bigwig
from scbind.formats.colours import colours_of
from scbind.formats.genome import ChromSizes
from scbind.report import lociwindows
from scbind.report.loci import TEMPLATES, LociFiles, write_loci
from scbind.report.pack import unpack

SIZES = ChromSizes(("chr1", "HLA:1"), np.array([30_000, 6_020]))
TYPES = {"B cell": "b_cell", "T+": "t"}
SITES = [  # cell type, TF, rank, chrom, start, P(bound), whether scbind abstains
    ("B cell", "SPI1", 1, "chr1", 10_000, 0.9, False),
    ("B cell", "SPI1", 2, "chr1", 20_000, 0.8, False),
    ("T+", "SPI1", 1, "chr1", 10_200, 0.7, False),
    ("T+", "SPI1", 2, "HLA:1", 5_800, 0.6, False),
    ("T+", "TCF7", 1, "chr1", 10_400, 0.5, False),
    ("T+", "GATA1", 1, "chr1", 28_000, 0.4, True),
]


def bigwig(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with create_bigwig(path, SIZES, len(rows)) as bw:
        for chrom, start, end, value in rows:
            bw.addEntries([chrom], [start], ends=[end], values=[value])
    return path


def table_of(rows=SITES):
    columns = ["cell_type", "tf", "rank", "chrom", "start", "binding", "reliability_abstained"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(end=table["start"] + 200, evidence=np.where(table["tf"] == "TCF7", "motif", "chip"))


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(1)
    with pysam.BGZFile(str(tmp_path / "genome.fa.gz"), "wb") as handle:
        for name, length in SIZES.as_dict().items():
            handle.write(f">{name}\n{''.join(rng.choice(list('acgtN'), length))}\n".encode())
    pysam.faidx(str(tmp_path / "genome.fa.gz"))
    (tmp_path / "chrom.sizes").write_text("chr1\t30000\nHLA:1\t6020\n")
    (tmp_path / "consensus.bed").write_text(
        "chr1\t7500\t8000\nchr1\t7500\t8001\nchr1\t13000\t13500\nHLA:1\t5700\t6020\n"
    )
    genes = [
        "chr1\t13900\t14000\tNEAR\t0\t-",
        "chr1\t100\t200\tCLOSE\t0\t+",
        "chr1\t29000\t29500\tMINUS\t0\t-",
    ]
    (tmp_path / "genes.bed").write_text("\n".join(genes) + "\n")
    table_of().to_csv(tmp_path / "best_sites.tsv", sep="\t", index=False)
    for sample, value in (("s1", 0.25), ("s2", 0.75)):
        for slug in TYPES.values():
            (tmp_path / sample / slug).mkdir(parents=True)
        bigwig(tmp_path / sample / "b_cell/SPI1.bw", [("chr1", 9_990, 10_060, value)])
    bigwig(tmp_path / "s1/t/SPI1.abstained.bw", [("chr1", 10_000, 10_200, 1.0)])
    coverage = {
        "B cell": bigwig(tmp_path / "b.bw", [("chr1", 10_000, 10_025, 8.0), ("chr1", 10_050, 10_100, 2.0)]),
        "T+": bigwig(tmp_path / "t.bw", [("chr1", 7_000, 13_001, 1.0), ("HLA:1", 6_000, 6_020, 5.0)]),
    }
    return LociFiles(
        genome="made up", fasta=tmp_path / "genome.fa.gz", sizes=tmp_path / "chrom.sizes",
        tracks={sample: tmp_path / sample for sample in ("s1", "s2")}, types=TYPES, all_types=list(TYPES),
        coverage=coverage,
        consensus=tmp_path / "consensus.bed", sites=tmp_path / "best_sites.tsv", genes=tmp_path / "genes.bed",
    )  # fmt: skip


def packs(path):
    """The list of sites, and the content of each pack."""
    found = dict(re.findall(r'<script type="text/plain" id="([^"]+)">([^<]*)<', path.read_text()))
    return json.loads(unpack(found.pop("index"))), {name[5:]: unpack(text) for name, text in found.items()}


@pytest.fixture
def written(files, tmp_path):
    write_loci(files, tmp_path / "loci.html")
    return packs(tmp_path / "loci.html")


def test_sites_of_one_tile_share_a_locus_and_tfs_take_turns():
    sites = lociwindows.ordered_sites("best_sites.tsv", table_of(), SIZES, list(TYPES))
    rows = list(zip(sites["turn"], sites["tf"], sites["start"], sites["locus"], strict=True))
    assert rows == [
        (0, "SPI1", 10_000, 0), (0, "SPI1", 10_200, 0), (0, "TCF7", 10_400, 0), (0, "GATA1", 28_000, 1),
        (1, "SPI1", 20_000, 2), (2, "SPI1", 5_800, 3),
    ]  # fmt: skip


def test_windows_are_half_open_and_end_with_their_chromosome(written, files):
    index, content = written
    assert list(index["loci"].values()) == [
        ["chr1", 8_000, 13_000], ["chr1", 18_000, 23_000], ["HLA_1", 3_000, 6_020],
    ]  # fmt: skip
    with pysam.FastaFile(str(files.fasta)) as handle:
        for locus, (chrom, start, end) in index["loci"].items():
            header, bases, rest = content[f"s{locus}"].decode().split("\n")
            name, _, place = header[1:].partition(":")
            assert name == chrom and not rest
            assert place == f"{start + 1}-{end} @len={30_000 if chrom == 'chr1' else 6_020}"
            assert bases == handle.fetch(chrom.replace("HLA_", "HLA:"), start, end).upper()


def values(content, name, types=2):
    coded = np.frombuffer(content, np.uint8).reshape(types, -1).astype(float)
    return np.where(coded == 255, np.nan, coded) / 200


def test_the_title_has_the_samples_as_that_of_the_report(written, tmp_path):
    assert "s1 and s2 · genome made up · scbind " in (tmp_path / "loci.html").read_text()


def test_coverage_is_the_mean_of_a_bin_on_one_scale(written):
    _, content = written
    top = np.frombuffer(content["c0"][:4], np.float32)[0]
    depth = values(content["c0"][4:], "c0") * top
    assert top == 4.0 and depth.shape == (2, 100)
    assert depth[0, 39:43].tolist() == [0, 4, 2, 0] and np.allclose(depth[1], 1)
    last = np.frombuffer(content["c2"][:4], np.float32)[0]  # 20 bp of the last bin, which is that long
    depth = values(content["c2"][4:], "c2") * last
    assert last == 5 and depth[1, 59:62].tolist() == [0, 5, 0][: 62 - 59]


def test_binding_is_the_highest_of_a_bin_and_the_mean_of_the_samples(written):
    _, content = written
    bound = values(content["b0-SPI1"], "b")
    assert bound[0, 38:43].tolist() == [0, 0.5, 0.5, 0.5, 0]
    assert np.isnan(bound[1]).all(), "scbind abstains there"
    assert np.isnan(values(content["b0-TCF7"], "b")).all(), "no track"


def test_tfs_on_which_scbind_abstains_are_left_out(written, tmp_path):
    index, content = written
    assert index["tfs"] == ["SPI1", "TCF7"] and index["motif"] == ["TCF7"]
    assert not any("GATA1" in name for name in content)
    assert "1 of 3 TFs, because scbind abstains" in (tmp_path / "loci.html").read_text()


def test_peaks_touch_their_window_and_genes_are_near_it(written):
    index, _ = written
    assert index["peaks"] == {"chr1": [[7_500, 8_001]], "HLA_1": [[5_700, 6_020]]}
    assert [row[0] for row in index["genes"]["chr1"]] == ["CLOSE", "NEAR", "MINUS"]
    assert index["genes"]["chr1"][2] == ["MINUS", 29_000, 29_500, 29_499, "-"]


def test_sites_say_in_which_types_their_tf_is_active(written, files, tmp_path):
    assert written[0]["activity"] is None
    rows = [("B cell", "SPI1", -8.5, 0.01), ("T+", "SPI1", 5.0, 0.01), ("T+", "TCF7", 1.0, 0.9)]
    table = pd.DataFrame(rows, columns=["cell_type", "tf", "difference", "p_adjusted"]).assign(
        contrast="cell_type"
    )
    table.to_csv(tmp_path / "tests.tsv", sep="\t", index=False)
    write_loci(replace(files, differential=tmp_path / "tests.tsv"), tmp_path / "loci.html")
    found = packs(tmp_path / "loci.html")[0]
    activity = found["activity"]
    assert found["tfs"] == ["SPI1", "TCF7"] and found["types"] == ["B cell", "T+"]
    assert [(activity["words"][code], activity["first"][code]) for code in activity["of"]] == [
        ("less active", 2), ("more active", 0), ("not tested", 1), ("no difference", 1)
    ]  # fmt: skip
    assert "not from the amount of the protein" in (tmp_path / "loci.html").read_text()


def test_a_page_without_genes(files, tmp_path):
    write_loci(replace(files, genes=None), tmp_path / "loci.html")
    assert packs(tmp_path / "loci.html")[0]["genes"] == {"chr1": [], "HLA_1": []}


def test_what_does_not_fit_is_left_out_fairly_and_said(files, tmp_path):
    out = tmp_path / "loci.html"
    write_loci(files, out)
    whole = out.stat().st_size
    assert "The page has all 5 best sites" in out.read_text()
    write_loci(files, out, whole - 200)
    index, content = packs(out)
    assert whole - 200 >= out.stat().st_size > whole - 4_000
    assert index["sites"]["rank"] == [1, 1, 1, 2] and set(index["loci"]) == {"0", "1"}
    assert {name for name in content if name[0] == "s"} == {"s0", "s1"}
    assert "The page has room for 4 of 5 best sites: the first 2 loci of every TF" in out.read_text()


def test_no_site_at_all(files, tmp_path):
    table_of(SITES[-1:]).to_csv(files.sites, sep="\t", index=False)
    write_loci(files, tmp_path / "loci.html")
    assert "There is no site to show." in (tmp_path / "loci.html").read_text()


def change(files, **columns):
    table_of().assign(**columns).to_csv(files.sites, sep="\t", index=False)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: change(files, chrom="chr9"), r"best_sites.*chromosome that the genome does not have"),
        (lambda files: change(files, start=29_900, end=30_001), r"best_sites.*outside its chromosome"),
        (lambda files: change(files, cell_type="NK"), r"best_sites.*cell type without a pseudobulk"),
        (lambda files: table_of().drop(columns="rank").to_csv(files.sites, sep="\t"), r"no column rank"),
        (lambda files: files.coverage["T+"].unlink(), r"t\.bw"),
        (lambda files: files.coverage["T+"].write_bytes(b"no bigWig" * 20), r"t\.bw.*cannot be read"),
        (lambda files: (files.fasta.parent / "genome.fa.gz.fai").unlink(), r"genome\.fa\.gz\.fai"),
        (lambda files: (files.fasta.parent / "genome.fa.gz.gzi").unlink(), r"genome\.fa\.gz\.gzi"),
        (lambda files: (files.fasta.parent / "s2").rename(files.fasta.parent / "s3"), r"s2"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_no_page(files, tmp_path, spoil, words):
    spoil(files)
    with pytest.raises(InputError, match=words) as error:
        write_loci(files, tmp_path / "loci.html")
    assert "\n" not in str(error.value) and not (tmp_path / "loci.html").exists()


def test_igv_js_is_the_file_that_was_published():
    """Of npm's package igv 3.8.10; the licence goes with it, into the page as well."""
    published = "87b991ae2a720978172e269dd5127c495e56df5af31144dff19c83124e2f5744"
    assert file_sha256(TEMPLATES / "igv.min.js") == published
    assert published in (TEMPLATES.parents[3] / "docs/explanation/design.md").read_text()


def test_the_page_holds_the_licence_and_asks_for_no_other_file(files, tmp_path):
    write_loci(files, tmp_path / "loci.html")
    text = (tmp_path / "loci.html").read_text()
    assert "The MIT License" in text and "igv.min.js.map" not in text
    assert not re.search(r"<(?:script|img|link)[^>]*(?:src|href)=", text.partition("<!-- igv.js")[0])


def test_a_type_has_the_colour_of_the_report_even_if_another_type_has_no_tracks(files, tmp_path):
    write_loci(replace(files, all_types=["A without peaks", *TYPES]), tmp_path / "page.html")
    colours = packs(tmp_path / "page.html")[0]["colours"]
    assert colours == [colours_of(["A without peaks", *TYPES])[name] for name in TYPES]
