"""TFs without ChIP-seq: their matrices, the network that serves them, and what is said of them."""

import json

import numpy as np
import pytest
import torch
from scbind.core.errors import InputError
from scbind.dataset.trainingset import TrainingSet
from scbind.formats.motifgroups import motif_groups
from scbind.formats.motifs import log_odds, motif_names, read_motifs, write_motifs
from scbind.formats.motiftfs import choose_motif_tfs, matrices_of_motif_tfs
from scbind.models.abstention import marks, reliability_table
from scbind.models.addition import add_chosen, add_from_release
from scbind.models.base import build_network
from scbind.models.bundle import BundleFiles, make_bundle
from scbind.models.calibration import calibrate
from scbind.models.modelfile import read_model, write_model
from scbind.models.motifcalibration import FEWEST, add_motif_calibration, expected_reliability
from scbind.models.motiftfs import add_motif_tfs, as_motif_tfs, assayed_part
from scbind.models.predictor import load_predictor
from scbind.models.sharedway import KNOTS, P_UNIT, log_p_table, log_p_values
from scbind.models.training import data_facts
from scbind.models.unpack import unpack_bundle

OPTIONS = {"channels": 8, "hidden": 8, "members": 2, "strangers": 0.5, "width": 12}
FACTS = {
    "architecture": "scbind", "tfs": ["A", "B"], "modelled": [True, True], "bound_train": {"A": 5, "B": 5},
    "cell_lines": ["L"], "assayed": [[True, True]], "window": 200, "context": 1000, "deepest": 0.1,
    "genome": "mini", "chromosomes": {"chr1": 9000}, "mappability": False, "depth": {}, "splits": {}, "version": "0",
}  # fmt: skip


def matrix(seed, width=8):
    return log_odds(np.random.default_rng(seed).dirichlet([0.3] * 4, width).T * 100)


def network_of(facts, state=None, motifs=None):
    network = build_network("scbind", facts, OPTIONS, motifs)
    if state is None:  # weights as of a training, none of them zero
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for values in network.parameters():
                values += 0.3 * torch.randn(values.shape, generator=generator)
    else:
        network.load_state_dict(state)
    return network.eval()


@pytest.fixture(scope="module")
def trained():
    return network_of(FACTS, motifs={"A": matrix(1), "B": matrix(2)}).state_dict()


def logits_of(network, keep=None):
    rng = np.random.default_rng(4)
    codes = torch.from_numpy(rng.integers(0, 4, (6, 1000), dtype=np.uint8))
    counts = torch.from_numpy(rng.poisson(0.5, (6, 20)).astype(np.float32))
    depth = torch.full((6,), 0.02)
    with torch.inference_mode():
        return network.respond_each(network.readout(codes, keep=keep), counts, depth, keep=keep).numpy()


def test_a_motif_tf_is_predicted_as_a_tf_whose_own_part_is_left_out(trained):
    state, facts = add_motif_tfs(trained, FACTS, OPTIONS, {"A2": matrix(1), "C": matrix(3)})
    assert facts["tfs"] == ["A", "B", "A2", "C"] and facts["evidence"] == ["chip", "chip", "motif", "motif"]
    assert facts["assayed"] == [[True, True, False, False]] and facts["modelled"] == [True] * 4
    whole, before = logits_of(network_of(facts, state)), logits_of(network_of(FACTS, trained))
    np.testing.assert_allclose(whole[:, :, :2], before, rtol=0, atol=1e-5)
    # a twin of A with its matrix of the release, beside it
    twins, named = as_motif_tfs(trained, FACTS, OPTIONS)
    assert named["modelled"] == [False, False, True, True]
    both = logits_of(network_of(named, twins))
    np.testing.assert_allclose(both[:, :, 2], whole[:, :, 2], rtol=0, atol=1e-5)
    np.testing.assert_allclose(both[:, :, :2], before, rtol=0, atol=1e-5)
    assert np.abs(whole[:, :, 2] - whole[:, :, 0]).max() > 0.1
    assert np.abs(whole[:, :, 3] - whole[:, :, 2]).max() > 0.01


