import numpy as np
import pytest
from scbind.core.errors import InputError
from scbind.formats.motiffiles import prepare_motifs, read_profiles
from scbind.formats.motifs import log_odds, motif_names, read_motifs, scan_all


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
        (
            "MEME version 4\nMOTIF TF1\nletter-probability matrix: w= x nsites= 2\n0 0 0 1\n",
            "line 3: w is 'x', not a whole number",
        ),
        (
            "MEME version 4\nMOTIF TF1\nletter-probability matrix: w= 1 nsites= -5\n0 0 0 1\n",
            "line 3: nsites is '-5', not a whole number",
        ),
        (">M1 TF9\n1 2 3 4\n", "no matrix for any TF"),
        (">M1 TF1\n1 -2 3 4\n", "line 1: matrix 'M1 TF1' has negative values: log-odds, not counts"),
        (">M1 TF1\n1 2 3 4\n0 0 0 0\n", "has a position without counts"),
        (
            ">M1 TF1\n5 5 5\n5 5 5\n5 5 5\n5 5 5\n",
            "matrix 'M1 TF1' has the same share of all bases everywhere",
        ),
        (">M1 TF1\n1 2 2 1\n2 1 1 2\n1 2 1 2\n2 1 2 1\n", "may have its positions in rows or in columns"),
        (
            "MEME version 4\nMOTIF a\nletter-probability matrix: alength= 4 w= 2\n0 0 0 1\n",
            "is not 2 rows of four",
        ),
        (
            "MEME version 4\nMOTIF a\nletter-probability matrix: alength= 20 w= 2\n",
            "line 3: the alphabet has not four",
        ),
        (
            "MEME version 4\nMOTIF a\nletter-probability matrix: alength= 4 w= nan\n",
            "line 3: w is 'nan', not a whole",
        ),
        (
            "MEME version 4\nMOTIF a\nletter-probability matrix: alength= 4 nsites= -5 w= 1\n0 0 0 1\n",
            "nsites is '-5'",
        ),
        ("MEME version 4\nMOTIF a\nletter-probability matrix: nsites= 1e300\n0 0 0 1\n", "nsites is '1e300'"),
        (
            "MEME version 4\nMOTIF a\nletter-probability matrix: w= 1\n0 0 0 1\n"
            "letter-probability matrix: w= 1\n0 1 0 0\n",
            "a matrix has no line MOTIF with a name",
        ),
        ("AC  M1\nXX\nP0  A C G T\nXX\n//\n", "matrix 'M1 M1' has no position"),
        ("AC  M1\nXX\nP0  A C G T\n01  1 2 3\n//\n", "cannot be read as TRANSFAC"),
        ("chr1\t1\t2\n", "holds no matrix; give matrices in the format of JASPAR, MEME"),
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


JASPAR = ">M1 TF1\nA [ 87 167 281 56 8 ]\nC [ 291 145 49 800 903 ]\nG [ 76 414 449 21 0 ]\nT [ 459 187 134 36 2 ]\n"
COUNTS = np.array([row.split()[2:-1] for row in JASPAR.splitlines()[1:]], dtype=float)
COLUMNS = "\n".join(" ".join(f"{value:g}" for value in row) for row in COUNTS.T)
SHARES = COUNTS / COUNTS.sum(axis=0)
SHARE_COLUMNS = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in SHARES.T)
MEME = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF M1 TF1\nletter-probability matrix: alength= 4 w= 5 nsites= 913 E= 0\n"
FILES = {
    "JASPAR": JASPAR,
    "JASPAR, Windows": JASPAR.replace("\n", "\r\n"),
    "JASPAR, four rows": ">M1 TF1\n" + "\n".join(" ".join(map(str, row)) for row in COUNTS) + "\n",
    "HOCOMOCO 11": f">TF1_HUMAN.H11MO.0.A\n{COLUMNS}\n",
    "HOCOMOCO 12": f">TF1.H12CORE.0.P.B\n{COLUMNS}\n",
    "TRANSFAC": "AC M1\nXX\nID TF1\nP0 A C G T\n"
    + "".join(f"{number:02d} {row}\n" for number, row in enumerate(COLUMNS.split("\n"), 1))
    + "XX\n//\n",
    "MEME without a background": f"{MEME}{SHARE_COLUMNS}\nURL http://x\n",
    "MEME with a second motif": f"{MEME}{SHARE_COLUMNS}\nMOTIF M2 TF2\nletter-probability matrix:\n0.1 0.2 0.3 0.4\n",
}


@pytest.mark.parametrize("kind", FILES)
def test_the_formats_of_the_field_give_one_matrix(tmp_path, kind):
    path = tmp_path / "motifs.txt"
    path.write_bytes(FILES[kind].encode())
    found = {profile.name: profile for profile in read_profiles(path)}
    np.testing.assert_allclose(log_odds(found["TF1"].counts), log_odds(COUNTS), atol=0.02)


