"""Reading variants, sequences of their alleles, and binding with either of them."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from scbind.analysis.alleles import allele_codes, context_starts
from scbind.analysis.typesignal import TypeSignal
from scbind.analysis.variants import (
    BINDING,
    COLUMNS,
    STRONGEST,
    VariantOptions,
    allele_probabilities,
    cells_with_alleles,
    variant_effects,
)
from scbind.core.errors import InputError
from scbind.core.files import read_result
from scbind.formats.genome import Genome
from scbind.formats.variants import read_variants
from scbind.models.predictor import load_predictor
from sklearn.metrics import roc_auc_score

HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\n"
BASES = "ACGT"
ALL = VariantOptions(0, 0, 5)


@pytest.fixture
def genome(tmp_path):
    """Two chromosomes with sequence (2,000 and 1,000 bp, random) and one without."""
    folder = tmp_path / "ref"
    folder.mkdir()
    (folder / "chrom.sizes").write_text("chr1\t2000\nchr2\t1000\nchr3\t500\n")
    np.save(folder / "sequence.npy", np.random.default_rng(0).integers(0, 4, 3000).astype(np.uint8))
    return Genome.open(folder)


def at(genome, chrom, position, length=1):
    """Letters of the genome; ``position`` from 1."""
    codes = genome.window_codes([genome.sizes.index(chrom)], [position - 1], length)[0]
    return "".join(BASES[code] for code in codes)


def other(letter, by=1):
    return BASES[(BASES.index(letter) + by) % 4]


def vcf(path, rows, head=HEAD):
    lines = ("\t".join([*map(str, row), ".", ".", ".", "GT", "0|1"]) for row in rows)
    path.write_text(head + "".join(f"{line}\n" for line in lines))
    return path


def snvs(genome, chrom, positions):
    return [(chrom, p, ".", at(genome, chrom, p), other(at(genome, chrom, p))) for p in positions]


def test_vcf_and_table_give_the_same_alleles(genome, tmp_path, capsys):
    a, b = at(genome, "chr1", 600), at(genome, "chr1", 700, 3)
    rows = [
        ("chr2", 500, "rs3", at(genome, "chr2", 500), other(at(genome, "chr2", 500))),
        ("chr1", 700, ".", b, b[0]),
        ("chr1", 600, "rs1", a, f"{other(a)},{other(a, 2)},*"),
        ("chr1", 650, "NA", at(genome, "chr1", 650).lower(), "<DEL>"),
        ("chr1", 660, ".", at(genome, "chr1", 660), "."),
        ("chr1", 670, ".", at(genome, "chr1", 670), at(genome, "chr1", 670) + "A" * 50),
        ("chr3", 67, ".", "A", "C"),
        ("chrZ", 67, ".", "A", "C"),
    ]
    found = read_variants(vcf(tmp_path / "v.vcf", rows), genome)
    said = capsys.readouterr().err
    assert found[["chrom", "start", "name"]].to_numpy().tolist() == [
        [0, 599, "rs1"], [0, 599, "rs1"], [0, 699, ""], [1, 499, "rs3"],
    ]  # fmt: skip
    assert found["alt"].tolist() == [other(a), other(a, 2), b[0], rows[0][4]]
    assert found["line"].tolist() == [5, 5, 4, 3]
    for words in (
        "2 symbolic or *",
        "1 without another allele",
        "1 longer than 50 bp",
        "1 chromosomes without seq",
    ):
        assert words in said
    assert "left out 1 of 10 variants" in said and "chrZ" in said
    (tmp_path / "v.tsv").write_text(
        "chrom\tpos\tref\talt\tID\n" + "".join(f"{c}\t{p}\t{r}\t{x}\t{i}\n" for c, p, i, r, x in rows)
    )
    pd.testing.assert_frame_equal(
        read_variants(tmp_path / "v.tsv", genome).drop(columns="line"), found.drop(columns="line")
    )
    with gzip.open(tmp_path / "v.vcf.gz", "wb") as packed:
        packed.write((tmp_path / "v.vcf").read_bytes())
    pd.testing.assert_frame_equal(read_variants(tmp_path / "v.vcf.gz", genome), found)


def test_a_single_wrong_reference_base_is_left_out(genome, tmp_path, capsys):
    rows = snvs(genome, "chr1", range(600, 610))
    rows[3] = (*rows[3][:3], other(rows[3][3]), rows[3][3])
    assert len(read_variants(vcf(tmp_path / "v.vcf", rows), genome)) == 9
    assert "v.vcf, line 6 (chr1:603 REF" in capsys.readouterr().err


def of_another_build(rows):
    return [(*row[:3], other(row[3]), row[3]) for row in rows[:5]] + rows[5:]


BAD = {
    "build": (of_another_build, r"line 3 \(chr1:600 REF ., genome .\): REF is not .* \(5 of 10"),
    "prefix": (lambda rows: [(row[0][3:], *row[1:]) for row in rows], "add the prefix chr"),
    "beyond": (lambda rows: rows + [("chr1", 2001 + i, ".", "A", "C") for i in range(2)], "line 13 .* beyond the end"),
    "twice": (lambda rows: [*rows, *rows[:2]], "line 13 .* listed twice .* keep one of them"),
    "empty": (lambda rows: [], "there are no variants"),
    "position": (lambda rows: [*rows, ("chr1", "x", ".", "A", "C")], "line 13: the position is 'x'"),
    "symbolic": (lambda rows: [(*row[:4], "<DUP>") for row in rows], "no allele of it can be used"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_variants_end_in_one_line(genome, tmp_path, case):
    change, message = BAD[case]
    rows = change(snvs(genome, "chr1", range(600, 610)))
    with pytest.raises(InputError, match=message) as caught:
        read_variants(vcf(tmp_path / "v.vcf", rows), genome)
    assert "\n" not in str(caught.value) and "v.vcf" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("#CHROM\tPOS\tID\tREF\tALT\n", "not ##fileformat=VCF"),
        ("##fileformat=VCFv4.2\n", "there are no variants"),
        (HEAD + "chr1\t600\n", "line 3: 2 columns"),
        ("chrom\tpos\tref\nchr1\t1\tA\n", "give a VCF, or a table"),
        ("chrom\tpos\tref\talt\nchr1\t0\tA\tC\n", "line 2: the position is '0'"),
        ("chrom\tpos\tref\talt\n", "there are no variants"),
    ],
)
def test_files_that_are_no_variants_end_in_one_line(genome, tmp_path, text, message):
    (tmp_path / "v").write_text(text)
    with pytest.raises(InputError, match=message):
        read_variants(tmp_path / "v", genome)


def test_a_truncated_file_is_refused(genome, tmp_path):
    vcf(tmp_path / "v.vcf", snvs(genome, "chr1", range(600, 1200)))
    (tmp_path / "v.vcf.gz").write_bytes(gzip.compress((tmp_path / "v.vcf").read_bytes())[:-900])
    with pytest.raises(InputError, match="truncated"):
        read_variants(tmp_path / "v.vcf.gz", genome)


def test_alleles_by_hand(genome):
    """Substitution, insertion and deletion against strings; a context of 40 bp."""
    rows = []
    for position, length, new in ((900, 1, "A"), (950, 1, "CCGTA"), (1000, 6, "T"), (1050, 2, "GG")):
        rows.append((0, position - 1, at(genome, "chr1", position, length), new))
    variants = pd.DataFrame(rows, columns=["chrom", "start", "ref", "alt"])
    found = allele_codes(genome, variants, 40)
    whole = "".join(BASES[code] for code in np.asarray(genome.codes[:2000]))
    for row, start in enumerate(context_starts(variants, 40)):
        _, at_0, ref, alt = rows[row]
        assert start == at_0 + len(ref) // 2 - 20
        changed = whole[:at_0] + alt + whole[at_0 + len(ref) :]
        for codes, text in zip(found, (whole, changed), strict=True):
            assert "".join(BASES[code] for code in codes[row]) == text[start : start + 40]


def test_signal_of_types_by_hand(tiny, tiny_cells):
    genome = Genome.open(tiny["reference"])
    signal = TypeSignal.open(tiny_cells.types, genome, 5, "test")
    assert signal.types == ["like_A", "like_C"] and signal.n_cells.tolist() == [11, 11]
    position, cell = np.load(tiny_cells.lent["position"]).astype(int), np.load(tiny_cells.lent["cell"])
    starts = np.array([30_000, 5_000, 5_100])
    found = signal.counts(starts, 400, 100)
    for row, members in enumerate((range(11), range(11, 22))):
        mine = position[np.isin(cell, members)]
        assert signal.depth[row] == pytest.approx(len(mine) / genome.known_lengths().sum())
        for window, start in enumerate(starts):
            expected = np.histogram(mine, start + np.arange(0, 401, 100) - 0.5)[0]
            assert found[row, window].tolist() == expected.tolist()
    two = TypeSignal.open(tiny_cells.types | {"t": tiny_cells.types["s"]}, genome, 5, "test")
    assert np.array_equal(two.counts(starts, 400, 100), 2 * found)
    none = TypeSignal.open(tiny_cells.types, genome, 12, "test")
    assert none.types == [] and none.small == ["like_A", "like_C"] and none.depth.shape == (0,)


def planted(tiny, genome, rng):
    """Variants in the planted sites of chr1 and 40 to 90 bp beside them, with what is known of each."""
    rows = []
    for number, site in enumerate(tiny["sites"]["chr1"]):
        if site % 2 or number % 2 or not 5_000 < site < 55_000:
            continue
        for core, place in ((True, site + rng.integers(2, 8)), (False, site + rng.integers(40, 90))):
            letter = at(genome, "chr1", place + 1)
            name = f"{number}_{'core' if core else 'beside'}"
            rows.append(("chr1", place + 1, name, letter, other(letter, int(rng.integers(1, 4)))))
    return rows


def test_a_variant_in_a_bound_site_matters_and_more_where_it_is_open(tiny, tiny_model, tiny_cells, tmp_path):
    """Against what was planted: TF1 binds its motif in open chromatin, and lines A and C alternate in openness."""
    genome = Genome.open(tiny["reference"])
    path = vcf(tmp_path / "v.vcf", planted(tiny, genome, np.random.default_rng(5)))
    out = tmp_path / "all.tsv", tmp_path / "strongest.tsv"
    variant_effects(path, tiny_cells.types, *tiny_model[:2], tiny["reference"], *out, ALL)
    table = read_result(out[0], "")
    table = table[table["tf"] == "TF1"]
    number = table["name"].str.partition("_")[0].astype(int)
    core = table["name"].str.endswith("core")
    is_open = (number // 2 + (table["cell_type"] == "like_C")) % 2 == 0
    size = table["difference"].abs()
    assert roc_auc_score(core[is_open], size[is_open]) > 0.9
    assert size[core & is_open].median() > 10 * size[~core & is_open].median()
    assert size[core & is_open].median() > 3 * size[core & ~is_open].median()
    best = read_result(out[1], "")
    sites = best[best["name"].str.endswith("core")]
    with_open = np.where(sites["name"].str.partition("_")[0].astype(int) // 2 % 2 == 0, "like_A", "like_C")
    assert (sites["tf"] == "TF1").mean() > 0.8 and (sites["cell_type"] == with_open).mean() > 0.8


def test_tables_of_variants(tiny, tiny_model, tiny_cells, tmp_path):
    genome = Genome.open(tiny["reference"])
    rows = planted(tiny, genome, np.random.default_rng(5))[:30] + snvs(genome, "chr1", [100])
    path, out = vcf(tmp_path / "v.vcf", rows), (tmp_path / "all.tsv", tmp_path / "strongest.tsv")
    given = path, tiny_cells.types, *tiny_model[:2], tiny["reference"]
    variant_effects(*given, *out, ALL)
    table, best = (read_result(each, "") for each in out)
    assert len(table) == 30 * 2 * 2 and len(best) == 30, (
        "the variant near the end of the chromosome is left out"
    )
    first = table[table["start"] == rows[0][1] - 1]
    assert first["difference"].abs().is_monotonic_decreasing and set(first["n_cells"]) == {11}
    shown = first.iloc[0]
    assert shown["difference"] == pytest.approx(shown["binding_alt"] - shown["binding_ref"], abs=1e-5)
    logit = np.log(
        shown[["binding_ref", "binding_alt"]].astype(float)
        / (1 - shown[["binding_ref", "binding_alt"]].astype(float))
    )
    assert shown["logit_difference"] == pytest.approx(logit.iloc[1] - logit.iloc[0], abs=1e-3)
    least = tmp_path / "some.tsv", tmp_path / "again.tsv"
    size, larger = table["difference"].abs(), table[BINDING[:2]].max(axis=1)
    minima = size.quantile(0.6), larger.quantile(0.6)
    variant_effects(*given, *least, VariantOptions(*minima, 5), block=3)
    some, again = (read_result(each, "") for each in least)
    expected = table[(size >= minima[0]) & (larger >= minima[1])]
    assert 10 < len(expected) < 48, "either minimum leaves out rows"
    pd.testing.assert_frame_equal(some, expected.reset_index(drop=True), rtol=1e-5)
    assert (
        again["n_listed"] == expected.groupby("start").size().reindex(again["start"], fill_value=0).to_numpy()
    ).all()
    pd.testing.assert_frame_equal(again.drop(columns="n_listed"), best.drop(columns="n_listed"), rtol=1e-5)


def test_where_scbind_abstains_no_strongest_is_named(tiny, tiny_model, tiny_cells, tmp_path):
    """Without calibration nothing is known about reliability."""
    path = vcf(tmp_path / "v.vcf", snvs(Genome.open(tiny["reference"]), "chr1", [3000]))
    out = tmp_path / "all.tsv", tmp_path / "strongest.tsv"
    variant_effects(path, tiny_cells.types, tiny_model[0], None, tiny["reference"], *out, ALL)
    assert read_result(out[0], "")["abstained"].all()
    assert read_result(out[1], "")[["tf", "difference"]].isna().all(axis=None)


def test_without_a_type_of_enough_cells_a_variant_has_no_effect_listed(
    tiny, tiny_model, tiny_cells, tmp_path, capsys
):
    path = vcf(tmp_path / "v.vcf", snvs(Genome.open(tiny["reference"]), "chr1", [3000, 4000]))
    out = tmp_path / "all.tsv", tmp_path / "strongest.tsv"
    few = VariantOptions(0, 0, 12)
    variant_effects(path, tiny_cells.types, *tiny_model[:2], tiny["reference"], *out, few, block=1)
    assert out[0].read_text() == "\t".join(COLUMNS) + "\n"
    best = read_result(out[1], "")
    assert best.columns.tolist() == STRONGEST and best["n_listed"].tolist() == [0, 0]
    assert best[["tf", "cell_type", "difference"]].isna().all(axis=None)
    assert "WARNING variants: no cell type has 12 cells, so there are no rows" in capsys.readouterr().err


def test_the_strongest_is_of_a_tf_on_which_scbind_does_not_abstain(tiny, tiny_model, tiny_cells, tmp_path):
    genome, out = Genome.open(tiny["reference"]), (tmp_path / "all.tsv", tmp_path / "strongest.tsv")
    path = vcf(tmp_path / "v.vcf", planted(tiny, genome, np.random.default_rng(5)))
    known = json.loads(tiny_model[1].read_text())
    known["reliability"]["TF1"]["abstained"] = True
    (tmp_path / "calibration.json").write_text(json.dumps(known))
    given = path, tiny_cells.types, tiny_model[0], tmp_path / "calibration.json", tiny["reference"]
    variant_effects(*given, *out, ALL)
    assert set(read_result(out[1], "")["tf"]) == {"TF2"}
    assert read_result(out[0], "").groupby("tf")["abstained"].first().to_dict() == {"TF1": True, "TF2": False}


def test_in_cells_that_borrow_from_their_whole_type_it_is_as_in_the_type(tiny, tiny_model, tiny_cells):
    genome, predictor = Genome.open(tiny["reference"]), load_predictor(*tiny_model[:2])
    chrom, position, _, ref, alt = planted(tiny, genome, np.random.default_rng(5))[0]
    found = cells_with_alleles(
        f"{chrom}:{position}:{ref}:{alt}", "TF1", tiny_cells.lent, *tiny_model[:2], tiny["reference"]
    )
    assert found.index.tolist() == [f"c{i}" for i in range(23)]
    one = pd.DataFrame({"chrom": [0], "start": [position - 1], "ref": [ref], "alt": [alt]})
    types = allele_probabilities(predictor, genome, one, TypeSignal.open(tiny_cells.types, genome, 5, "test"))
    for column, by_type in zip(("binding_ref", "binding_alt"), types, strict=True):
        expected = np.repeat(by_type[:, 0, predictor.tfs.index("TF1")], 11)
        assert np.allclose(found[column].to_numpy()[:22], expected, atol=1e-5)
    assert np.allclose(found["difference"], found["binding_alt"] - found["binding_ref"])


@pytest.mark.parametrize(
    ("variant", "tf", "message"),
    [
        ("chr1:3000:A", "TF1", "not a variant"),
        ("chr1:3000:A:<DEL>", "TF1", "not a variant"),
        ("chr1:3\u00b2:A:C", "TF1", "not a variant"),
        ("chr1:3000:A:" + "C" * 600, "TF1", "not a variant; write .* up to 50 bp"),
        ("1:3000:A:C", "TF1", "no chromosome '1'"),
        ("chr1:99999:A:C", "TF1", "not on the chromosome"),
        ("chr1:3000:{wrong}:A", "TF1", "REF is not"),
        ("chr1:3000:A:C", "TF9", "'TF9' is not modelled; use one of TF1"),
    ],
)
def test_a_bad_question_about_cells_ends_in_one_line(tiny, tiny_model, tiny_cells, variant, tf, message):
    wrong = other(at(Genome.open(tiny["reference"]), "chr1", 3000))
    with pytest.raises(InputError, match=message):
        cells_with_alleles(
            variant.format(wrong=wrong), tf, tiny_cells.lent, *tiny_model[:2], tiny["reference"]
        )
