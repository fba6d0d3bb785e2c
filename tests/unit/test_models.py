import json

import numpy as np
import pytest
import torch
from safetensors.torch import save
from scbind.core.errors import InputError
from scbind.formats.onehot import one_hot
from scbind.models import layers, towers
from scbind.models.base import build_network
from scbind.models.layers import RATE, MotifScan
from scbind.models.lightning import BindingModule, masked_loss
from scbind.models.modelfile import FACTS as NEEDED_FACTS
from scbind.models.modelfile import read_model, write_model
from scbind.models.predictor import Predictor, load_predictor
from scbind.models.scfan import ScfanNetwork
from scbind.models.signalfeatures import openness_features, shape_features
from torch import nn

FACTS = {
    "tfs": ["T1", "T2", "T3"],
    "modelled": [True, False, True],
    "cell_lines": ["A", "B"],
    "assayed": [[True, True, False], [True, False, False]],
    "context": 1000,
    "window": 200,
    "bound_train": {"T1": 30, "T2": 0, "T3": 10},
    "depth": {"A": {"chr1": 0.02, "chr2": 0.03}, "B": {"chr1": 0.01, "chr2": 0.5}},
    "deepest": 0.02,  # only chr1 trains
}
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, (7, 1000)).astype(np.uint8)


TILES = {"scbind": None, "scfan": (4, 1)}  # the shipped ones, and smaller ones for the slow network


def predictor(architecture, precision="float32"):
    torch.manual_seed(0)
    network = build_network(architecture, FACTS, {})
    return Predictor(network, FACTS, None, precision=precision, tile=TILES[architecture])