def test_a_tf_that_is_left_out_has_its_matrix_of_the_release_and_no_own_weights():
    found, released = {"A": matrix(7), "B": matrix(8)}, {"A": matrix(1)}  # none is known of B
    network = build_network("scbind", FACTS, OPTIONS, found, released)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in network.parameters():
            values += 0.3 * torch.randn(values.shape, generator=generator)
    state = network.eval().state_dict()
    own = ".scan.learned.", ".scale.", ".shift.", ".own.", ".always.", ".head.4.", ".alone."
    bare = {
        name: torch.zeros_like(values) if any(each in f".{name}." for each in own) else values
        for name, values in state.items()
    }
    plain = build_network("scbind", FACTS, OPTIONS, {"A": matrix(1), "B": matrix(8)}).state_dict()
    bare |= {name: plain[name] for name in ("scan.known", "log_p")}
    left_out = logits_of(network, torch.zeros(2))
    np.testing.assert_allclose(left_out, logits_of(network_of(FACTS, bare)), rtol=0, atol=1e-5)
    assert np.abs(left_out - logits_of(network)).max() > 0.1
    np.testing.assert_array_equal(logits_of(network, torch.ones(2)), logits_of(network))


def test_training_leaves_out_whole_tfs(trained):
    network = network_of(FACTS, trained).train()
    rows = torch.zeros(3, 1000, dtype=torch.uint8), torch.ones(3, 20), torch.full((3,), 0.02), None
    torch.manual_seed(0)
    network.windows[0].head.eval()
    gradients = []
    for _ in range(8):
        network.zero_grad()
        network.training_logits(*rows)[:, :, 0].sum().backward()
        gradients.append(float(network.windows[0].always.grad[:, 0].abs().sum()))
    assert 0 < sum(value == 0 for value in gradients) < 8


def test_the_assayed_part_is_what_was_trained(trained):
    state, facts = add_motif_tfs(trained, FACTS, OPTIONS, {"C": matrix(3)})
    again, fewer = assayed_part(state, facts | {"motif_group": ["A", "B", "C"]}, OPTIONS)
    assert fewer == FACTS
    assert again.keys() == trained.keys()
    assert all(torch.equal(again[name], trained[name]) for name in trained)


def test_a_part_of_the_motif_tfs_is_as_if_only_these_were_added(trained):
    new = {"C": matrix(3), "D": matrix(4), "E": matrix(5), "F": matrix(6)}
    state, facts = add_motif_tfs(trained, FACTS, OPTIONS, new)
    facts |= {"motif_group": [*"ABCDEF"], "alike": {"C": ["A"], "F": ["B"]}}
    part, fewer = assayed_part(state, facts, OPTIONS, ["F", "D"])
    expected, named = add_motif_tfs(trained, FACTS, OPTIONS, {tf: new[tf] for tf in "DF"})
    assert fewer == named | {"motif_group": [*"ABDF"], "alike": {"F": ["B"]}}
    assert part.keys() == expected.keys()
    assert all(torch.equal(part[name], expected[name]) for name in part)


def test_without_strangers_the_network_has_no_shared_way():
    plain = build_network("scbind", FACTS, OPTIONS | {"strangers": 0.0}).state_dict()
    assert not [name for name in plain if "general" in name or "log_p" in name]


def test_log_p_is_that_of_all_sites():
    one = matrix(5, 6)
    scaled = one / one.max(axis=0).sum()
    bases = np.indices([4] * 6).reshape(6, -1)  # all sites of 6 bp
    scores = scaled[bases, np.arange(6)[:, None]].sum(axis=0)
    table = log_p_table(scaled)
    for knot, limit in enumerate(np.linspace(0, 1, KNOTS)):
        # scores are rounded to steps, so a site near the limit may be on either side
        most, least = ((scores >= limit + shift).mean() for shift in (-0.02, 0.02))
        assert -np.log10(most) - 1e-6 <= P_UNIT * table[knot] <= -np.log10(max(least, 4.0**-6)) + 1e-6
    assert P_UNIT * table[-1] == pytest.approx(6 * np.log10(4))
    wider = np.concatenate([np.zeros((4, 3)), scaled, np.zeros((4, 2))], axis=1)
    np.testing.assert_allclose(log_p_table(wider), table, rtol=1e-6)


def test_log_p_of_a_score_is_read_from_the_table_of_its_tf():
    tables = torch.stack([torch.linspace(0, 1, KNOTS), torch.linspace(0, 1, KNOTS).square()])
    scores = torch.tensor([[[0.5, 1.2], [0.5, 1.0]], [[0.0, 0.3], [0.3, 0.0]]], requires_grad=True)
    found = log_p_values(scores, tables)
    expected = [[[0.5, 1.2], [0.25, 1.0]], [[0.0, 0.3], [0.09, 0.0]]]
    np.testing.assert_allclose(found.detach(), expected, atol=1e-4)
    found[0, 1, 0].backward()  # the slope at 0.5, so that the matrix can learn
    assert float(scores.grad[0, 1, 0]) == pytest.approx(1, abs=0.02)


