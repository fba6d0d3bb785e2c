"""Bundles: what goes in comes out to the byte; what is damaged, foreign or dangerous is refused in one line."""

import io
import json
import os
import re
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from docpages import read_page
from scbind.core.errors import InputError
from scbind.formats import bundlefile
from scbind.formats.bundlefile import ABOUT, FORMAT, MEMBERS, read_about, read_bundle, write_bundle
from scbind.formats.motifs import motif_names, read_motifs
from scbind.models.bundle import BundleFiles, make_bundle
from scbind.models.unpack import unpack_bundle
from scbind.plan.settings import check_config
from scbind.plan.sheets import load_plan

HEADER = "model\tcell_line\ttf\tsplit\tprevalence\tauprc"
ROWS = (HEADER, "mine\tB\tTF1\ttest\t0.1\t0.5", "accessibility\tB\tTF1\ttest\t0.1\t0.25")
METRICS = "".join(f"{row}\n" for row in (*ROWS, "other\tB\tTF1\ttest\t0.1\t0.9"))
DATA = [{"cell_line": "A", "tf": "TF1", "file": "a.bed", "source": "ENCFF000XXX", "licence": "free"}]

STARTER = Path(__file__).parents[2] / "resources/models/starter.scbind.zip"
PARTS = ("test", "chromosome")  # splits whose accuracy the documents state
COMPARED = {
    "starter": "starter",
    "boosted_trees": "boosted trees, one model per TF",
    "motif_x_accessibility": "motif x accessibility",
    "accessibility": "accessibility",
}


@pytest.fixture(scope="module")
def files(tiny_model, tiny_motifs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "metrics.tsv").write_text(METRICS)
    (folder / "card.md").write_text("# Model card: mine\n")
    weights, calibration, history = tiny_model
    return BundleFiles(weights, calibration, history, folder / "card.md", tiny_motifs, folder / "metrics.tsv")