@pytest.mark.parametrize("windows", [1, 3])
def test_matches_and_their_gradient_equal_the_general_convolution(windows, monkeypatch):
    monkeypatch.setattr(layers, "SCORES_AT_ONCE", windows * 2 * 6 * 50)
    torch.manual_seed(0)
    scan, bases = (
        MotifScan([None] * 6, 19, bin_bp=10),
        one_hot(torch.randint(0, 5, (3, 50), dtype=torch.uint8)),
    )
    bank = scan.known.clone().requires_grad_(True)
    both = [nn.functional.conv1d(bases, w, padding=9) for w in (bank, bank.flip(1, 2))]
    expected = nn.functional.max_pool1d(torch.maximum(*both), 10).clamp_min(0)
    expected.square().sum().backward()
    got = scan(bases)
    got.square().sum().backward()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(scan.learned.grad, RATE * bank.grad, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(scan(bases), got)


def test_parts_of_a_scan_have_fewer_windows_if_there_are_more_matrices(monkeypatch):
    seen, places = [], layers._places
    monkeypatch.setattr(layers, "_places", lambda part, width: seen.append(len(part)) or places(part, width))
    for number in (40, 800):
        MotifScan([None] * number, 25, bin_bp=50)(one_hot(torch.zeros(64, 600, dtype=torch.uint8)))
    assert seen == [43, 21, *[2] * 32]


@pytest.mark.parametrize("architecture", ["scbind", "scfan"])
def test_probabilities_do_not_depend_on_blocks(architecture):
    model = predictor(architecture)
    cells, windows = {"scbind": (5, 7), "scfan": (2, 5)}[architecture]  # scfan is slow; its tiles are smaller
    codes = CODES[:windows]
    counts = RNG.poisson(0.5, (cells, windows, 1000 // model.bin_bp)).astype(np.float32)
    counts *= RNG.random((cells, windows, 1)) < 0.6  # the others have no insertion
    depth = np.full(cells, 0.01, np.float32)
    readout = model.readout(codes)
    whole = model.probabilities(readout, counts, depth)
    assert whole.shape == (cells, windows, 2) and model.tfs == ["T1", "T3"]
    assert ((whole > 0) & (whole < 1)).all()
    by_cell = np.concatenate([model.probabilities(readout, counts[[i]], depth[[i]]) for i in range(cells)])
    by_window = np.concatenate(
        [model.probabilities(readout[[w]], counts[:, [w]], depth) for w in range(windows)], axis=1
    )
    # equal to the last bit but for the order of sums in a convolution, which scfan runs per pair
    tolerance = {"scbind": 0, "scfan": 1e-6}[architecture]
    np.testing.assert_allclose(whole, by_cell, rtol=tolerance)
    np.testing.assert_allclose(whole, by_window, rtol=tolerance)
    np.testing.assert_array_equal(
        readout, np.concatenate([model.readout(codes[[i]]) for i in range(windows)])
    )


@pytest.mark.parametrize("architecture", ["scbind", "scfan"])
def test_a_grid_of_cells_and_windows_is_what_its_pairs_are(architecture, monkeypatch):
    monkeypatch.setattr(towers, "SEEN_AT_ONCE", 4)  # the pairs with insertions are computed in several parts
    torch.manual_seed(0)
    fitted = {"tfs": ["T1", "T3"], "log10_depth_centre": -2.5}
    fitted["parameters"] = {
        "T1": [1.5, 0.3, 0.2, -0.4],
        "T3": [0.1, -1.0, 0.5, 0.1],
    }  # T3 reaches the least slope
    network = build_network(architecture, FACTS, {})
    for weights in network.parameters():  # also those that start at 0
        nn.init.normal_(weights, std=0.2)
    model = Predictor(network, FACTS, fitted, tile=TILES[architecture])
    depth = np.array([0.03, 0.001, 0.0], np.float32)  # above what was trained on, below it, nothing
    counts = RNG.poisson(1.0, (3, 7, 1000 // model.bin_bp)).astype(np.float32)
    counts[[0, 0, 1, 1, 1, 2], [0, 3, 1, 2, 6, 5]] = 0
    readout = model.readout(CODES)
    found = model.probabilities(readout, counts, depth)
    for cell in range(3):
        depths = np.repeat(depth[cell], 7)
        expected = model.calibrated(model.logits(readout, counts[cell], depths), depths)
        np.testing.assert_allclose(found[cell], expected, atol=2e-6)
    assert np.ptp(found) > 0.01


def signal_of(network):
    counts = torch.from_numpy(np.random.default_rng(4).poisson(1.0, (7, 1000 // network.bin_bp)))
    return counts.float(), torch.full((7,), 0.01)


@pytest.mark.parametrize(
    ("window", "nearest"), [(200, [100, 200, 300, 400, 600]), (100, [100, 100, 200, 300, 600])]
)
def test_a_match_counts_in_the_regions_that_it_is_in(window, nearest):
    """The best matches of a motif that stands at each distance from the middle of the window."""
    motif = np.full((4, 8), -10.0, dtype=np.float32)
    motif[[0, 2, 3, 1, 0, 0, 2, 1], range(8)] = 2
    facts = FACTS | {
        "window": window,
        "tfs": ["A"],
        "modelled": [True],
        "assayed": [[True]],
        "bound_train": {"A": 9},
    }
    network = build_network("scbind", facts, {}, {"A": motif}).eval()
    start = np.arange(200, 800, 10)
    codes = np.zeros((len(start), 1000), dtype=np.uint8)
    for row, begin in enumerate(start):
        codes[row, begin : begin + 8] = motif.argmax(axis=0)
    best = 1 - network.trunk(torch.from_numpy(codes))[:, :5].detach().numpy()
    # a match belongs to the bin of its middle; where it touches the edge of a bin is not tested
    middle = start + 4
    for column, width in enumerate(nearest):
        inside = np.abs(middle - 500) < width / 2 - 4
        outside = np.abs(middle - 500) > width / 2 + 4
        assert (best[inside, column] > 0.99).all() and (best[outside, column] < 0.7).all(), width


def test_what_is_stored_of_a_window_is_small_and_gives_its_readout():
    facts = FACTS | {"tfs": [f"T{number}" for number in range(300)], "modelled": [True] * 300}
    facts |= {"assayed": [[True] * 300], "bound_train": dict.fromkeys(facts["tfs"], 10)}
    torch.manual_seed(0)
    network = build_network("scbind", facts, {})
    for weights in network.parameters():
        nn.init.normal_(weights, std=0.2)
    model = Predictor(network, facts, None)
    stored, exact = model.trunk(CODES), network(torch.from_numpy(CODES), *signal_of(network)).detach().numpy()
    assert stored.dtype == np.float16
    assert stored.shape == (7, 5 * 300 + 3 * 128), "the readout has 22,500 numbers"
    found = model.logits(model.unfold(stored), *(each.numpy() for each in signal_of(network)))
    assert np.abs(found - exact).max() < 3e-3 * exact.std()
    np.testing.assert_array_equal(model.unfold(stored), model.readout(CODES))
    np.testing.assert_array_equal(model.unfold(stored[2:4]), model.readout(CODES)[2:4])


def test_what_is_stored_is_unfolded_in_batches_of_a_tile(monkeypatch):
    model, sizes = predictor("scbind"), []
    unfold, stored = model.network.unfold, np.repeat(model.trunk(CODES), 40, axis=0)
    monkeypatch.setattr(model.network, "unfold", lambda trunk: sizes.append(len(trunk)) or unfold(trunk))
    found = model.unfold(stored)
    assert sizes == [128, 128, 128] and model.tile[0] == 128
    np.testing.assert_array_equal(found, np.repeat(model.readout(CODES), 40, axis=0))


@pytest.mark.parametrize("scale", [1e7, float("nan")])
def test_a_network_beyond_the_range_of_float16_is_refused(scale):
    model = predictor("scbind")
    with torch.no_grad():
        model.network.windows[1].head[1].weight *= scale
    with pytest.raises(InputError, match="^model: what it computes from .* is beyond 65504; train the model"):
        model.readout(CODES)


@pytest.mark.parametrize("architecture", ["scbind", "scfan"])
def test_bfloat16_moves_a_probability_by_little(architecture):
    torch.manual_seed(0)
    network = build_network(architecture, FACTS, {})
    exact, rounded = (
        Predictor(network, FACTS, None, precision=name, tile=TILES[architecture])
        for name in ("float32", "bfloat16")
    )
    counts = RNG.poisson(1.0, (3, 7, 1000 // exact.bin_bp)).astype(np.float32)
    depth, readout = np.full(3, 0.01, np.float32), exact.readout(CODES)
    np.testing.assert_array_equal(rounded.readout(CODES), readout)
    found = [model.probabilities(readout, counts, depth) for model in (exact, rounded)]
    assert found[1].dtype == np.float32 and 0 < np.abs(found[0] - found[1]).max() < 0.01
    if architecture == "scbind":  # whose numbers depend on no block
        alone = rounded.probabilities(readout[:2], counts[:, :2], depth)
        np.testing.assert_array_equal(alone, found[1][:, :2])
    with pytest.raises(InputError, match="unknown precision 'float8'; use one of float32, bfloat16"):
        Predictor(network, FACTS, None, precision="float8")


def test_a_machine_that_computes_bfloat16_wrongly_is_noticed(monkeypatch):
    """As oneDNN does with some convolutions on processors with AMX."""
    model = predictor("scbind", precision="bfloat16")
    respond = model.network.respond_grid
    monkeypatch.setattr(
        model.network,
        "respond_grid",
        lambda *given: respond(*given) * (-1 if torch.is_autocast_enabled("cpu") else 1) + 1,
    )
    given = model.readout(CODES), np.ones((3, 7, 20), np.float32), np.full(3, 0.01, np.float32)
    with pytest.raises(
        InputError, match=r"config, infer.precision: this machine computes bfloat16 wrongly: .*float32"
    ):
        model.probabilities(*given)
    predictor("scbind").probabilities(*given)


def test_the_first_layer_of_scfan_is_not_rounded_on_a_cpu():
    network = build_network("scfan", FACTS, {})
    first, second = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d)][:2]
    with torch.autocast("cpu", torch.bfloat16):
        assert first(torch.ones(1, 8, 1, 20)).dtype == torch.float32
        assert second(torch.ones(1, 160, 1, 20)).dtype == torch.bfloat16


def test_signal_and_sequence_both_matter():
    model = predictor("scbind")
    readout = model.readout(CODES)
    depth = np.full(1, 0.01, np.float32)
    empty, full = (model.probabilities(readout, np.full((1, 7, 20), n, np.float32), depth) for n in (0, 9))
    assert np.isfinite(empty).all() and not np.allclose(empty, full)
    assert np.ptp(full[0, :, 0]) > 0


def test_reach_must_fit_the_bins():
    with pytest.raises(InputError, match="reach 630 cannot be centred in a context of 1000 bp"):
        build_network("scbind", FACTS, {"reach": 630})
    readout = build_network("scbind", FACTS, {"reach": 1000, "members": 2}).readout(torch.from_numpy(CODES))
    assert readout.shape == (7, 2, 1 + 16 + 8, 3), "members, numbers to meet the cell's, TFs"


def test_features_are_finite_for_nothing():
    assert torch.isfinite(shape_features(torch.zeros(2, 20), torch.zeros(2), 50)).all()
    assert torch.isfinite(openness_features(torch.zeros(2, 20), torch.zeros(2), 50, 4)).all()


def test_scfan_has_the_published_size():
    network = ScfanNetwork(FACTS | {"cell_lines": ["A"], "assayed": [[True] * 3]})
    convolutions = 8 * 8 * 160 + 160 + 160 * 8 * 240 + 240 + 240 * 8 * 240 + 240
    norms = 2 * (160 + 240 + 240)
    dense = 62 * 240 * 919 + 919 + 919 * 3 + 3
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + dense


def test_scfan_averages_the_lines_that_assayed_a_tf():
    torch.manual_seed(0)
    network = ScfanNetwork(FACTS).eval()
    codes, depth = torch.from_numpy(CODES), torch.full((7,), 0.01)
    counts = torch.poisson(torch.full((7, 1000), 0.01))
    own = [torch.sigmoid(network(codes, counts, depth, torch.full((7,), i))) for i in (0, 1)]
    unseen = torch.sigmoid(network(codes, counts, depth, None))
    torch.testing.assert_close(unseen[:, 0], (own[0][:, 0] + own[1][:, 0]) / 2)
    torch.testing.assert_close(unseen[:, 1], own[0][:, 1])


def test_scfan_sees_mappability_and_its_reverse():
    torch.manual_seed(0)
    network = ScfanNetwork(FACTS).eval()
    codes, depth = torch.from_numpy(CODES), torch.full((7,), 0.01)
    counts = torch.poisson(torch.full((7, 1000), 0.01))
    level = torch.from_numpy(RNG.integers(0, 256, CODES.shape).astype(np.uint8))
    seen = []
    network.lines["0"].register_forward_pre_hook(lambda _, planes: seen.append(planes[0]))
    line = torch.zeros(7, dtype=torch.long)
    plain, full, other = (
        network(codes, counts, depth, line, mappability)
        for mappability in (None, torch.full_like(codes, 255), level)
    )
    assert torch.equal(plain, full) and not torch.allclose(plain, other)
    torch.testing.assert_close(seen[2][:, 4, 0], level / 255)
    torch.testing.assert_close(seen[2][:, 6, 0], level.flip(1) / 255)
    assert torch.equal(seen[2][:, :4, 0], one_hot(codes)) and torch.equal(seen[2][:, 5], seen[0][:, 5])
    assert network.readout(codes, level).dtype == torch.uint8


def test_scbind_does_not_read_mappability():
    network = predictor("scbind").network
    codes = torch.from_numpy(CODES)
    assert torch.equal(network.readout(codes), network.readout(codes, torch.zeros_like(codes)))


def test_a_line_that_was_not_trained_is_unseen():
    torch.manual_seed(0)
    network = ScfanNetwork(FACTS | {"assayed": [[True] * 3, [False] * 3]}).eval()
    codes, depth, counts = torch.from_numpy(CODES), torch.full((7,), 0.01), torch.ones(7, 1000)
    torch.testing.assert_close(
        network(codes, counts, depth, torch.ones(7, dtype=torch.long)), network(codes, counts, depth, None)
    )


def test_matches_start_from_the_known_matrix_on_both_strands():
    matrix = np.full((4, 5), -2, np.float32)
    consensus = [0, 0, 1, 2, 2]
    matrix[consensus, np.arange(5)] = 2
    scan = MotifScan([matrix, None], 7, bin_bp=10)
    codes = np.full((3, 20), 4, np.uint8)
    codes[0, 10:15] = consensus
    codes[1, 10:15] = 3 - np.array(consensus)[::-1]
    matches = scan(one_hot(torch.from_numpy(codes))).detach()
    assert matches.shape == (3, 2, 2)
    assert matches[:2, 0, 1].tolist() == pytest.approx([1, 1]), "both strands reach the best score"
    assert (matches[2] == 0).all(), "unknown bases match nothing"
    assert scan.known[1].std() > 0.1, "a TF without a matrix starts at random"


def test_a_wide_matrix_keeps_its_informative_part():
    matrix = np.zeros((4, 9), np.float32)
    matrix[0, 4:] = 2
    assert (MotifScan([matrix], 5, 50).known[0, 0] == 0.2).all()


def test_a_motif_match_in_open_chromatin_counts_from_the_first_step():
    torch.manual_seed(0)
    network = build_network("scbind", FACTS, {"dropout": 0.0}, {"T1": np.eye(4, dtype=np.float32)})
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    codes = np.full((2, 1000), 3, np.uint8)
    codes[0, 490:494] = [0, 1, 2, 3]
    codes, counts, depth = torch.from_numpy(codes), torch.ones(2, 20), torch.full((2,), 0.01)
    labels = torch.tensor([[1, -2, -2], [0, -2, -2]], dtype=torch.int8)
    for _ in range(30):
        optimiser.zero_grad()
        masked_loss(network.training_logits(codes, counts, depth, None), labels).backward()
        optimiser.step()
    logits = network.eval()(codes, counts, depth)
    assert logits[0, 0] > logits[1, 0] + 1


def test_more_bound_windows_let_matrices_move_further():
    few, many = (build_network("scbind", FACTS | {"bound_train": {"T1": n}}, {}) for n in (10, 1000))
    for network in (few, many):
        assert network.penalty() == 0
        nn.init.ones_(network.scan.learned)
    assert few.penalty().item() == pytest.approx(100 * many.penalty().item())


def test_members_are_averaged_and_each_learns_from_its_own():
    torch.manual_seed(0)
    network = build_network("scbind", FACTS, {"members": 4}).eval()
    codes, counts, depth = torch.from_numpy(CODES), torch.ones(7, 20), torch.full((7,), 0.01)
    each = network.training_logits(codes, counts, depth, None)
    assert each.shape == (4, 7, 3) and each.std(dim=0).min() > 0
    torch.testing.assert_close(network(codes, counts, depth), each.mean(dim=0))


def test_deeper_signal_than_was_trained_on_is_scaled_down():
    torch.manual_seed(0)
    network = build_network("scbind", FACTS, {}).eval()
    codes, counts = torch.from_numpy(CODES), torch.ones(7, 20)
    at_most = network(codes, counts, torch.full((7,), 0.02))
    torch.testing.assert_close(network(codes, counts * 10, torch.full((7,), 0.2)), at_most)


def test_the_calibration_knows_no_more_depth_than_the_training():
    fitted = {"tfs": ["T1", "T3"], "log10_depth_centre": -2.5}
    fitted["parameters"] = dict.fromkeys(fitted["tfs"], [1.0, 0.0, 0.5, 2.0])
    model = Predictor(build_network("scbind", FACTS, {}), FACTS, fitted)
    depth = np.array([0.01, 0.02, 0.04, 5.0], np.float32)
    found = model.calibrated(np.full((4, 2), -1, np.float32), depth)
    assert found[0, 0] < found[1, 0] == found[2, 0] == found[3, 0]
    slope, _ = model._platt(torch.from_numpy(depth))
    assert slope[0, 0] < slope[1, 0] == slope[2, 0] == slope[3, 0]


def test_masked_loss_ignores_unknown():
    logits = torch.tensor([[0.0, 5.0, -3.0]], requires_grad=True)
    loss = masked_loss(logits, torch.tensor([[1, -1, -2]], dtype=torch.int8))
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    assert logits.grad[0, 1:].tolist() == [0, 0]
    assert masked_loss(logits, torch.full((1, 3), -2, dtype=torch.int8)).item() == 0


def test_masked_loss_counts_examples_by_their_weight():
    logits, labels = torch.randn(4, 3), torch.tensor([[1, 0, -2]] * 4, dtype=torch.int8)
    each = torch.stack([masked_loss(row[None], labels[:1]) for row in logits])
    weight = torch.tensor([0.5, 1.5, 0.0, 2.0])
    for members in (logits, logits.expand(2, 4, 3)):
        assert masked_loss(members, labels, weight).item() == pytest.approx((weight * each).mean().item())
        assert masked_loss(members, labels, torch.ones(4)) == masked_loss(members, labels)


def test_nan_in_the_signal_is_refused():
    model = predictor("scbind")
    counts = np.full((1, 7, 20), np.nan, np.float32)
    with pytest.raises(InputError, match="counts of a window contain NaN"):
        model.probabilities(model.readout(CODES), counts, np.ones(1, np.float32))


def edited(model, path, part=(), **changes):
    """Write a model file with keys changed in its facts (``part``: facts) or elsewhere; ``...`` takes a key out."""
    stored = read_model(model)
    held = stored
    for name in part:
        held = held[name]
    held.update(changes)
    for name in [name for name, value in changes.items() if value is ...]:
        del held[name]
    write_model(path, **stored)
    return path


def test_model_files_hold_no_pickle_and_nothing_else_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    torch.save({"state_dict": {}, "hyper_parameters": {"facts": {}, "options": {}}}, path)
    with pytest.raises(InputError, match="not a readable scbind model"):
        load_predictor(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match="not a readable scbind model"):
        load_predictor(path)
    path.write_bytes(save({"network": torch.zeros(3)}))
    with pytest.raises(InputError, match="not a readable scbind model .no __metadata__"):
        load_predictor(path)


def test_the_same_model_gives_the_same_bytes(tiny_model, tmp_path):
    stored = read_model(tiny_model[0])
    reordered = dict(sorted(stored["state"].items(), reverse=True))
    write_model(tmp_path / "again.safetensors", reordered, stored["facts"], stored["options"])
    assert (tmp_path / "again.safetensors").read_bytes() == tiny_model[0].read_bytes()


def test_foreign_weights_are_refused(tiny_model, tmp_path):
    path = edited(tiny_model[0], tmp_path / "edited.safetensors", ["options"], channels=24)
    with pytest.raises(InputError, match="weights do not fit"):
        load_predictor(path)


def test_a_calibration_of_other_tfs_is_refused(tiny_model, tmp_path):
    fitted = json.loads(tiny_model[1].read_text())
    fitted["tfs"] = fitted["tfs"][::-1]
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(fitted))
    with pytest.raises(InputError, match="its TFs are not those of the model"):
        load_predictor(tiny_model[0], path)


def test_a_flipped_byte_in_a_model_file_never_goes_unnoticed(tiny_model, tmp_path):
    whole, path = tiny_model[0].read_bytes(), tmp_path / "model.safetensors"
    header = int.from_bytes(whole[:8], "little")
    for place in [8 + header + 1000, len(whole) - 1, *np.random.default_rng(0).integers(0, len(whole), 100)]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a readable scbind model") as error:
            read_model(path)
        assert "\n" not in str(error.value)
    for length in (0, 4, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="not a readable scbind model|is empty"):
            read_model(path)


def test_what_is_no_model_of_ours_is_refused_in_one_line(tiny_model, tmp_path):
    path = tmp_path / "edited.safetensors"

    def refused(what, part=(), **changes):
        with pytest.raises(InputError, match=what) as error:
            load_predictor(edited(tiny_model[0], path, part, **changes))
        assert len(str(error.value).splitlines()) == 1 and "train" in error.value.remedy

    refused("facts is a list", facts=[1])
    refused("options is a NoneType", options=None)
    for name in NEEDED_FACTS:
        refused(f"no {name}", ["facts"], **{name: ...})
        refused(f"{name} is a NoneType", ["facts"], **{name: None})
    refused("differ in length", ["facts"], modelled=[True] * 3)
    refused("do not fit its architecture", ["options"], channels="many")
    for value in (float("nan"), float("inf")):
        stored = read_model(tiny_model[0])
        name = next(n for n, v in stored["state"].items() if v.is_floating_point())
        broken = stored["state"][name].clone()
        broken.view(-1)[0] = value
        refused(f"weights are not finite: {name}", ["state"], **{name: broken})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda fitted: fitted.pop("parameters"), "no parameters"),
        (lambda fitted: fitted.pop("reliability"), "no reliability"),
        (lambda fitted: fitted.pop("model_sha256"), "no model_sha256"),
        (lambda fitted: fitted["parameters"].pop("TF1"), "no TF1"),
        (lambda fitted: fitted["parameters"]["TF1"].pop(), "TF1 does not have 4 parameters"),
        (lambda fitted: fitted["parameters"]["TF1"].__setitem__(0, float("nan")), "NaN is not a number"),
        (lambda fitted: fitted["parameters"]["TF1"].__setitem__(0, "1"), "must be real number"),
        (lambda fitted: fitted.update(log10_depth_centre=1e999), "Infinity is not a number"),
        (lambda fitted: fitted.update(model_sha256="0" * 64), "belongs to another model"),
    ],
)
def test_a_damaged_calibration_or_that_of_another_model_is_refused(tiny_model, tmp_path, change, what):
    fitted, path = json.loads(tiny_model[1].read_text()), tmp_path / "calibration.json"
    path.write_text(json.dumps(fitted))
    load_predictor(tiny_model[0], path)
    change(fitted)
    path.write_text(json.dumps(fitted))
    with pytest.raises(InputError, match=f"{what}.*; calibrate again"):
        load_predictor(tiny_model[0], path)


@pytest.mark.parametrize("text", [b"{", b"[1]", b"null", b"\xff\xfe", b'{"log10_depth_centre": 1e999}'])
def test_a_calibration_that_is_something_else_is_refused(tiny_model, tmp_path, text):
    (tmp_path / "calibration.json").write_bytes(text)
    with pytest.raises(InputError, match="not a readable calibration"):
        load_predictor(tiny_model[0], tmp_path / "calibration.json")


def test_a_model_of_another_format_or_with_strange_settings_is_refused(tiny_model, tmp_path):
    def made(options=None, **facts):
        path = edited(tiny_model[0], tmp_path / "edited.safetensors", ["facts"], **facts)
        return edited(path, path, ["options"], **(options or {}))

    with pytest.raises(InputError, match="9.9 in format 99, but this version reads format 3; train"):
        load_predictor(made(version="9.9", format=99))
    with pytest.raises(InputError, match="unknown architecture 'bpnet'; use one of scbind, scfan"):
        load_predictor(made(architecture="bpnet"))
    with pytest.raises(InputError, match="scbind has no option 'layers'"):
        load_predictor(made(options={"layers": 3}))
    with pytest.raises(InputError, match="its weights do not fit its architecture"):
        load_predictor(made(tfs=["TF1", "TF2", "TF3"], modelled=[True] * 3, assayed=[[True] * 3] * 2))
    load_predictor(made())


@pytest.mark.parametrize("architecture", ["scbind", "scfan"])
def test_no_signal_at_all_gives_probabilities(architecture):
    model = predictor(architecture)
    counts = np.zeros((2, 7, 1000 // model.bin_bp), np.float32)
    found = model.probabilities(model.readout(CODES), counts, np.array([0.0, 0.01], np.float32))
    assert np.isfinite(found).all() and ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 100])
def test_learning_rate_of_any_number_of_steps(steps):
    module = BindingModule("scbind", {"members": 1}, FACTS, None, 0, 0.01, 0.01, steps)
    made = module.configure_optimizers()
    schedule, rates = made["lr_scheduler"]["scheduler"], []
    for _ in range(steps):  # Lightning asks for the next rate after the last step, too
        rates.append(schedule.get_last_lr()[0])
        made["optimizer"].step()
        schedule.step()
    assert all(0 < rate <= 0.01 for rate in rates)
    assert steps < 100 or max(rates) == pytest.approx(0.01, rel=0.01)