def test_a_long_motif_is_trusted_more_than_a_short_one_with_the_same_score():
    long, short = (log_p_table(m / m.max(axis=0).sum()) for m in (matrix(1, 14), matrix(1, 6)))
    assert (long[KNOTS // 2 :] > 1.5 * short[KNOTS // 2 :]).all()


def test_matrices_that_cannot_be_told_apart_are_one_group():
    one, other = matrix(1, 9), matrix(2, 9)
    shifted = np.concatenate([np.zeros((4, 2), np.float32), one[::-1, ::-1]], axis=1)
    assert motif_groups({"X": one, "Y": other, "Z": shifted}) == {"X": "X", "Y": "Y", "Z": "X"}


JASPAR = """>M1 TF1
A [ 9 0 0 1 ]
C [ 0 9 0 1 ]
G [ 0 0 9 1 ]
T [ 1 1 1 7 ]
>M2 Ab
A [ 0 9 9 1 ]
C [ 0 0 0 1 ]
G [ 9 0 0 1 ]
T [ 1 1 1 7 ]
>M3 AB
A [ 0 9 9 1 ]
C [ 9 0 0 1 ]
G [ 0 0 0 1 ]
T [ 1 1 1 7 ]
>M4 TF1::Ab
A [ 0 9 0 9 ]
C [ 9 0 0 0 ]
G [ 0 0 9 0 ]
T [ 1 1 1 1 ]
>M5 XX::YY
A [ 9 9 0 9 ]
C [ 0 0 9 0 ]
G [ 0 0 1 0 ]
T [ 1 1 1 1 ]
"""


@pytest.fixture
def release(tmp_path):
    path = tmp_path / "release.jaspar"
    path.write_text(JASPAR)
    return str(path)


def test_all_takes_one_matrix_per_tf_without_chip_seq(release):
    found = matrices_of_motif_tfs("all", ["TF1", "TF2"], None, "vertebrates", release)
    assert {tf: name for tf, (name, _) in found.items()} == {"AB": "M2:Ab"}  # as a human symbol
    assert list(matrices_of_motif_tfs("all", ["Tf1", "Tf2"], None, "vertebrates", release)) == ["Ab"]


@pytest.mark.parametrize(
    ("asked", "assayed", "says"),
    [
        (["NONE"], ["TF1"], "NONE has no matrix"),
        ("all", ["TF1", "ab"], "the model has every TF with a motif already"),
        (["XX", "YY"], ["TF1"], "XX and YY both take the matrix M5 of XX::YY"),
        (["Ab", "tf1", "TF2"], ["TF1", "TF2"], "the model has tf1, TF2 already; remove"),
    ],
)
def test_tfs_that_cannot_be_added_are_refused(release, asked, assayed, says):
    with pytest.raises(InputError, match=says):
        matrices_of_motif_tfs(asked, assayed, None, "vertebrates", release)


def test_names_of_all_fit_into_file_names(tmp_path, capsys):
    path = tmp_path / "release.jaspar"
    path.write_text(JASPAR.replace("M2 Ab", "MA0002.1 Etv1/4/5").replace("M3 AB", "MA0003.1 ETV1/4/5"))
    found = matrices_of_motif_tfs("all", ["Tf1", "Tf2"], None, "urochordates", str(path))
    assert {tf: name for tf, (name, _) in found.items()} == {"Etv1-4-5": "MA0002.1:Etv1/4/5"}
    assert "renamed, for file names: Etv1/4/5 to Etv1-4-5" in capsys.readouterr().err
    aliases = {"Etv1-4-5": "Etv1/4/5"}  # as an error tells the user to write
    listed = matrices_of_motif_tfs(["Etv1-4-5"], [], None, "urochordates", str(path), aliases)
    assert listed["Etv1-4-5"][0] == "MA0002.1:Etv1/4/5"
    with pytest.raises(InputError, match=r"'Etv1/4/5' cannot be part of a file name; write Etv1-4-5 here"):
        matrices_of_motif_tfs(["Etv1/4/5"], [], None, "urochordates", str(path))
    with pytest.raises(
        InputError, match="the model has every TF with a motif already"
    ):  # it has ChIP-seq under the other name
        matrices_of_motif_tfs("all", ["Tf1", "Tf2", "Etv1-4-5"], None, "urochordates", str(path))


@pytest.mark.parametrize(
    ("asked", "assayed", "takes"),
    [
        (["PU1"], ["AB"], "PU1 takes the same matrix as AB"),
        (["PU1"], ["PU2"], "PU1 takes the same matrix as PU2"),
    ],
)
def test_a_tf_that_takes_the_matrix_of_another_one_is_not_added_beside_it(release, asked, assayed, takes):
    source = None, "vertebrates", release, {"PU1": "AB", "PU2": "AB"}
    with pytest.raises(InputError, match=f"by motifs.aliases, {takes}, which the model has already; remove"):
        matrices_of_motif_tfs(asked, assayed, *source)


@pytest.mark.parametrize("asked", ["all", ["AB"]])
def test_a_tf_is_added_beside_another_protein_that_takes_its_matrix(release, asked, capsys):
    found = matrices_of_motif_tfs(asked, ["TF1", "RAD21"], None, "vertebrates", release, {"rad21": "Ab"})
    assert list(found) == ["AB"]
    beside = "added beside a TF of the model that takes the same matrix (motifs.aliases): AB (RAD21)"
    assert (beside in capsys.readouterr().err) == (asked == "all")


def test_all_leaves_out_what_takes_the_matrix_of_another_tf(release, capsys):
    found = matrices_of_motif_tfs("all", ["XX"], None, "vertebrates", release, {"tf1": "Ab"})
    assert list(found) == ["AB"]
    said = capsys.readouterr().err
    assert "left out, because they take the matrix of another TF (motifs.aliases): TF1 (Ab)" in said
    listed = matrices_of_motif_tfs(["TF1"], ["XX"], None, "vertebrates", release, {"tf1": "Ab"})
    np.testing.assert_array_equal(listed["TF1"][1], found["AB"][1])
    with pytest.raises(InputError, match="Ab and TF1 both take the matrix M2"):
        matrices_of_motif_tfs(["Ab", "TF1"], ["XX"], None, "vertebrates", release, {"tf1": "Ab"})


FLAT = """>M6 WEAK
A [ 40 20 20 ]
C [ 20 40 20 ]
G [ 20 20 40 ]
T [ 20 20 20 ]
>M7 SHORT
A [ 9 0 ]
C [ 0 9 ]
G [ 0 0 ]
T [ 0 0 ]
"""


def test_a_matrix_that_matches_every_window_is_no_motif(tmp_path, capsys):
    path = tmp_path / "release.jaspar"
    path.write_text(JASPAR + FLAT)
    for tf, bits in (("WEAK", "0.2"), ("SHORT", "4.0")):
        with pytest.raises(
            InputError, match=rf"{tf}: its matrix M. matches everywhere \({bits} bits of info"
        ):
            matrices_of_motif_tfs([tf, "AB"], ["TF1"], None, "vertebrates", str(path))
    assert list(matrices_of_motif_tfs("all", ["TF1"], None, "vertebrates", str(path))) == ["AB"]
    assert "less than 5 bits matches everywhere: WEAK (M6, 0.2 bits), SHORT (M7, 4.0 bits)" in (
        capsys.readouterr().err
    )


def test_all_vertebrates_of_jaspar_have_a_motif(capsys):
    assert len(matrices_of_motif_tfs("all", ["CTCF"], "JASPAR2024", "vertebrates")) > 700
    assert "matches everywhere" not in capsys.readouterr().err


def test_case_tells_tfs_of_insects_apart(release):
    found = matrices_of_motif_tfs(["Ab", "AB"], ["aB"], None, "insects", release, {"ab": "TF1"})
    assert {tf: name for tf, (name, _) in found.items()} == {"AB": "M3:AB", "Ab": "M2:Ab"}


def test_a_name_without_a_matrix_is_refused_before_the_training(tmp_path, release):
    source = {"release": None, "taxon": "vertebrates", "path": release, "aliases": {}}
    with pytest.raises(InputError, match="NONE has no matrix"):
        choose_motif_tfs(["NONE"], ["TF1"], tmp_path / "chosen.npz", **source)
    choose_motif_tfs("none", ["TF1"], tmp_path / "chosen.npz", **source)
    assert motif_names(tmp_path / "chosen.npz") == {}


def test_chosen_tfs_are_added_as_those_of_a_release(tmp_path, trained, release, capsys):
    long = np.eye(4)[:, np.random.default_rng(0).integers(0, 4, 40)] * 100
    rows = [f"{base} [ {' '.join(map(str, row))} ]" for base, row in zip("ACGT", long, strict=True)]
    with open(release, "a") as handle:
        handle.write("\n".join([">M9 LONG", *rows]) + "\n")
    write_motifs(tmp_path / "known", {tf: (tf, matrix(n)) for n, tf in enumerate("AB")})
    write_model(tmp_path / "trained", trained, FACTS, OPTIONS)
    source = {"release": None, "taxon": "vertebrates", "path": release}
    choose_motif_tfs(["Ab", "LONG"], FACTS["tfs"], tmp_path / "chosen", **source)
    add_chosen(*[tmp_path / name for name in ("trained", "known", "chosen", "w1", "o1")])
    assert "matrices cut to their 12 most informative bp: LONG (40 bp)" in capsys.readouterr().err
    add_from_release(
        *[tmp_path / name for name in ("trained", "known", "w2", "o2")], ["Ab", "LONG"], **source
    )
    assert (tmp_path / "w1").read_bytes() == (tmp_path / "w2").read_bytes()
    assert motif_names(tmp_path / "o1") == motif_names(tmp_path / "o2")


def test_none_is_asked_for_without_a_release():
    assert matrices_of_motif_tfs("none", ["TF1"], None, "vertebrates") == {}


def test_matrices_may_share_an_identifier(tmp_path):
    path = tmp_path / "release.jaspar"
    path.write_text(JASPAR.replace(">M2", ">M1"))
    assert list(matrices_of_motif_tfs(["TF1", "Ab"], [], None, "vertebrates", str(path))) == ["Ab", "TF1"]


def test_an_empty_release_is_refused():
    with pytest.raises(InputError, match="holds no matrix"):
        matrices_of_motif_tfs("all", [], "JASPAR2024", "no such taxon")


def test_a_model_that_was_not_trained_for_it_gets_no_motif_tfs(tmp_path, trained, release):
    write_model(tmp_path / "m", trained, FACTS, {"channels": 8})
    with pytest.raises(InputError, match="cannot predict TFs without ChIP-seq"):
        add_from_release(*[tmp_path / name for name in "mkwo"], "all", release=None, taxon="", path=release)


def test_motif_tfs_are_calibrated_and_marked(tmp_path, tiny, tiny_dataset, tiny_motifs, release):
    facts = data_facts(TrainingSet.open(tiny_dataset, tiny["reference"]), "scbind")
    state = network_of(facts, motifs=read_motifs(tiny_motifs)).state_dict()
    paths = [tmp_path / name for name in ("trained", "weights", "motifs.npz", "calibration", "before")]
    write_model(paths[0], state, facts, OPTIONS)
    add_from_release(
        paths[0], tiny_motifs, paths[1], paths[2], ["Ab"], release=None, taxon="vertebrates", path=release
    )
    assert motif_names(paths[2])["Ab"] == "M2:Ab"
    where = tiny_dataset, tiny["reference"]
    calibrate(paths[1], *where, paths[3], max_windows=300, seed=1)
    calibrate(paths[0], *where, paths[4], max_windows=300, seed=1)
    after, before = (json.loads(path.read_text()) for path in (paths[3], paths[4]))
    assert after["tfs"] == [*before["tfs"], "Ab"]
    for tf in before["tfs"]:
        assert after["parameters"][tf] == before["parameters"][tf]
    assert after["reliability"]["Ab"]["level"] == "unknown"  # there are fewer stand-ins than FEWEST
    model = load_predictor(paths[1], paths[3])
    assert model.evidence == ["chip"] * model.n_assayed + ["motif"]
    assert marks(model.reliability, model.tfs)["evidence"].tolist() == model.evidence
    assert reliability_table(model.reliability, model.tfs).loc["Ab", "motif_group"] == "Ab"
    assert load_predictor(paths[1], paths[3], motif_tfs=()).tfs == before["tfs"]
    assert read_model(paths[1])["facts"]["tfs"][-1] == "Ab"


def test_a_model_to_which_none_is_added_is_the_trained_one(tmp_path, trained, release):
    write_motifs(tmp_path / "known", {tf: (tf, matrix(n)) for n, tf in enumerate("AB")})
    write_model(tmp_path / "trained", trained, FACTS, OPTIONS)
    paths = [tmp_path / name for name in ("trained", "known", "weights", "motifs")]
    add_from_release(*paths, "none", release=None, taxon="", path=release)
    assert paths[2].read_bytes() == paths[0].read_bytes()
    assert motif_names(paths[3]) == motif_names(paths[1])


CARD = "# Model card: m\n\nFor 2 TFs.\n\n## More\n\nTo rank.\n"


def given_bundle(tmp_path, tiny, tiny_dataset, tiny_motifs, options=OPTIONS):
    """A bundle of a model and the folder with its files."""
    facts = data_facts(TrainingSet.open(tiny_dataset, tiny["reference"]), "scbind")
    network = build_network("scbind", facts, options, read_motifs(tiny_motifs))
    write_model(tmp_path / "weights", network.state_dict(), facts, options)
    calibrate(tmp_path / "weights", tiny_dataset, tiny["reference"], tmp_path / "calibration", 300, seed=1)
    (tmp_path / "history").write_text("epoch,loss\n0,1\n")
    (tmp_path / "card").write_text(CARD)
    (tmp_path / "metrics").write_text(
        "model\tcell_line\ttf\tsplit\tauprc\tprevalence\nm\tB\tTF1\ttest\t1\t1\n"
    )
    files = [tmp_path / name for name in ("weights", "calibration", "history", "card")]
    about = {"comparators": [], "species": None, "licence": None, "training_data": []}
    make_bundle(
        BundleFiles(*files, tiny_motifs, tmp_path / "metrics"), tmp_path / "m.scbind.zip", "m", **about
    )
    return tmp_path / "m.scbind.zip"


def unpacked(bundle, folder, **asked):
    tables = {name: folder / f"{name}.tsv" for name in ("metrics", "evaluation")}
    added = {"release": None, "taxon": "vertebrates", "aliases": {}} | asked
    unpack_bundle(bundle, folder, "m", window=200, context=1000, motif_tfs=added if asked else None, **tables)
    return {name: folder / name for name in ("model.safetensors", "calibration.json", "motifs.npz")}


def test_a_tf_that_cannot_be_added_to_a_bundle_names_the_model_and_the_bundle(
    tmp_path, tiny, tiny_dataset, tiny_motifs, release
):
    bundle = given_bundle(tmp_path, tiny, tiny_dataset, tiny_motifs)
    with pytest.raises(InputError) as refused:
        unpacked(bundle, tmp_path / "out", asked=["NOPE"], path=release)
    assert str(refused.value).startswith(
        f"config, key models.m.motif_tfs, bundle {bundle}: NOPE has no matrix in {release}; "
    )
    (tmp_path / "bad.jaspar").write_text(">M1 A\n1 2\n")
    with pytest.raises(InputError, match="bad.jaspar, line 1: matrix"):
        unpacked(bundle, tmp_path / "out", asked=["NOPE"], path=str(tmp_path / "bad.jaspar"))


def test_tfs_added_to_a_bundle_are_those_added_where_it_was_trained(
    tmp_path, tiny, tiny_dataset, tiny_motifs, release
):
    bundle = given_bundle(tmp_path, tiny, tiny_dataset, tiny_motifs)
    plain = unpacked(bundle, tmp_path / "plain")
    assert plain["model.safetensors"].read_bytes() == (tmp_path / "weights").read_bytes()
    path = tmp_path / "release.jaspar"
    path.write_text(JASPAR + JASPAR[JASPAR.index(">M2") : JASPAR.index(">M3")].replace("M2 Ab", "M8 TWIN"))
    wider = unpacked(bundle, tmp_path / "wider", asked=["Ab", "TWIN"], path=release)
    # in place: the TFs are added first, then the model is calibrated
    add_from_release(
        tmp_path / "weights", tiny_motifs, tmp_path / "w", tmp_path / "o", ["Ab", "TWIN"], release=None,
        taxon="vertebrates", path=release,
    )  # fmt: skip
    calibrate(tmp_path / "w", tiny_dataset, tiny["reference"], tmp_path / "c", 300, seed=1)
    assert wider["model.safetensors"].read_bytes() == (tmp_path / "w").read_bytes()
    assert json.loads(wider["calibration.json"].read_text()) == json.loads((tmp_path / "c").read_text())
    assert motif_names(wider["motifs.npz"]) == motif_names(tmp_path / "o")
    assert load_predictor(wider["model.safetensors"], wider["calibration.json"]).evidence[-1] == "motif"
    assert (tmp_path / "plain/card.md").read_text() == CARD
    card = (tmp_path / "wider/card.md").read_text()
    assert card.startswith("# Model card: m\n\nFor 2 TFs.\n\n## TFs that were added here\n\nPredicted from")
    assert "(evidence `motif`): Ab, TWIN.\n" in card
    assert card.endswith("almost the same way: Ab/TWIN.\n\n## More\n\nTo rank.\n")


def test_tfs_that_cannot_be_added_to_a_bundle_leave_no_file(
    tmp_path, tiny, tiny_dataset, tiny_motifs, release
):
    bundle = given_bundle(tmp_path, tiny, tiny_dataset, tiny_motifs)
    with pytest.raises(InputError, match="NONE has no matrix"):
        unpacked(bundle, tmp_path / "out", asked=["NONE"], path=release)
    plain = {key: value for key, value in OPTIONS.items() if key != "strangers"}
    other = given_bundle(tmp_path, tiny, tiny_dataset, tiny_motifs, plain)
    with pytest.raises(InputError, match=r"m.scbind.zip.*its model cannot predict TFs without ChIP-seq; set"):
        unpacked(other, tmp_path / "out", asked=["Ab"], path=release)
    assert not (tmp_path / "out").exists()


def test_the_reliability_of_a_motif_tf_is_what_most_stand_ins_exceed():
    entry = {"level": "medium", "min_depth": 0.01, "prevalence": 0.01}
    measured = {f"T{n}": entry | {"auprc_least": 0.1 * n} for n in range(1, 10)}
    found = expected_reliability(measured | {"U": entry | {"level": "unknown", "auprc_least": 0.9}})
    assert (found["auprc_expected"], found["gain_expected"], found["level"]) == (0.5, 50, "medium")
    assert found["min_depth"] == 0.01 and not found["abstained"]
    weak = {tf: each | {"auprc_least": each["auprc_least"] / 4} for tf, each in measured.items()}
    found = expected_reliability(weak)
    assert (found["auprc_expected"], found["level"], found["min_depth"]) == (0.125, "low", None)
    assert found["abstained"]
    common = {tf: each | {"prevalence": 0.2} for tf, each in measured.items()}
    assert expected_reliability(common)["abstained"] and expected_reliability(common)["level"] == "medium"
    few = dict(list(measured.items())[: FEWEST - 1])
    assert expected_reliability(few)["level"] == "unknown" and expected_reliability(few)["abstained"]


@pytest.mark.parametrize(
    ("assayed", "trusted"),
    [
        ({"A": ("low", True)}, False),
        ({"A": ("medium", True), "B": ("low", True)}, False),  # medium, but too close to the prevalence
        ({"A": ("low", True), "B": ("high", False)}, True),
        ({"A": ("unknown", True)}, True),
        ({"A": ("unknown", True), "B": ("low", True)}, False),
    ],
)
def test_a_motif_tf_is_not_trusted_more_than_assayed_tfs_of_its_motif(assayed, trusted):
    general = {
        "auprc_expected": 0.3,
        "gain_expected": 90,
        "level": "medium",
        "min_depth": 0.01,
        "abstained": False,
    }
    stored = {
        "tfs": [*assayed, "C"],
        "parameters": {},
        "reliability": {
            tf: {"level": level, "abstained": given}
            for tf, (level, given) in (assayed | {"C": ("low", True)}).items()
        },
        "motif_tfs": {"parameters": [1, 0, 0, 0], "reliability": general},
    }
    tfs = [*stored["tfs"], "LIKE_A", "OTHER"]
    facts = {
        "tfs": tfs,
        "evidence": ["motif" if tf in ("LIKE_A", "OTHER") else "chip" for tf in tfs],
        "motif_group": ["A" if tf in ("A", "B", "LIKE_A") else tf for tf in tfs],
        "alike": {"LIKE_A": list(assayed)},
    }
    add_motif_calibration(stored, facts)
    found = stored["reliability"]["LIKE_A"]
    assert (found["level"], found["abstained"]) == (("medium", False) if trusted else ("low", True))
    assert found["auprc_expected"] == (0.3 if trusted else None)
    assert stored["reliability"]["OTHER"]["level"] == "medium"
