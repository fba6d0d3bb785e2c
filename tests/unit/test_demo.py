"""The simulated atlas: its files, its truth, and that the one follows from the other."""

from __future__ import annotations

import gzip
import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from scbind.core.errors import InputError
from scbind.demo import atlas as atlas_design
from scbind.demo import simulate as demo
from scbind.demo import simulate_genome, simulate_motifs, simulate_reads, simulate_sites, world
from scbind.demo.atlas import demo_files
from scipy import sparse

SMALL = {"n_cells": 50, "chromosome_mb": (0.2, 0.15), "cell_fragments": 300, "seed": 3}
SMALL["bulk_fragments"] = dict.fromkeys(atlas_design.LINES, 20_000)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.simulate(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def preferences():
    return simulate_motifs.true_preferences()


def files_of(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def read(folder: Path, name: str, **options) -> pd.DataFrame:
    return pd.read_csv(folder / name, sep="\t", keep_default_na=False, **options)


def fragments(folder: Path, name: str) -> pd.DataFrame:
    return read(folder, name, header=None, names=["chrom", "start", "end", "barcode", "count"])


def chromosomes(folder: Path) -> dict[str, str]:
    with pysam.FastaFile(str(folder / "genome.fa")) as fasta:
        return {name: fasta.fetch(name) for name in fasta.references}


def test_writes_the_listed_files_and_the_same_bytes_again(atlas, tmp_path):
    demo.simulate(tmp_path, **SMALL)
    again = files_of(tmp_path)
    assert list(again) == demo_files()
    assert again == {name: digest for name, digest in files_of(atlas).items() if not name.endswith(".fai")}


def test_more_cells_and_another_seed(atlas, tmp_path):
    demo.simulate(tmp_path / "more", **{**SMALL, "n_cells": 60})
    demo.simulate(tmp_path / "other", **{**SMALL, "seed": 4})
    first, more, other = files_of(atlas), files_of(tmp_path / "more"), files_of(tmp_path / "other")
    same = {name for name in more if more[name] == first[name]}
    assert same == {name for name in more if not name.startswith("sc/")} - {
        "truth/cells.tsv",
        "truth/open.npz",
    }
    unchanged = {name for name in other if other[name] == first[name]}
    assert unchanged <= {"truth/activity.tsv", "truth/motifs.npz"}


def test_genome_has_its_gaps_and_its_lengths(atlas):
    sequence = chromosomes(atlas)
    assert {name: len(text) for name, text in sequence.items()} == {"chr1": 200_000, "chr2": 150_000}
    for text in sequence.values():
        assert set(text) == set("ACGTN")
        assert text.count("N") == simulate_genome.TELOMERE + simulate_genome.GAP
        assert text[: simulate_genome.TELOMERE] == "N" * simulate_genome.TELOMERE
        cpg = text.count("CG") / (text.count("C") * text.count("G") / len(text))
        assert cpg < 0.7  # few CpG, as in vertebrates


def test_elements_and_genes(atlas):
    sequence = chromosomes(atlas)
    elements = read(atlas, "truth/elements.bed").rename(columns={"#chrom": "chrom"})
    assert set(elements["kind"]) == set(simulate_genome.KINDS)
    assert elements.groupby("kind").size()["promoter"] == pytest.approx(0.18 * len(elements), abs=1.5)
    for chrom, start, end in elements[["chrom", "start", "end"]].itertuples(index=False):
        assert "N" not in sequence[chrom][start:end]
        assert 300 <= end - start <= 450
    for _, group in elements.groupby("chrom"):
        assert (group["start"].to_numpy()[1:] > group["end"].to_numpy()[:-1]).all()
    steady = elements[elements["kind"].isin(simulate_genome.ALWAYS_OPEN)]
    assert (steady.filter(like="open_").to_numpy() == 1).all()
    counts = elements.loc[elements["kind"] == "enhancer", "driver"].value_counts()
    assert set(counts.index) == set(atlas_design.DRIVERS) and counts.max() - counts.min() <= 1

    names = ["chrom", "start", "end", "name", "score", "strand"]
    table = read(atlas, "genes.bed", header=None, names=names)
    assert table["name"].is_unique and set(table["strand"]) == {"+", "-"}
    tss = np.where(table["strand"] == "+", table["start"], table["end"] - 1)
    promoters = elements[elements["kind"] == "promoter"]
    assert len(table) == len(promoters)
    for chrom, position in zip(table["chrom"], tss, strict=True):
        here = promoters[(promoters["chrom"] == chrom) & (promoters["start"] <= position)]
        assert (here["end"] > position).any()


def test_enhancers_open_with_their_driver():
    rng = np.random.default_rng(0)
    prefer = simulate_motifs.true_preferences()
    genome = simulate_genome.simulate_genome(rng, [400_000, 400_000], atlas_design.DRIVERS, prefer)
    activity = world.activity_table()
    openness = simulate_sites.open_elements(rng, genome, activity)
    enhancers = (genome.elements["kind"] == "enhancer").to_numpy()
    driver = genome.elements["driver"].to_numpy()[enhancers]
    for name in activity.index:
        active = activity.loc[name, driver].to_numpy() == 1
        is_open = openness[name].to_numpy()[enhancers]
        assert is_open[active].mean() == pytest.approx(simulate_sites.OPENED, abs=0.07)
        assert is_open[~active].mean() == pytest.approx(simulate_sites.LEAK, abs=0.05)


def test_bound_means_bindable_open_and_active(atlas):
    sites = read(atlas, "truth/sites.tsv")
    activity = read(atlas, "truth/activity.tsv").set_index("name")
    elements = read(atlas, "truth/elements.bed").set_index("name")
    at = elements.loc[sites["element"]]
    assert (sites["chrom"].to_numpy() == at["#chrom"].to_numpy()).all()
    assert (sites["start"].to_numpy() >= at["start"].to_numpy()).all()
    assert (sites["end"].to_numpy() <= at["end"].to_numpy()).all()
    for name in atlas_design.LINES + atlas_design.TYPES:
        active = activity.loc[name, sites["tf"]].to_numpy().astype(int)
        expected = sites["bindable"].to_numpy() * at[f"open_{name}"].to_numpy() * active
        assert (sites[f"bound_{name}"].to_numpy() == expected).all()
    strong, weak = sites[sites["strength"] > 0.9], sites[sites["strength"] < 0.3]
    assert strong["bindable"].mean() > 0.9 and weak["bindable"].mean() < 0.35
    assert set(sites["tf"]) == set(atlas_design.TFS)


def test_sites_carry_the_true_motif(atlas, preferences):
    """Written sequence, strand and coordinates agree: the strongest sites score above the threshold."""
    sequence = chromosomes(atlas)
    sites = read(atlas, "truth/sites.tsv")
    for row in sites[sites["strength"] > 0.9].itertuples():
        text = sequence[row.chrom][row.start : row.end]
        codes = np.array(["ACGT".index(base) for base in text], dtype=np.uint8)
        preference = preferences[row.tf]
        matrix = preference.log_odds
        if row.strand == "-":
            matrix = simulate_motifs.other_strand(matrix)
        assert simulate_motifs.score(codes, matrix)[0] >= preference.threshold


def test_variants_are_in_and_beside_bound_sites(atlas):
    rows = (atlas / "variants.vcf").read_text().splitlines()
    assert rows[0] == "##fileformat=VCFv4.2"
    table = pd.DataFrame(
        [row.split("\t")[:5] for row in rows if row[0] != "#"], columns=["chrom", "pos", "id", "ref", "alt"]
    )
    table["pos"] = table["pos"].astype(int)
    bases, sites = chromosomes(atlas), read(atlas, "truth/sites.tsv")
    bound = sites.filter(regex=f"bound_({'|'.join(demo.TYPES)})").any(axis=1)
    assert len(table) > 50 and table.sort_values(["chrom", "pos"]).index.is_monotonic_increasing
    for row in table.itertuples():
        assert bases[row.chrom][row.pos - 1] == row.ref != row.alt
        tf, kind, element = row.id.split("_")
        mine = sites[(sites["chrom"] == row.chrom) & (sites["tf"] == tf)]
        inside = (mine["start"] < row.pos) & (mine["end"] >= row.pos)
        assert inside.any() == (kind == "core")
        assert kind == "beside" or (bound[mine.index] & inside & (mine["element"] == element)).any()


def test_score_by_hand():
    matrix = np.array([[1, -1, -2, -3, -np.inf], [-5, 2, -6, -7, -np.inf]], dtype=np.float32)
    codes = np.array([0, 1, 4, 2, 3], dtype=np.uint8)  # A C N G T
    forward, reverse = simulate_motifs.score_strands(codes, matrix)
    assert forward.tolist() == [3, -np.inf, -np.inf, -2 - 7]
    # on the other strand the first column of the flipped matrix reads the complement of the second base
    assert reverse.tolist() == [-7 - 2, -np.inf, -np.inf, 2 + 1]


def test_true_preference_adds_flanks_and_partner(preferences):
    assert list(preferences) == atlas_design.TFS
    for tf, preference in preferences.items():
        factor = preference.factor
        core = simulate_motifs.database_matrix(factor.matrix_id)
        assert np.allclose(preference.probability[preference.core], core)
        assert len(preference) == len(core) + len(factor.left) + len(factor.right)
        assert 3 <= len(factor.left) + len(factor.right) <= 5
        assert factor.partner in {*atlas_design.TFS, None} - {tf}
    conditional = [tf for tf, p in preferences.items() if p.factor.partner or p.factor.gc_context]
    assert 0.3 < len(conditional) / len(preferences) < 0.7


def test_partner_and_context_change_the_energy(preferences):
    rng = np.random.default_rng(5)
    names = ("GATA1", "TAL1", "ELF1")
    some = {tf: preferences[tf] for tf in names}
    best = {tf: some[tf].probability.argmax(axis=1).astype(np.uint8) for tf in names}
    blank = np.tile(np.array([0, 3], dtype=np.uint8), 160)[None]  # no G, no C
    alone, near, far, rich = (blank.copy() for _ in range(4))
    for codes in (alone, near, far):
        codes[0, 160 : 160 + len(best["GATA1"])] = best["GATA1"]
    near[0, 190 : 190 + len(best["TAL1"])] = best["TAL1"]
    far[0, 260 : 260 + len(best["TAL1"])] = best["TAL1"]
    gata = [float(simulate_motifs.energies(codes, some)["GATA1"][0, 0, 160]) for codes in (alone, near, far)]
    assert gata[1] - gata[0] == pytest.approx(simulate_motifs.PENALTY)
    assert gata[2] == pytest.approx(gata[0])
    rich[0] = rng.permutation(np.repeat([1, 2], 160))
    poor = blank.copy()
    for codes in (rich, poor):
        codes[0, 160 : 160 + len(best["ELF1"])] = best["ELF1"]
    elf = [float(simulate_motifs.energies(codes, some)["ELF1"][0, 0, 160]) for codes in (poor, rich)]
    assert elf[1] - elf[0] == pytest.approx(simulate_motifs.PENALTY, abs=0.05)


def test_unknown_matrix_is_refused():
    with pytest.raises(InputError, match="JASPAR2024: has no matrix MA9999.9; install"):
        simulate_motifs.database_matrix("MA9999.9")


def test_chip_peaks_are_on_bound_sites(atlas):
    sites = read(atlas, "truth/sites.tsv")
    hits = total = found = bound_total = 0
    for line in atlas_design.LINES:
        for tf in atlas_design.ASSAYED[line]:
            strict, relaxed = (
                read(atlas, f"chip/{line}/{tf}{suffix}.narrowPeak.gz", header=None)
                for suffix in ("", ".relaxed")
            )
            assert strict.shape[1] == relaxed.shape[1] == 10
            assert (relaxed[1] < relaxed[2]).all() and (relaxed[9] < relaxed[2] - relaxed[1]).all()
            keys = relaxed[[0, 1, 2]].apply(tuple, axis=1)
            assert set(strict[[0, 1, 2]].apply(tuple, axis=1)) <= set(keys)
            assert len(relaxed) > len(strict)
            own = sites[(sites["tf"] == tf) & (sites[f"bound_{line}"] == 1)]
            centre = (own["start"].to_numpy() + own["end"].to_numpy()) // 2
            summit = (strict[1] + strict[9]).to_numpy()
            same = strict[0].to_numpy()[:, None] == own["chrom"].to_numpy()
            near = same & (np.abs(summit[:, None] - centre) <= 80)
            hits, total = hits + near.any(axis=1).sum(), total + len(strict)
            reached = same & (np.abs(summit[:, None] - centre) <= 80 + simulate_sites.MERGED)
            found, bound_total = found + reached.any(axis=0).sum(), bound_total + len(own)
    assert 0.94 < hits / total < 1
    assert 0.9 < found / bound_total < 1


def test_fragments_are_sorted_indexed_and_inside(atlas):
    sizes = {name: len(text) for name, text in chromosomes(atlas).items()}
    names = [f"bulk/{line}" for line in atlas_design.LINES] + ["sc/demo"]
    for name in names:
        table = fragments(atlas, f"{name}.fragments.tsv.gz")
        order = table.sort_values(["chrom", "start"], kind="stable").index
        assert (order == table.index).all()
        assert not table.duplicated(["chrom", "start", "end", "barcode"]).any()
        assert (table["count"] >= 1).all() and (table["count"] > 1).any()
        assert (table["start"] >= 0).all() and (table["end"] <= table["chrom"].map(sizes)).all()
        assert (table["end"] - table["start"]).min() >= simulate_reads.SHORTEST
        with pysam.TabixFile(str(atlas / f"{name}.fragments.tsv.gz")) as index:
            fetched = sum(1 for _ in index.fetch("chr2"))
        assert fetched == (table["chrom"] == "chr2").sum()
    with gzip.open(atlas / "bulk/LINE_B.fragments.tsv.gz", "rt") as handle:
        assert handle.readline().split("\t")[3] == "LINE_B"


def test_cells_have_their_types_and_the_poor_barcodes_are_poor(atlas):
    cells = read(atlas, "truth/cells.tsv")
    real = cells[cells["is_cell"] == 1]
    assert real["cell_type"].value_counts().to_dict() == {
        "myeloid": 16, "b_cell": 13, "t_cell": 12, "erythroid": 7, "mast": 2
    }  # fmt: skip
    assert (cells["is_cell"].to_numpy() == np.arange(len(cells)).__lt__(50).astype(int)).all()
    assert (cells.loc[cells["is_cell"] == 0, "cell_type"] == "").all()
    assert cells["barcode"].str.fullmatch("[ACGT]{16}-1").all() and cells["barcode"].is_unique
    table = fragments(atlas, "sc/demo.fragments.tsv.gz")
    counted = table["barcode"].value_counts().reindex(cells["barcode"], fill_value=0)
    assert (counted.to_numpy() == cells["n_fragments"].to_numpy()).all()
    assert real["n_fragments"].median() == pytest.approx(300, rel=0.3)
    few = cells["n_fragments"].to_numpy()[51::2]
    assert (few < 0.1 * 300).all()


def test_cells_follow_the_truth_of_openness(atlas):
    """Fragments of a cell are dense where ``open.npz`` says open, and nothing is open beyond its type."""
    cells = read(atlas, "truth/cells.tsv")
    elements = read(atlas, "truth/elements.bed").rename(columns={"#chrom": "chrom"})
    is_open = sparse.load_npz(atlas / "truth/open.npz").toarray()
    real = cells[cells["is_cell"] == 1]
    assert is_open.shape == (len(real), len(elements)) and is_open.dtype == bool
    kinds = elements[[f"open_{name}" for name in real["cell_type"]]].to_numpy().T == 1
    assert not (is_open & ~kinds).any()
    assert is_open[kinds].mean() == pytest.approx(simulate_reads.OPEN_IN_CELL, abs=0.02)

    table = fragments(atlas, "sc/demo.fragments.tsv.gz")
    row = table["barcode"].map({barcode: number for number, barcode in enumerate(real["barcode"])})
    table = table[row.notna()].assign(row=row[row.notna()].astype(int))
    counts = np.zeros(is_open.shape)
    for chrom, group in table.groupby("chrom"):
        here = np.flatnonzero(elements["chrom"] == chrom)
        for cut in (group["start"].to_numpy(), group["end"].to_numpy() - 1):
            rank = np.searchsorted(elements["start"].to_numpy()[here], cut, side="right") - 1
            inside = (rank >= 0) & (cut < elements["end"].to_numpy()[here][rank])
            np.add.at(counts, (group["row"].to_numpy()[inside], here[rank[inside]]), 1)
    assert counts[is_open].mean() > 3 * counts[~is_open].mean()


def test_footprints_and_repeats_show(preferences):
    rng = np.random.default_rng(1)
    genome = simulate_genome.simulate_genome(rng, [300_000], atlas_design.DRIVERS, preferences)
    library = simulate_reads.Library(
        genome, simulate_reads.tn5_weight(genome.codes), simulate_reads.gc_share(genome.codes), gc_bias=0.0
    )
    mark = np.zeros(len(genome.codes), dtype=bool)
    centre = genome.elements["centre"].to_numpy()[0]
    mark[centre - 30 : centre + 30] = True
    element = np.zeros(20_000, dtype=np.int64)
    inside = []
    for footprint in (np.zeros_like(mark), mark):
        start, end, made = library.fragments(rng, element, footprint)
        assert made.mean() > 0.99
        inside.append(np.mean(mark[start[made]]) + np.mean(mark[end[made] - 1]))
    assert inside[1] < 0.75 * inside[0]
    start, end, made = library.fragments(rng, np.full(20_000, -1), np.zeros_like(mark))
    cuts = np.concatenate([start[made], end[made] - 1])
    assert (genome.codes[cuts] < 4).all()
    first, last = genome.repeats[0]
    share = ((cuts >= first) & (cuts < last)).mean()
    assert share > 1.5 * (last - first) / len(genome.codes)


def test_design_of_lines_types_and_experiments():
    activity = world.activity_table()
    assert not any(
        (activity.loc[line] == activity.loc[name]).all()
        for line in atlas_design.LINES
        for name in atlas_design.TYPES
    )
    for first, second in combinations(atlas_design.TYPES, 2):
        assert (activity.loc[first] != activity.loc[second]).sum() >= 2
    trained = set(atlas_design.ASSAYED["LINE_A"]) | set(atlas_design.ASSAYED["LINE_B"])
    assert trained == set(atlas_design.TFS)
    for line in atlas_design.LINES:
        active = set(activity.columns[activity.loc[line] == 1])
        assert set(atlas_design.ASSAYED[line]) < active  # every line has an active factor that nobody assayed
    assert sum(atlas_design.SHARE.values()) == pytest.approx(1) and atlas_design.SHARE["mast"] == 0.04


def test_sheets_name_the_demo_files():
    config = Path(__file__).parents[2] / "config/demo"
    files = {f"resources/demo/{name}" for name in demo_files()}
    chip = read(config, "chip.tsv")
    assert set(chip["path"]) | set(chip["relaxed"]) == {name for name in files if "/chip/" in name}
    for row in chip.itertuples():
        assert f"/{row.cell_line}/{row.tf}." in row.path
    assert list(read(config, "tracks.tsv")["cell_line"]) == atlas_design.LINES
    assert set(read(config, "tracks.tsv")["path"]) | set(read(config, "samples.tsv")["path"]) <= files


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_cells": 24}, "n_cells: with 24 cells the rarest cell type is empty; set it to 25 or more"),
        ({"chromosome_mb": (1.0, 0.05)}, r"\[1.0, 0.05\] is empty or has a chromosome shorter than 0.1 Mb"),
        ({"chromosome_mb": ()}, r"chromosome_mb: \[\] is empty or has a chromosome shorter than 0.1 Mb"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        demo.simulate(tmp_path, **options)
    assert not list(tmp_path.iterdir())