@pytest.mark.parametrize("header", [">AYAGTG\tTF1(Zf)/CD4+-ChIP-Seq/Homer\t6.9\t-5\t0", ">M08491_2.00 TF1"])
def test_probabilities_are_recognised(tmp_path, capsys, header):
    path = tmp_path / "motifs.txt"
    text = "".join(" ".join(f"{value:.3f}" for value in row) + "\n" for row in SHARES.T)
    path.write_text(f"{header}\n{text}")
    (profile,) = read_profiles(path)
    assert profile.name == "TF1"
    np.testing.assert_allclose(profile.counts, 1000 * SHARES, atol=1)
    assert "1 of 1 matrices hold probabilities" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("title", "name", "identity"),
    [
        ("M00111_2.00 (TF1)_(Homo_sapiens)_(DBD_0.97)", "TF1", "M00111_2.00"),  # CIS-BP in the MEME suite
        ("MA0004.1 MA0004.1.TF1", "TF1", "MA0004.1"),  # JASPAR
        ("MA0489.1 TF1(var.2)", "TF1(var.2)", "MA0489.1"),  # another mode of binding than that of TF1
        ("MA0085.1 Su(H)", "Su(H)", "MA0085.1"),
        ("UN0001.1 Etv1/4/5", "Etv1/4/5", "UN0001.1"),
        ("TF1(Zf)/CD4+-TF1-ChIP-Seq(GSE12889)/Homer", "TF1", "TF1(Zf)/CD4+-TF1-ChIP-Seq(GSE12889)/Homer"),
        ("TF1(bHLH),near_X/Bcell/Homer", "TF1", "TF1(bHLH),near_X/Bcell/Homer"),
        ("TF1/Promoter/Homer", "TF1", "TF1/Promoter/Homer"),
        ("AC0001:HLH/E-box", "AC0001:HLH/E-box", "AC0001:HLH/E-box"),
        ("AYAGTG TF1(Zf)/CD4+/Homer", "TF1", "TF1(Zf)/CD4+/Homer"),
        ("AYAGTG MEME-1\twidth =   5  sites =  20", "MEME-1", "AYAGTG"),
    ],
)
def test_names_in_meme_files(tmp_path, title, name, identity):
    frame = "*" * 80
    text = f"{frame}\nMEME - Motif discovery tool\n{frame}\n{MEME.replace('M1 TF1', title)}{SHARE_COLUMNS}\n"
    (tmp_path / "meme.txt").write_text(text)
    (profile,) = read_profiles(tmp_path / "meme.txt")
    assert (profile.name, profile.identity) == (name, identity)


def test_names_of_homer_may_be_plain(tmp_path):
    (tmp_path / "m.motif").write_text(f">AYAGTG\tTF1\t6.9\t-5\t0\n{SHARE_COLUMNS}\n")
    assert read_profiles(tmp_path / "m.motif")[0].name == "TF1"


def test_the_sums_tell_the_positions_of_a_square_matrix(tmp_path):
    path = tmp_path / "motifs.txt"
    square = COUNTS[:, :4] / COUNTS[:, :4].sum(axis=0) * 100
    for written in (square, square.T):
        path.write_text(
            ">M1 TF1\n" + "\n".join(" ".join(f"{value:.3f}" for value in row) for row in written) + "\n"
        )
        np.testing.assert_allclose(read_profiles(path)[0].counts, square, atol=0.01)


def test_unknown_release(tmp_path):
    with pytest.raises(InputError, match="no JASPAR release 'JASPAR1000'"):
        prepare_motifs(["CTCF"], tmp_path / "out.npz", release="JASPAR1000")


@pytest.mark.parametrize(
    ("taxon", "tf"),
    [
        ("vertebrates", "Ctcf"),
        ("insects", "dl"),
        ("nematodes", "che-1"),
        ("plants", "Dof3"),
        ("fungi", "GAL4"),
        ("urochordates", "Gsx"),
    ],
)
def test_each_taxon_has_its_matrices(tmp_path, taxon, tf):
    prepare_motifs([tf, "NOSUCH"], tmp_path / "m.npz", taxon=taxon)
    assert set(read_motifs(tmp_path / "m.npz")) == {tf}


def test_a_tf_of_another_taxon_is_named_with_the_remedy(tmp_path, capfd):
    prepare_motifs(["CTCF", "GAL4"], tmp_path / "m.npz")
    said = capfd.readouterr().err
    assert "GAL4: no matrix in JASPAR2024, vertebrates" in said
    assert "1 of 2 TFs have no matrix; check motifs.taxon" in said
    with pytest.raises(InputError, match=r"no matrix for any TF of vertebrates; check motifs\.taxon"):
        prepare_motifs(["GAL4"], tmp_path / "n.npz")


def test_aliases_do_not_mind_case(tmp_path):
    prepare_motifs(["Rad21", "rest"], tmp_path / "m.npz", aliases={"RAD21": "ctcf"})
    assert set(read_motifs(tmp_path / "m.npz")) == {"Rad21", "rest"}
    assert motif_names(tmp_path / "m.npz")["Rad21"].startswith("MA0139")


@pytest.mark.parametrize("width", [1, 4, 5, 6, 17, 24])
def test_best_match_is_that_of_every_place_on_both_strands(width):
    rng = np.random.default_rng(width)
    matrix = rng.normal(size=(4, width)).astype(np.float32)
    codes = rng.integers(0, 5, (7, 24)).astype(np.uint8)
    expected = [
        max(
            sum(strand[base, place] for place, base in enumerate(row[begin : begin + width]) if base < 4)
            for strand in (matrix, matrix[::-1, ::-1])
            for begin in range(24 - width + 1)
        )
        for row in codes
    ]
    found = scan_all(codes, [matrix], batch=3)[:, 0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
