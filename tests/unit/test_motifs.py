import numpy as np
import pytest
from scbind.core.errors import InputError
from scbind.formats.motifs import log_odds, motif_names, prepare_motifs, read_motifs, scan_all


def brute_force(codes, matrix):
    best = []
    for row in codes:
        scores = []
        for strand in (matrix, matrix[::-1, ::-1]):
            for i in range(len(row) - matrix.shape[1] + 1):
                part = row[i : i + matrix.shape[1]]
                scores.append(sum(strand[b, j] for j, b in enumerate(part) if b < 4))
        best.append(max(scores))
    return np.array(best, dtype=np.float32)


def test_scan_equals_brute_force():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, (6, 40)).astype(np.uint8)
    short, long = (rng.normal(size=(4, n)).astype(np.float32) for n in (5, 12))
    both = scan_all(codes, [short, long], batch=4)
    np.testing.assert_allclose(both[:, 0], brute_force(codes, short), rtol=1e-4)
    np.testing.assert_allclose(both[:, 1], brute_force(codes, long), rtol=1e-4)
    np.testing.assert_allclose(scan_all(codes, [short])[:, 0], both[:, 0], rtol=1e-5)


def test_scan_refuses_windows_shorter_than_the_matrix():
    with pytest.raises(ValueError, match="shorter than a matrix"):
        scan_all(np.zeros((1, 4), np.uint8), [np.zeros((4, 5), np.float32)])


def test_log_odds_of_an_even_column_is_zero():
    assert log_odds(np.full((4, 2), 5.0)) == pytest.approx(np.zeros((4, 2)))
    assert log_odds(np.array([[8.0], [0], [0], [0]]))[0, 0] == pytest.approx(np.log2(8.2 / 8.8 / 0.25))


def test_jaspar_needs_no_network(tmp_path, capfd):
    output = tmp_path / "motifs.npz"
    prepare_motifs(["CTCF", "RAD21", "SPI1", "EP300"], output, aliases={"RAD21": "CTCF"})
    motifs, names = read_motifs(output), motif_names(output)
    assert set(motifs) == {"CTCF", "RAD21", "SPI1"} and names["CTCF"].startswith("MA0139")
    np.testing.assert_array_equal(motifs["CTCF"], motifs["RAD21"])
    assert "EP300: no matrix" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "holds no matrix"),
        (">M1 TF1\nA [ 1 2 ]\nC [ 1 2 ]\nG [ 1 ]\nT [ 1 2 ]\n", "is not four rows"),
        (">M1 TF1\nA [ 1 x ]\n", "line 2: not a number"),
        (">M1 TF9\n1 2 3 4\n", "no matrix for any TF"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "m.jaspar"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        prepare_motifs(["TF1"], tmp_path / "out.npz", path=str(path))
    assert not (tmp_path / "out.npz").exists()


def test_rows_per_position_are_read_as_well(tmp_path):
    path = tmp_path / "m.pfm"
    path.write_text(">MA0004.1_MA0004.1.Tf1\n9 0 0 0\n0 9 0 0\n0 0 9 0\n")
    prepare_motifs(["TF1"], tmp_path / "out.npz", path=str(path))
    assert read_motifs(tmp_path / "out.npz")["TF1"].argmax(axis=0).tolist() == [0, 1, 2]


def test_unknown_release(tmp_path):
    with pytest.raises(InputError, match="no JASPAR release 'JASPAR1000'"):
        prepare_motifs(["CTCF"], tmp_path / "out.npz", release="JASPAR1000")
