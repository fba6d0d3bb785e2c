"""Files as people have them, from a folder of cases: each is read, or refused in one line that says what to do.

The environment variable SCBIND_CASES names the folder. The same kinds of files, made by the tests, are in the tests of
each reader; this table holds the readers against the files of others.
"""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scbind.bulk.tracks import insertion_track
from scbind.cells.celltypes import read_labels
from scbind.cells.frombam import bam_to_fragments
from scbind.core.errors import InputError
from scbind.formats.barcodes import match_barcodes, read_barcodes
from scbind.formats.fragments import iter_fragments
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.intervals import read_peaks
from scbind.formats.motiffiles import read_profiles
from scbind.formats.motifs import log_odds
from scbind.peaks.pseudobulk import slugs
from scbind.plan import paths, settings, sheetreaders, yamlfile
from scbind.reference.prepare import prepare_reference

CASES = Path(os.environ.get("SCBIND_CASES", "none"))
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="SCBIND_CASES names no folder of cases")
LABELLED = (
    "TTCCGCTCCGTGCTGC ATTCCCGTAATCTACG TTAATGGCGGGACCGT AGCGGAATCATCTCGA AACAACTTTAGCAAAT GGTTGTACTGTACAGG"
)


def sizes(folder):
    found = {"15_bam": "chrom.sizes_chrM", "23_bigwigs": None}.get(folder, "chrom.sizes")
    if found is None:
        return ChromSizes(
            ("chr1", "chr2", "chrUn_KI270742v1", "chrM"), np.array([60_000, 40_000, 8_000, 4_000])
        )
    return ChromSizes.parse(found, enumerate((CASES / folder / found).read_text().splitlines(), 1))


def fragments(path, folder, _):
    return sum(len(chunk) for chunk in iter_fragments(path, sizes(folder)))


def peaks(path, folder, _):
    return len(read_peaks(path, sizes(folder)))


def genes(path, folder, _):
    return read_genes(path, sizes(folder))["gene"].tolist()


def motifs(path, _, __):
    (profile,) = read_profiles(path)
    return profile.name, round(float(log_odds(profile.counts).max(axis=0).sum()), 2)


def bam(path, folder, tmp_path):
    names = sizes(folder) if "chrM" in path.name else ChromSizes(("chr1", "chr2"), np.array([60_000, 40_000]))
    bam_to_fragments(path, tmp_path / "f.gz", names)
    found = pd.concat([chunk.astype({"barcode": str}) for chunk in iter_fragments(tmp_path / "f.gz", names)])
    return found["barcode"].nunique()


def labels(path, _, __):
    cells = pd.Series([f"{name}-1" for name in LABELLED.split()])
    return pd.notna(read_labels(path, cells, "s")).sum()


def barcodes(path, _, __):
    return len(read_barcodes(path))


def coverage(path, folder, tmp_path):
    names = sizes(folder)
    (tmp_path / "s").write_text("".join(f"{name}\t{n}\n" for name, n in names.as_dict().items()))
    item = {"path": str(path), "format": "coverage", "region": None}
    insertion_track([item], tmp_path / "s", *(tmp_path / name for name in ("o.bw", "o.json", "o.npy")))
    return True


def reference(path, _, tmp_path):
    prepare_reference(path, *(tmp_path / name for name in ("g.fa", "s", "c.npy", "e.bed")))
    return len(ChromSizes.read(tmp_path / "s").names)