@pytest.fixture(scope="module")
def bundle(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "mine.scbind.zip"
    make_bundle(
        files, path, "mine", comparators=["accessibility"], species="human", licence="MIT", training_data=DATA
    )
    return path


def unpack(bundle, folder, window=200, context=1000):
    tables = {name: folder / f"stated_{name}.tsv" for name in ("metrics", "evaluation")}
    unpack_bundle(bundle, folder, "here", window=window, context=context, **tables)


def refused(path, what, folder):
    """Unpacking is refused in one line that names the bundle, and nothing is written."""
    with pytest.raises(InputError, match=what) as error:
        unpack(path, folder)
    assert str(path) in str(error.value) and "\n" not in str(error.value) and error.value.remedy
    assert not folder.exists() or not list(folder.iterdir())


def altered(bundle, path, **changes):
    """Copy a bundle; a member takes other bytes, ``None`` leaves it out. Checksums in bundle.json stay."""
    with zipfile.ZipFile(bundle) as old:
        content = {name: old.read(name) for name in old.namelist()} | changes
    return packed(path, {name: each for name, each in content.items() if each is not None})


def packed(path, content, method=zipfile.ZIP_DEFLATED, **facts):
    """Write a zip file in the form of a bundle, with Python's own writer; ``facts`` replace those of each member."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, each in content.items():
            entry = zipfile.ZipInfo(name)
            for key, value in ({"compress_type": method, "external_attr": 0o644 << 16} | facts).items():
                setattr(entry, key, value)
            archive.writestr(entry, each, compresslevel=9)
    return path


def test_motifs_come_out_right_however_their_memory_lies(files, tmp_path):
    stored = {name: np.asfortranarray(array) for name, array in np.load(files.motifs).items()}
    np.savez(tmp_path / "motifs.npz", **stored)
    assert read_motifs(tmp_path / "motifs.npz")["TF1"].flags.f_contiguous
    given = replace(files, motifs=tmp_path / "motifs.npz")
    make_bundle(
        given, tmp_path / "b.zip", "mine", comparators=[], species="human", licence="MIT", training_data=DATA
    )
    unpack(tmp_path / "b.zip", tmp_path / "out")
    assert np.array_equal(read_motifs(tmp_path / "out/motifs.npz")["TF1"], read_motifs(files.motifs)["TF1"])


def with_about(bundle, path, **changes):
    return altered(bundle, path, **{ABOUT: json.dumps(read_about(bundle) | changes).encode()})


def test_files_come_out_as_they_went_in(files, bundle, tmp_path):
    unpack(bundle, tmp_path / "out")
    out = tmp_path / "out"
    for name, original in (
        ("model.safetensors", files.weights),
        ("calibration.json", files.calibration),
        ("training.csv", files.history),
        ("card.md", files.card),
    ):
        assert (out / name).read_bytes() == original.read_bytes(), name
    before, after = read_motifs(files.motifs), read_motifs(out / "motifs.npz")
    assert before.keys() == after.keys() and all(np.array_equal(before[tf], after[tf]) for tf in before)
    assert motif_names(out / "motifs.npz") == motif_names(files.motifs)
    # the model takes its name of this run, other trained models are left out
    expected = METRICS.replace("mine", "here").rpartition("other")[0]
    assert (out / "stated_evaluation.tsv").read_text() == expected
    assert (out / "stated_metrics.tsv").read_text() == expected.rpartition("accessibility")[0]
    about = json.loads((out / "bundle.json").read_text())
    assert about["training_data"] == DATA and about["licence"] == "MIT" and about["file"] == bundle.name
    assert about["facts"]["tfs"] == ["TF1", "TF2"] and about["genome"] == "mini"


def test_the_same_model_gives_the_same_bundle(files, bundle, tmp_path):
    again = tmp_path / "again.scbind.zip"
    make_bundle(
        files,
        again,
        "mine",
        comparators=["accessibility"],
        species="human",
        licence="MIT",
        training_data=DATA,
    )
    assert again.read_bytes() == bundle.read_bytes()


def test_nothing_in_a_bundle_is_a_pickle(bundle):
    with zipfile.ZipFile(bundle) as archive:
        assert sorted(archive.namelist()) == sorted([ABOUT, *MEMBERS])
        assert not any(archive.read(name).startswith(b"\x80") for name in archive.namelist())


def test_a_bundle_that_was_cut_off_is_refused(bundle, tmp_path):
    whole, path = bundle.read_bytes(), tmp_path / "cut.scbind.zip"
    for length in (0, 3, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, "not a bundle, or cut off|the file is empty", tmp_path / "out")


@contextmanager
def flipped(path, place, bit):
    """Flip one bit of a file for a while."""
    with open(path, "r+b", buffering=0) as handle:
        (before,) = os.pread(handle.fileno(), 1, place)
        os.pwrite(handle.fileno(), bytes([before ^ 1 << bit]), place)
        yield
        os.pwrite(handle.fileno(), bytes([before]), place)


def streams(bundle):
    """Places of the compressed bytes of each member: everything else in the file says where and what they are."""
    with zipfile.ZipFile(bundle) as archive:
        starts = {each: each.header_offset + 30 + len(each.filename) for each in archive.infolist()}
    return [range(start, start + each.compress_size) for each, start in starts.items()]


def test_a_bit_that_was_flipped_never_goes_unnoticed(bundle, tmp_path):
    """In the zip file around the members, every bit; in what is compressed, some, unless the content is the same."""
    whole, path = bundle.read_bytes(), tmp_path / "flipped.scbind.zip"
    path.write_bytes(whole)
    inside = {place for stream in streams(bundle) for place in stream}
    around = [place for place in range(len(whole)) if place not in inside]
    assert len(around) > 500
    for place in around:
        for bit in range(8):
            with flipped(path, place, bit), pytest.raises(InputError) as error:
                read_about(path)
            assert "\n" not in str(error.value)
    expected, rng = read_bundle(bundle), np.random.default_rng(0)
    chosen = [stream[at] for stream in streams(bundle) for at in rng.integers(0, len(stream), 40)]
    same = 0
    for place, bit in zip(chosen, rng.integers(0, 8, len(chosen)), strict=True):
        with flipped(path, place, bit):
            try:
                assert read_bundle(path) == expected
                same += 1
            except InputError as error:
                assert "\n" not in str(error)
    assert path.read_bytes() == whole and same < 0.05 * len(
        chosen
    )  # the last bits of a compressed stream may say nothing


def test_nothing_may_stand_beside_the_members(bundle, tmp_path):
    whole, path = bundle.read_bytes(), tmp_path / "more.zip"
    with zipfile.ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert packed(path, content).read_bytes() == whole, "Python's own writer gives the same bytes"
    for each in (b"#!/bin/sh\nexit\n" + whole, whole + b"more", whole[:-2] + b"\x04\0more"):
        path.write_bytes(each)
        refused(path, "not as scbind wrote it|not a bundle", tmp_path / "out")
    other = "not as scbind wrote it: altered, or packed by another program; get the bundle again"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused(packed(path, content, method), other, tmp_path / "out")
    for facts in (
        {"date_time": (2020, 1, 1, 0, 0, 0)},
        {"comment": b"x"},
        {"extra": b"zz\0\0"},
        {"external_attr": 0},
    ):
        refused(packed(path, content, **facts), other, tmp_path / "out")
    refused(packed(path, dict(reversed(content.items()))), other, tmp_path / "out")


def test_bytes_after_the_end_of_a_compressed_member_are_refused(bundle, tmp_path, monkeypatch):
    found, real = read_bundle(bundle), zlib.compressobj

    class Packer:
        def __init__(self, *options):
            self.own = real(*options)
            self.compress = self.own.compress

        def flush(self):
            return self.own.flush() + b"hidden"

    monkeypatch.setattr(bundlefile.zlib, "compressobj", Packer)
    said = {key: value for key, value in found.about.items() if key not in ("members", "format")}
    write_bundle(tmp_path / "more.zip", said, found.members)
    refused(tmp_path / "more.zip", "bundle.json: wrong checksum", tmp_path / "out")


def test_a_weight_that_was_altered_is_refused(bundle, tmp_path):
    for name in MEMBERS:
        content = bytearray(read_bundle(bundle).members[name])
        content[len(content) // 2] ^= 1
        refused(
            altered(bundle, tmp_path / "a.zip", **{name: bytes(content)}),
            f"{name}: wrong checksum",
            tmp_path / "o",
        )
        refused(
            altered(bundle, tmp_path / "b.zip", **{name: bytes(content) + b"x"}),
            "has a different size than bundle.json states",
            tmp_path / "o",
        )
        refused(
            altered(bundle, tmp_path / "c.zip", **{name: None}),
            f"without {name} is not a bundle",
            tmp_path / "o",
        )


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/passwd", "model.ckpt", "data.pkl", "folder/card.md"]
)
def test_members_that_a_bundle_does_not_have_are_refused(bundle, tmp_path, name):
    path = altered(bundle, tmp_path / "more.zip", **{name: b"\x80\x04."})
    refused(path, "a bundle has no such member", tmp_path / "out")
    assert not (tmp_path / "outside.txt").exists()


def test_a_member_that_is_there_twice_is_refused(bundle, tmp_path):
    path = tmp_path / "twice.zip"
    path.write_bytes(bundle.read_bytes())
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("card.md", "other")
    refused(path, "a member occurs twice", tmp_path / "out")


def test_a_member_that_would_fill_the_memory_is_not_unpacked(bundle, tmp_path):
    path = altered(bundle, tmp_path / "bomb.zip", **{"card.md": b"\0" * (1 << 24)})
    refused(path, "card.md: has a different size than bundle.json states", tmp_path / "out")
    size = struct.pack("<I", 1 << 24)
    small = path.read_bytes()
    assert small.count(size) == 2  # before the member and in the directory
    path.write_bytes(small.replace(size, struct.pack("<I", 19)))
    tracemalloc.start()
    refused(path, "card.md: wrong checksum", tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_other_formats_and_geometries_are_refused(bundle, tmp_path):
    path = tmp_path / "other.zip"
    newer = with_about(bundle, path, format=FORMAT + 1, version="9.9")
    refused(newer, f"made by scbind 9.9 in bundle format {FORMAT + 1}; .*update scbind", tmp_path / "out")
    for wrong in (True, 1.0, "1", None):
        refused(
            with_about(bundle, path, format=wrong),
            f"the format {wrong!r} is not a whole number",
            tmp_path / "out",
        )
    refused(with_about(bundle, path, facts=[]), "facts is missing or of a wrong type", tmp_path / "out")
    refused(with_about(bundle, path, members={}), "does not list model.safetensors", tmp_path / "out")
    refused(altered(bundle, path, **{ABOUT: b"[]"}), "bundle.json: not readable", tmp_path / "out")
    other = read_about(bundle)["facts"] | {"tfs": ["CTCF", "GATA1"]}
    refused(
        with_about(bundle, path, facts=other), "describes another model than the weights", tmp_path / "out"
    )
    strange = read_about(bundle)["facts"] | {"tfs": ["CTCF", "../GATA1"]}
    refused(
        with_about(bundle, path, facts=strange),
        "its TF '../GATA1' cannot be part of a file name",
        tmp_path / "out",
    )
    with pytest.raises(
        InputError, match="windows of 200 in 1000 bp, this run has 100 in 1000; set dataset.window: 200"
    ):
        unpack(bundle, tmp_path / "out", window=100)
    plain = tmp_path / "plain.zip"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("card.md", "x")
    refused(plain, "without bundle.json is not a bundle", tmp_path / "out")
    refused(tmp_path, "a folder, not a bundle", tmp_path / "out2")
    refused(tmp_path / "absent.zip", "no such file", tmp_path / "out")


def test_metrics_without_the_model_are_refused(files, tmp_path):
    with pytest.raises(InputError, match="no row of the model yours"):
        make_bundle(
            files, tmp_path / "b.zip", "yours", comparators=[], species=None, licence=None, training_data=[]
        )
    assert not (tmp_path / "b.zip").exists()


@pytest.fixture
def plan(bundle, tmp_path, monkeypatch):
    """Plan a run with one model that a bundle gives, and with changes of the configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text("x")
    (tmp_path / "f.tsv.gz").write_text("x")
    (tmp_path / "samples.tsv").write_text("sample\tpath\tformat\ns1\tf.tsv.gz\tfragments\n")
    (tmp_path / "tracks.tsv").write_text("cell_line\tpath\tformat\nA\tg.fa\tcoverage\n")
    (tmp_path / "chip.tsv").write_text("cell_line\ttf\tpath\nA\tTF1\tg.fa\n")

    def load(models=None, sheets=None, **changes):
        config = {
            "genome": {"name": "g", "fasta": "g.fa"},
            "sheets": {"samples": "samples.tsv"} | (sheets or {}),
            "models": models or {"given": {"bundle": str(bundle)}},
        }
        return load_plan(check_config(config | changes, "c.yaml"), "c.yaml", environ={})

    return load


def test_a_given_model_needs_neither_cell_lines_nor_splits(plan, bundle):
    found = plan()
    assert found.given == {"given": str(bundle)} and not found.trained and not found.has_dataset
    assert found.config["infer"]["model"] == "given" and str(bundle) in found.inputs()
    lines = {"tracks": "tracks.tsv", "chip": "chip.tsv"}
    assert plan(sheets=lines).has_dataset
    both = plan(
        {"given": {"bundle": str(bundle)}, "own": {}}, lines, splits={"test": ["*:chr1"], "valid": ["*:chr2"]}
    )
    assert both.trained == ["own"] and list(both.given) == ["given"]


def test_plans_of_given_models_that_cannot_work_are_refused(plan, bundle, tmp_path):
    lines = {"tracks": "tracks.tsv", "chip": "chip.tsv"}
    broken = tmp_path / "cut.scbind.zip"
    broken.write_bytes(bundle.read_bytes()[:500])
    wrong = [
        (
            {"models": {"own": {}}},
            "key sheets.tracks: this key is missing, and the model own is to be trained",
        ),
        ({"models": {"own": {}}, "sheets": lines}, "key splits.test: this key is missing"),
        (
            {"models": {"own": {}}, "sheets": lines, "splits": {"test": ["*:chr1"]}},
            "key splits.valid: this key is missing",
        ),
        ({"sheets": {"tracks": "tracks.tsv"}}, "key sheets.chip: sheets.tracks needs sheets.chip beside it"),
        ({"models": {"m": {"bundle": "no.zip"}}}, "key models.m.bundle: no such file: no.zip"),
        ({"models": {"m": {"bundle": "source:m"}}}, "key models.m.bundle: no source named 'm'"),
        ({"models": {"m": {"bundle": str(broken)}}}, "not a bundle, or cut off"),
        (
            {"models": {"m": {"bundle": str(bundle), "epochs": 3}}},
            "key models.m.epochs: has no effect on a model",
        ),
        ({"dataset": {"window": 100}}, "reads windows of 200 in 1000 bp, this run has 100 in 1000"),
        ({"infer": {"model": "scbind"}}, "no model is named 'scbind'; use one of: given"),
    ]
    for change, message in wrong:
        with pytest.raises(InputError) as error:
            plan(**change)
        assert message in str(error.value) and "\n" not in str(error.value), change


def test_what_a_bundle_says_of_its_training_data_names_no_path(plan, tmp_path):
    (tmp_path / "sources.tsv").write_text(
        f"name\turl\tsha256\tlicence\npeaks.bed\thttps://x.org/p.bed\t{'0' * 64}\tfree use\n"
    )
    (tmp_path / "chip.tsv").write_text("cell_line\ttf\tpath\tsource\nA\tTF1\tsource:peaks.bed\tENCSR000AAA\n")
    (tmp_path / "tracks.tsv").write_text(
        "cell_line\tpath\tformat\tnote\nA\t" + str(tmp_path) + "/g.fa\tbam\tmine\n"
    )
    listed = plan(sheets={name: f"{name}.tsv" for name in ("sources", "tracks", "chip")}).training_data()
    peaks = {
        "cell_line": "A",
        "tf": "TF1",
        "file": "peaks.bed",
        "source": "ENCSR000AAA",
        "licence": "free use",
    }
    peaks |= {"url": "https://x.org/p.bed", "sha256": "0" * 64}
    assert listed == [{"cell_line": "A", "file": "g.fa", "source": "mine"}, peaks]


def forged(bundle, path, about=None, **members):
    """Copy a bundle with other members, and with checksums that fit them."""
    found = read_bundle(bundle)
    said = {
        key: value for key, value in (found.about | (about or {})).items() if key not in ("members", "format")
    }
    write_bundle(path, said, found.members | members)
    return path


NONSENSE = [
    ({"metrics.tsv": b""}, "metrics.tsv: not a table of accuracy"),
    (
        {"metrics.tsv": HEADER.encode() + b"\nother\tB\tTF1\ttest\t0.1\t0.5\n"},
        "not a table with rows of mine",
    ),
    ({"metrics.tsv": b"\xff\xfe"}, "metrics.tsv: not readable"),
    ({"training.csv": b""}, "training.csv: not readable"),
    ({"card.md": b"\xff"}, "card.md: not readable"),
    ({"calibration.json": b"{}"}, "calibration.json: not a readable calibration"),
    ({"motifs.safetensors": b"x" * 100}, "motifs.safetensors: not readable"),
]


@pytest.mark.parametrize(
    ("members", "what"), NONSENSE, ids=lambda each: next(iter(each)) if isinstance(each, dict) else ""
)
def test_members_that_hold_nonsense_are_refused_before_anything_is_written(bundle, tmp_path, members, what):
    refused(forged(bundle, tmp_path / "forged.zip", **members), what, tmp_path / "out")


def test_a_calibration_whose_values_are_nonsense_is_refused(bundle, tmp_path):
    fitted = json.loads(read_bundle(bundle).members["calibration.json"])
    fitted["reliability"]["TF1"] = 5
    path = forged(bundle, tmp_path / "forged.zip", **{"calibration.json": json.dumps(fitted).encode()})
    refused(path, "calibration.json: does not fit", tmp_path / "out")
    del fitted["reliability"]["TF1"]
    fitted["tfs"] = fitted["tfs"][:1]
    path = forged(bundle, tmp_path / "forged.zip", **{"calibration.json": json.dumps(fitted).encode()})
    refused(path, "calibration.json: its TFs are not those of the model", tmp_path / "out")


def test_what_bundle_json_says_is_checked(bundle, tmp_path):
    path = tmp_path / "forged.zip"
    refused(
        forged(bundle, path, {"training_data": [1, 2]}),
        "training_data is not a list of sections",
        tmp_path / "out",
    )
    refused(
        forged(bundle, path, {"genome": "other"}),
        "describes another model than the weights",
        tmp_path / "out",
    )
    refused(forged(bundle, path, {"facts": {}}), "do not say which windows the model reads", tmp_path / "out")
    for size in (-2, 10**30, True, "1"):
        about = read_about(bundle)
        about["members"]["card.md"]["bytes"] = size
        altered(bundle, path, **{ABOUT: json.dumps(about).encode()})
        refused(path, "does not list card.md with a valid size", tmp_path / "out")
    altered(bundle, path, **{ABOUT: b'{"format": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"})
    refused(path, "bundle.json: not readable", tmp_path / "out")


def test_the_starter_has_motifs_of_probabilities(tmp_path):
    """Columns of log-odds over a uniform background stand for probabilities, which sum to 1."""
    unpack(STARTER, tmp_path)
    motifs = read_motifs(tmp_path / "motifs.npz")
    assert len(motifs) > 40
    for tf, matrix in motifs.items():
        np.testing.assert_allclose((0.25 * 2.0**matrix).sum(axis=0), 1, atol=1e-4, err_msg=tf)


def test_the_starter_is_small():
    assert STARTER.stat().st_size < 2_000_000, "each clone of the repository downloads it"


@pytest.fixture(scope="module")
def starter():
    """What the bundle of the starter says of its accuracy, as the documents write it."""
    found = read_bundle(STARTER)
    table = pd.read_csv(io.BytesIO(found.members["metrics.tsv"]), sep="\t").dropna(subset="auprc")
    means = table.groupby(["model", "split"])[["auprc", "prevalence"]].mean()
    each = json.loads(found.members["calibration.json"])["reliability"].values()
    at = np.array(
        [tf["auprc_at"] for tf in each], dtype=float
    )  # log10 of the depth and AUPRC, from full depth on
    return {
        "card": found.members["card.md"].decode(),
        "auprc": {split: {m: f"{means.loc[(m, split), 'auprc']:.3f}" for m in COMPARED} for split in PARTS},
        "pairs": {
            split: int(((table["model"] == "starter") & (table["split"] == split)).sum()) for split in PARTS
        },
        "prevalence": means.loc[("starter", "test"), "prevalence"],
        "tfs": len(found.about["facts"]["tfs"]),
        "chip": [sum(row) for row in found.about["facts"]["assayed"]],
        "abstained": sum(tf["abstained"] for tf in each),
        "thinned": [f"{mean:.3f}" for mean in np.nanmean(at[:, :, 1], axis=0)],
    }


def stated_in(path):
    return " ".join(read_page(STARTER.parents[2] / path).split())


def test_documents_state_the_accuracy_of_the_starter_that_its_bundle_holds(starter):
    test, new = (starter["auprc"][split] for split in PARTS)
    text = stated_in("resources/models/README.md")
    for model, name in COMPARED.items():
        assert f"| {name} | {test[model]} |" in text
        assert re.search(
            rf"\| {model}( \(this model\))? \| {starter['pairs']['test']} \| \S+ \| {test[model]} \|",
            starter["card"],
        )
    assert f"test windows of {starter['pairs']['test']} TFs" in text
    assert f"random guessing, is {starter['prevalence']:.4f}." in text
    assert (
        f"{starter['pairs']['chromosome']} TFs), the mean AUPRC is {new['starter']} (boosted trees: "
        f"{new['boosted_trees']}, motif x accessibility: {new['motif_x_accessibility']})"
    ) in text
    thinned = starter["thinned"]
    assert re.search(rf"falls from {thinned[0]} to {thinned[2]} \([^)]+\) and to {thinned[3]} \(", text)
    text = stated_in("README.md")
    for figures in (test, new):
        others = f"{figures['boosted_trees']}; motif x accessibility: {figures['motif_x_accessibility']} |"
        assert (
            f"| {starter['prevalence']:.3f} | **{figures['starter']}** | {COMPARED['boosted_trees']}: {others}"
            in text
        )
    assert f"On held-out sequence its mean AUPRC is {new['starter']}" in stated_in("docs/tutorial/pbmc.ipynb")


def test_documents_state_how_many_tfs_the_starter_has_and_abstains_on(starter):
    tfs, abstained = starter["tfs"], starter["abstained"]
    text = stated_in("resources/models/README.md")
    assert f"binding of {tfs} transcription factors" in text
    assert re.findall(r"Mb \((\d+) TFs\)", text) == [str(n) for n in starter["chip"]]
    assert f"| {tfs - abstained}. scbind abstains on the other {abstained}," in text
    assert f"abstains on {abstained} of its {tfs} TFs" in stated_in("docs/tutorial/pbmc.ipynb")
    assert f"it covers {tfs} TFs" in stated_in("README.md")
    assert f"predicts {tfs} TFs, which have ChIP-seq" in stated_in("docs/how-to/apply.md")
    assert f"comes with scbind: {tfs} TFs" in stated_in("config/config.yaml").replace(" # ", " ")


def test_a_bundle_is_unpacked_to_the_same_bytes_each_time(tmp_path):
    """safetensors gives the arrays of a file in another order each time."""
    for name in ("first", "again"):
        unpack(STARTER, tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
