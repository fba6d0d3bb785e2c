"""The nearest known motif of found and learned motifs: noisy copies of known ones are named, random ones are not."""

import numpy as np
import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.discovery import nearest
from scbind.discovery.learned import describe_learned
from scbind.discovery.nearest import FEWEST_TARGETS, nearest_known, released_motifs, trim
from scbind.formats.motiffiles import Matrix
from scbind.formats.motifs import log_odds, write_motifs


@pytest.fixture(scope="module")
def known():
    return released_motifs(None, "JASPAR2024", "vertebrates")


def chosen(known, *names):
    """The first matrices of these TFs."""
    return [next(motif for motif in known if motif.name == name) for name in names]


def noisy(motif, seed, n=60, flank=3, reverse=False):
    """A matrix from ``n`` sites that are drawn from a known one, with random bases on both sides."""
    rng = np.random.default_rng(seed)
    share = motif.counts / motif.counts.sum(axis=0)
    share = np.pad(share, ((0, 0), (flank, flank)), constant_values=0.25)
    counts = np.stack([rng.multinomial(n, column) for column in share.T], axis=1)
    return log_odds(counts[::-1, ::-1] if reverse else counts)


def random_matrices(n, seed, width=12):
    rng = np.random.default_rng(seed)
    return [log_odds(60 * rng.dirichlet([0.3] * 4, size=width).T) for _ in range(n)]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_known_motif_with_noise_is_named(known, reverse):
    names = ["CTCF", "CEBPB", "NRF1", "REST", "SPI1"]
    wanted = chosen(known, *(name if name not in ("NRF1", "SPI1") else name.capitalize() for name in names))
    matrices = [noisy(motif, seed, reverse=reverse) for seed, motif in enumerate(wanted)]
    own = [f"{motif.identity}:{motif.name}" for motif in wanted]
    found = nearest_known(matrices, own, known)
    assert found["nearest_known"].tolist() == own
    assert (found["nearest_p_adjusted"] < 1e-4).all()
    pd.testing.assert_series_equal(found["own_p_adjusted"], found["nearest_p_adjusted"], check_names=False)


def test_the_known_motif_of_the_tf_is_compared_also_if_another_is_nearer(known):
    (ctcf, gata) = chosen(known, "CTCF", "GATA1")
    own = [f"{gata.identity.partition('.')[0]}.77:GATA1", "MA9:none", None]
    found = nearest_known([noisy(ctcf, 1)] * 3, own, known)
    assert found["nearest_known"].str.endswith(":CTCF").all()
    assert found["own_p_adjusted"][0] > 0.05 and found["own_p_adjusted"][1:].isna().all()


def test_random_motifs_have_no_neighbour(known):
    """... but for as many as the adjusted p-value allows."""
    found = nearest_known(random_matrices(200, 1), [None] * 200, known)
    named = found["nearest_known"] != ""
    assert named.sum() <= 20
    assert found["nearest_p_adjusted"].isna().equals(~named)
    # without the factor of the number of known motifs, nearly all would be named
    assert nearest_known(random_matrices(1, 2), [None], known)["nearest_known"][0] == ""


def test_a_gap_is_no_similarity(known):
    """Matrices of CTCF with a long gap are similar to any motif with a gap, so they are not compared."""
    shares = np.full((4, 20), 0.25)
    shares[:, [0, 1, 18, 19]] = np.array([[0.01, 0.97, 0.01, 0.01], [0.97, 0.01, 0.01, 0.01]] * 2).T
    found = nearest_known([log_odds(100 * shares)], ["MA1929.2:CTCF"], known)
    assert any(motif.identity == "MA1929.2" for motif in known)
    assert found["nearest_known"][0] != "MA1929.2:CTCF" and np.isnan(found["own_p_adjusted"][0])


def test_the_same_result_each_time(known):
    matrices = random_matrices(5, 3) + [noisy(chosen(known, "CTCF")[0], 4)]
    first = nearest_known(matrices, [None] * 6, known)
    pd.testing.assert_frame_equal(first, nearest_known(matrices, [None] * 6, known))
    alone = nearest_known(matrices[-1:], [None], known)
    assert alone["nearest_p_adjusted"][0] == first["nearest_p_adjusted"][5], "whatever else is compared"


def test_without_known_motifs_nothing_is_named(known, capfd):
    empty = nearest_known(random_matrices(2, 1), [None] * 2, released_motifs(None, None, "vertebrates"))
    assert empty["nearest_known"].tolist() == ["", ""] and empty["nearest_p_adjusted"].isna().all()
    assert "known motifs are needed" not in capfd.readouterr().err
    few = nearest_known([noisy(known[0], 1)], [None], known[: FEWEST_TARGETS - 1])
    assert few["nearest_known"].tolist() == [""]
    assert "50 known motifs are needed, there are 49" in capfd.readouterr().err
    assert len(nearest_known([], [], known)) == 0
    flat = nearest_known([np.zeros((4, 8))], [None], known)
    assert flat["nearest_known"].tolist() == [""]