TABLE = [  # folder, files, reader, what comes out: a value, or the words of the refusal
    ("01_six_columns", "fragments.tsv.gz", fragments, 300),
    (
        "01_six_columns",
        "no_prefix_with_header.tsv.gz",
        fragments,
        "add the prefix chr, .*RENAMED.*: zcat",
    ),
    ("02_comments_after_sort", "cat_of_two_chromosome_files.tsv.gz two_files.tsv.gz", fragments, 300),
    (
        "02_comments_after_sort",
        "unsorted_with_header.tsv.gz",
        fragments,
        "not sorted .*grep '.#'.*sort -k1,1",
    ),
    ("03_beyond_the_end", "fragments.tsv.gz", fragments, 300),
    ("04_zero_length", "fragments.tsv.gz", fragments, 300),
    (
        "08_label_tables",
        "apostrophe_quote.tsv comma.csv crlf_bom.tsv empty_last_lines.tsv labels.tsv.gz",
        labels,
        6,
    ),
    (
        "08_label_tables",
        "latin1.tsv pandas_index.tsv prime_quote.tsv r_quoted.tsv r_quoted_rownames.tsv",
        labels,
        6,
    ),
    (
        "08_label_tables",
        "r_write_table_rownames.tsv trailing_tab.tsv twice_same_label.tsv utf16_excel.txt",
        labels,
        6,
    ),
    ("08_label_tables", "ragged.tsv", labels, 5),
    ("08_label_tables", "extra_field_in_one_line.tsv", labels, "line 9: 3 fields where the header has 2"),
    (
        "08_label_tables",
        "barcodes.tsv.gz barcodes_csv_x_header.txt barcodes_quoted.txt singlecell.csv",
        barcodes,
        8,
    ),
    (
        "09_mixed_names",
        "ensembl.fragments.tsv.gz",
        fragments,
        "19952 of 20000 .* another style.*add the prefix chr",
    ),
    ("09_mixed_names", "ensembl.gtf", genes, "80 of 82 genes .* another style.*add the prefix chr"),
    ("09_mixed_names", "gencode.gtf", genes, [f"G{number}" for number in range(1, 83)]),
    ("09_mixed_names", "ensembl.narrowPeak ensembl.exclude.bed", peaks, "another style.*add the prefix chr"),
    ("10_gene_files", "fly_nan.bed", genes, ["nan", "N/A", "NA", "snail"]),
    ("10_gene_files", "fly_nan_same_place.bed", genes, ["nan", "snail"]),
    ("10_gene_files", "na_gene.bed", genes, ["NA", "NAN", "nan"]),
    ("10_gene_files", "ensembl.gff3 gencode.gff3 genes_no_suffix.txt", genes, ["AAA"]),
    ("10_gene_files", "hash_first.gtf hash_in_attribute.gtf", genes, ["MYGENE", "B"]),
    ("10_gene_files", "flybase.gtf", genes, ["mod(mdg4)", "sna"]),
    ("10_gene_files", "flybase_line_without_strand.gtf", genes, ["a"]),
    ("10_gene_files", "ncbi_gene_attr.gtf", genes, ["Sox2"]),
    ("10_gene_files", "semicolon_in_value.gtf", genes, ["REAL"]),
    ("10_gene_files", "refseq_question_strand.gtf crlf.bed", genes, ["A", "B"]),
    (
        "10_gene_files",
        "gene_beyond_end.gtf gencode.gtf.bgz bed_dot_strand.bed bed_with_header.bed",
        genes,
        ["A"],
    ),
    ("10_gene_files", "empty_gene_name.gtf", genes, ["ENSG1", "B"]),
    ("10_gene_files", "ncbi_empty_gene_id.gtf", genes, ["B"]),
    ("10_gene_files", "stringtie.gtf", genes, ["STRG.2"]),
    ("10_gene_files", "sgd_with_fasta.gff", genes, ["X"]),
    (
        "11_chip_peaks",
        "bed3.bed bed6_chipatlas.bed exclude_space_separated.bed inf_pvalue.narrowPeak",
        peaks,
        2,
    ),
    (
        "11_chip_peaks",
        "bed9_remap.bed idr_20_columns.narrowPeak score_dot.narrowPeak spaces.narrowPeak",
        peaks,
        1,
    ),
    ("11_chip_peaks", "peak_past_end.narrowPeak trailing_tab.narrowPeak header_line.narrowPeak", peaks, 1),
    ("11_chip_peaks", "crlf_track.narrowPeak float_summit.narrowPeak summits5_macs.bed", peaks, 1),
    (
        "11_chip_peaks",
        "macs_xls.xls",
        peaks,
        "the .xls table of MACS, which counts from 1; give the narrowPeak",
    ),
    ("11_chip_peaks", "empty.narrowPeak.gz", peaks, "there are no peaks in it"),
    ("12_contigs", "fragments.tsv.gz", fragments, 240),
    ("12_contigs", "hs38DH.fa", reference, 5),
    ("12_contigs", "blank_start.fa blank_between.fa blank_end.fa crlf.fa lower.fa", reference, 2),
    ("12_contigs", "duplicate.fa", reference, "its name occurs twice"),
    ("13_barnyard", "fragments.tsv.gz", fragments, "remove the prefix GRCh38_, .*RENAMED.gz .*: zcat"),
    (
        "15_bam",
        "cb_int.bam cb_some_missing.bam nobarcode.bam starsolo_dash.bam zero_cb.bam other_chrM.bam",
        bam,
        5,
    ),
    ("15_bam", "cr_only.bam", bam, r"no read pair has a barcode in the tag CB \(the first one has CR\)"),
    ("15_bam", "name_only.bam", bam, "no read pair has a barcode in the tag CB; set cells.barcode_tag"),
    ("15_bam", "single_end.bam", bam, "there are no proper read pairs"),
    ("21_motif_files", "cisbp_probabilities.pfm same_as_counts.pfm", motifs, ("CTCF", 8.65)),
    ("21_motif_files", "hocomoco12.txt hocomoco_pcm.txt", motifs, ("CTCF", 2.02)),
    ("21_motif_files", "homer.motif", motifs, ("CTCF", 0.68)),
    ("21_motif_files", "meme.txt", motifs, ("CTCF", 0.66)),
    ("21_motif_files", "transfac.txt", motifs, ("CTCF", 0.64)),
    ("21_motif_files", "jaspar_raw_4x4rows.pfm", motifs, ("CTCF", 4.65)),
    ("23_bigwigs", "rpm_scaled.bw nan_gap.bw cpm_bins.bw", coverage, True),
    (
        "23_bigwigs",
        "fold_change.bw",
        coverage,
        "give counts: a track that is smoothed, averaged, a fold change",
    ),
    ("23_bigwigs", "negative_strand.bw", coverage, "a track of the minus strand alone"),
    (
        "23_bigwigs",
        "ensembl_names.bw",
        coverage,
        "add the prefix chr, .*RENAMED.bw .*: PYTHONPATH=workflow python -m",
    ),
]
ROWS = [(folder, name, *rest) for folder, names, *rest in TABLE for name in names.split()]


@pytest.mark.parametrize(
    ("folder", "name", "reader", "right"), ROWS, ids=[f"{row[0]}/{row[1]}" for row in ROWS]
)
def test_each_case_is_as_it_should_be(tmp_path, folder, name, reader, right):
    if isinstance(right, str):
        with pytest.raises(InputError) as caught:
            reader(CASES / folder / name, folder, tmp_path)
        assert re.search(right, str(caught.value)) and "\n" not in str(caught.value)
    else:
        assert reader(CASES / folder / name, folder, tmp_path) == right


@pytest.mark.parametrize("library", ["lib1", "lib2"])
@pytest.mark.parametrize("kind", ["", "real_"])
def test_a_table_of_aggr_never_labels_cells_of_another_library(kind, library):
    folder = CASES / "06_aggr_suffix"
    genome = ChromSizes(("chr1", "chr2", "chrM"), np.array([600_000, 400_000, 3_000]))
    found = pd.concat(
        [
            chunk.astype({"barcode": str})
            for chunk in iter_fragments(folder / f"{kind}{library}.tsv.gz", genome)
        ]
    )
    present = pd.Series(sorted(found["barcode"].unique()))
    with pytest.raises(InputError, match="not known which library is this sample"):
        read_labels(folder / f"{kind}labels.tsv", present, library)
    with pytest.raises(InputError, match="not known which library is this sample"):
        match_barcodes(
            "list", read_barcodes(folder / f"{kind}barcodes.tsv"), pd.Index(present, dtype=object), library
        )


def test_any_name_of_a_cell_type_works():
    for line in (CASES / "16_cell_type_names/names.txt").read_text().splitlines():
        names = line.split(" | ")
        assert len({each.casefold() for each in slugs(names)}) == len(names)


SHEETS = {
    "001 1e5_TRUE Fragments_case Header_Case TRUE_binding YES bom_crlf cr_only empty_excel_rows": None,
    "excel_quoted_header quoted_path semicolon_csv short_rows trailing_tabs_header utf16 latin1_note": None,
    "dup_path case_twins": "has the same file as sample",
    "slash space unicode": "cannot be part of a file name",
    "tsv.gz_ext": "format 'tsv' is unknown",
}


@pytest.mark.parametrize(("names", "refusal"), SHEETS.items())
def test_sheets_of_spreadsheets(tmp_path, names, refusal):
    for name in names.split():
        (path,) = [path for path in (CASES / "17_sheets").iterdir() if path.stem == name]
        # 1e5_TRUE has two samples of one file; that is another case
        resolve = paths.Resolver({}, None)
        try:
            sheetreaders.read_sample_rows(str(path), resolve)
            said = ""
        except InputError as error:
            said = str(error)
        if refusal is None:
            assert not said or name == "1e5_TRUE" and "has the same file" in said, (name, said)
        else:
            assert refusal in said and "\n" not in said, (name, said)


def test_mistakes_of_configuration():
    with pytest.raises(InputError, match="star.yaml, line 2, column 11: not valid YAML"):
        yamlfile.check_yaml(CASES / "25_config/star.yaml")
    config = settings.yaml.safe_load((CASES / "25_config/number.yaml").read_text())
    with pytest.raises(InputError, match="key models.2: YAML reads this key as a number"):
        settings.check_config(config)