def test_an_unknown_release_ends_in_one_line():
    with pytest.raises(InputError, match="no JASPAR release 'JASPAR1066'"):
        released_motifs(None, "JASPAR1066", "vertebrates")


def test_ends_without_information_are_cut():
    flat, weak, sure = [0.25] * 4, [0.55, 0.15, 0.15, 0.15], [0.97, 0.01, 0.01, 0.01]
    assert (
        trim(np.array([flat, weak, sure, flat, sure, weak]).T).tolist()
        == np.array([sure, flat, sure]).T.tolist()
    )
    assert trim(np.array([flat, weak]).T).shape == (4, 0)


FACTS = {
    "architecture": "scbind", "version": "0", "genome": "g", "chromosomes": {}, "window": 200, "context": 1000,
    "tfs": ["CTCF", "FREE", "UNSEEN", "FOS"], "cell_lines": ["K"], "assayed": [[True] * 4],
    "modelled": [True, True, False, True], "bound_train": {}, "mappability": False, "depth": {}, "splits": {},
    "evidence": ["chip", "chip", "chip", "motif"],
}  # fmt: skip


@pytest.fixture(scope="module")
def model(known, tmp_path_factory):
    """A network whose second matrix starts at random, and its known motifs."""
    torch = pytest.importorskip("torch")
    from scbind.models.layers import RATE, MotifScan
    from scbind.models.modelfile import write_model

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    (ctcf,) = chosen(known, "CTCF")
    matrix = log_odds(ctcf.counts)
    scan = MotifScan([matrix, None, matrix, matrix], 25, 50)
    with torch.no_grad():
        scan.learned[0, :, 5] = torch.tensor([0.1, -0.2, -0.2, -0.2])
    state = {f"scan.{name}": values for name, values in scan.state_dict().items()}
    write_model(folder / "model.safetensors", state, FACTS, {})
    write_model(folder / "scfan.safetensors", {"other": torch.zeros(1)}, FACTS, {})
    write_motifs(folder / "motifs.npz", {"CTCF": (f"{ctcf.identity}:CTCF", matrix)})
    expected = np.zeros((4, 25))
    expected[:, 5:20] = matrix
    expected[:, 5] += RATE * np.array([0.1, -0.2, -0.2, -0.2]) * matrix.max(axis=0).sum()
    return folder, expected


def test_learned_matrices_have_the_scale_from_which_they_started(model):
    from scbind.models.learnedmotifs import learned_motifs, scale_of

    folder, expected = model
    found = learned_motifs(folder / "model.safetensors")
    assert list(found) == ["CTCF"], "FREE starts at random, UNSEEN is not predicted, FOS has no ChIP-seq"
    np.testing.assert_allclose(found["CTCF"], expected, atol=1e-4)
    assert learned_motifs(folder / "scfan.safetensors") == {}
    assert scale_of(np.zeros((4, 25))) is None
    assert scale_of(np.full((4, 3), 0.3)) is None


def test_the_table_of_learned_motifs(model, tmp_path):
    folder, _ = model
    for name, n in (("model", 1), ("scfan", 0)):
        describe_learned(
            folder / f"{name}.safetensors", folder / "motifs.npz", tmp_path / f"{name}.tsv",
            release="JASPAR2024", taxon="vertebrates",
        )  # fmt: skip
        table = pd.read_csv(tmp_path / f"{name}.tsv", sep="\t")
        assert tuple(table.columns) == ("tf", "consensus", *nearest.COLUMNS) and len(table) == n
    row = pd.read_csv(tmp_path / "model.tsv", sep="\t").iloc[0]
    assert row["tf"] == "CTCF" and row["nearest_known"].endswith(":CTCF") and row["own_p_adjusted"] < 1e-10
    assert "AGGGGGC" in row["consensus"]


def test_a_duplicate_name_is_the_first_of_them(known):
    """A file of the user may have two matrices of one name."""
    (ctcf,) = chosen(known, "CTCF")
    twice = [*known[:60], ctcf, Matrix("CTCF", ctcf.identity, known[0].counts)]
    found = nearest_known([noisy(ctcf, 1)], [f"{ctcf.identity}:CTCF"], twice)
    assert found["own_p_adjusted"][0] == found["nearest_p_adjusted"][0] < 1e-6
