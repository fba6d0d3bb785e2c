import io
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from PIL import Image
from scbind.formats.colours import PALETTE, colours_of
from scbind.report import modelplots, qualityplots, typeplots, umapplots
from scbind.report.depth import _enough, equivalent_fragments
from scbind.report.style import as_png, data_uri, in_palette, save_png

TYPES = ["B", "T", "NK"]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def pixels(figure):
    return imread(io.BytesIO(as_png(figure)))


def has_colour(figure, colour):
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return (np.abs(pixels(figure)[..., :3] - wanted).max(axis=2) < 0.01).any()


def texts(figure):
    """All words of a figure: axis titles, labels, ticks, legends."""
    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def test_colours_are_stable_distinct_and_come_round():
    assert colours_of(["T", "B"]) == colours_of(["B", "T", "B"]) == {"B": PALETTE[0], "T": PALETTE[1]}
    assert colours_of(["B"], skip=3) == {"B": PALETTE[3]}
    assert len(set(colours_of([f"{i:02}" for i in range(60)]).values())) == 60
    assert colours_of([f"{i:02}" for i in range(61)])["60"] == PALETTE[0]


def test_umap_shows_each_type_in_its_colour_with_its_count(random):
    labels = np.array(["B"] * 30 + ["T"] * 20 + [None] * 5, dtype=object)
    figure = umapplots.umap_types(random.normal(size=(55, 2)), labels, colours_of(TYPES), "Cell types")
    assert {"Cell types", "B (30)", "T (20)", "no type (5)"} <= texts(figure)
    drawn = {to_hex(c).upper() for c in figure.axes[0].collections[0].get_facecolors()}
    assert drawn == {colours_of(TYPES)["B"].upper(), colours_of(TYPES)["T"].upper(), umapplots.NEUTRAL}
    legend = figure.axes[0].get_legend().get_window_extent()
    assert legend.x0 >= figure.axes[0].get_window_extent().x1  # outside


def test_activity_panels_share_one_symmetric_scale(random):
    z = random.normal(size=(40, 5)) + 1
    figure = umapplots.umap_activity(random.normal(size=(40, 2)), z, list("VWXYZ"), columns=3)
    panels = [
        axis for axis in figure.axes if axis.get_visible() and axis.collections and axis.get_title(loc="left")
    ]
    assert [axis.get_title(loc="left") for axis in panels] == list("VWXYZ")
    limits = {axis.collections[0].get_clim() for axis in panels}
    assert len(limits) == 1 and next(iter(limits))[0] == -next(iter(limits))[1]


def test_what_is_not_known_is_grey_in_panels_and_blank_in_the_heatmap(random):
    z = random.normal(size=(40, 2))
    z[:20, 0] = np.nan
    figure = umapplots.umap_activity(random.normal(size=(40, 2)), z, ["V", "W"], columns=2)
    as_png(figure)  # colours are given to the dots when they are drawn
    grey = [
        sum(to_hex(c).upper() == umapplots.NEUTRAL.upper() for c in axis.collections[0].get_facecolors())
        for axis in figure.axes[:2]
    ]
    assert grey == [20, 0]
    means = pd.DataFrame(random.normal(size=(4, 3)), index=list("abcd"), columns=list("UVW"))
    means.loc["b", "V"] = np.nan
    figure = typeplots.activity_heatmap(means)
    shown = np.ma.getmaskarray(figure.axes[0].images[0].get_array())
    assert shown.sum() == 1
    assert umapplots.umap_activity(np.zeros((3, 2)), np.full((3, 1), np.nan), ["V"]).axes


def test_heatmap_holds_every_mean_in_clustered_order(random):
    means = pd.DataFrame(random.normal(size=(4, 6)), index=list("abcd"), columns=list("UVWXYZ"))
    means.loc["d"] = means.loc["a"] + 0.01
    figure = typeplots.activity_heatmap(means)
    axis = figure.axes[0]
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    columns = [tick.get_text() for tick in axis.get_xticklabels()]
    np.testing.assert_allclose(axis.images[0].get_array(), means.loc[rows, columns])
    assert abs(rows.index("a") - rows.index("d")) == 1
    assert typeplots.activity_heatmap(means.iloc[:1]).axes[0].images[0].get_array().shape == (1, 6)


def test_quality_separates_pass_and_fail_and_skips_what_is_unknown(random):
    obs = pd.DataFrame(
        {"sample": ["a"] * 60 + ["b"] * 60, "n_fragments": random.integers(100, 9000, 120),
         "tss_enrichment": np.nan, "frac_in_peaks": random.random(120), "nucleosome_signal": np.inf,
         "pass": [True] * 90 + [False] * 30}
    )  # fmt: skip
    words = texts(qualityplots.quality_distributions(obs))
    assert {"pass (90)", "fail (30)", "unique fragments (log10)", "a", "b"} <= words
    assert "TSS enrichment" not in words


def test_quality_of_very_many_samples_is_that_of_the_worst(random):
    sample = np.repeat([f"s{i:03d}" for i in range(700)], 2)
    worst = np.isin(sample, [f"s{i:03d}" for i in range(300, 340)])
    obs = pd.DataFrame({"sample": sample, "n_fragments": random.integers(100, 9000, 1400)})
    obs["pass"] = ~worst | (np.arange(1400) % 2 == 0)
    figure = qualityplots.quality_distributions(obs)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == sorted(set(sample[worst]))
    assert "40 of 700 samples, lowest fraction passing" in texts(figure)
    assert figure.get_size_inches()[1] * 200 < 65_536
    assert "lowest fraction" not in "".join(texts(qualityplots.quality_distributions(obs.iloc[:80])))


def test_borrowing_populations_and_motifs(random):
    own = random.integers(100, 900, 50)
    figure = qualityplots.borrowing(own, own * 3, np.full(50, 3))
    assert figure.axes[0].collections[0].get_offsets()[:, 1].tolist() == (own * 3).tolist()
    table = pd.DataFrame(
        {"population": ["P1", "P2"], "n_cells": [90, 10], "fraction": [0.9, 0.1], "stability": [1.0, 0.4],
         "cell_type": ["B", np.nan]}
    )  # fmt: skip
    figure = typeplots.population_bars(table, colours_of(TYPES))
    assert [bar.get_width() for bar in figure.axes[0].patches] == [90, 10]
    assert {"P1  B", " 90 cells"} <= texts(figure)
    motifs = pd.DataFrame(
        {"tf": ["CTCF", "CTCF", "SPI1"], "cell_type": ["B", "T", "B"], "own": [True, True, False],
         "odds_ratio": [8.0, 4.0, 9.0], "p_adjusted": [1e-9, 0.5, 0.5]}
    )  # fmt: skip
    words = texts(typeplots.motif_support(motifs, colours_of(TYPES)))
    assert {"CTCF", "B", "T"} <= words and "SPI1" not in words


def curve(tfs, random):
    recall = np.linspace(0, 1, 101)
    return {
        "tfs": np.array(tfs), "recall": recall, "precision": np.tile(1 - recall, (len(tfs), 1)),
        "prevalence": np.full(len(tfs), 0.02), "calibration_predicted": np.r_[0.1, np.nan, 0.9],
        "calibration_observed": np.r_[0.2, np.nan, 0.8], "calibration_count": np.r_[100, 0, 10],
    }  # fmt: skip


def test_model_figures(random):
    curves = {"scbind": curve(["CTCF", "SPI1"], random), "baseline": curve(["CTCF"], random)}
    figure = modelplots.precision_recall(curves)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in panels] == ["CTCF", "SPI1"]
    dotted = [line for line in panels[1].lines if line.get_linestyle() == ":" and len(line.get_ydata())]
    assert dotted[0].get_ydata()[0] == 0.02 and len(panels[1].lines) == 2
    assert {"scbind", "baseline", "prevalence"} <= texts(figure)
    figure = modelplots.calibration_curves(curves, {"scbind": "#0072B2", "baseline": "#E69F00"})
    assert figure.axes[0].lines[1].get_xydata().tolist() == [[0.1, 0.2], [0.9, 0.8]]
    assert has_colour(figure, "#E69F00")
    history = pd.DataFrame(
        {"epoch": [0, 1], "train_loss": [1.0, 0.5], "valid_loss": [1.1, 0.7], "valid_auprc": [0.1, 0.2]}
    )
    figure = modelplots.training_curves({"scbind": history})
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0.1, 0.2]


def test_auprc_dots_average_lines_and_draw_baselines_hollow():
    rows = [
        ("scbind", "CTCF", 0.4),
        ("scbind", "CTCF", 0.6),
        ("chance", "CTCF", 0.1),
        ("scbind", "SPI1", 0.2),
    ]
    metrics = pd.DataFrame(rows, columns=["model", "tf", "auprc"]).assign(prevalence=0.01)
    figure = modelplots.auprc_dots(metrics, ["scbind"], "AUPRC")
    points = {c.get_label(): c for c in figure.axes[0].collections}
    assert points["scbind"].get_offsets().tolist() == [[0.2, 0.0], [0.5, 1.0]]
    assert len(points["chance"].get_facecolors()) == 0 and len(points["scbind"].get_facecolors()) > 0
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["SPI1", "CTCF"]


def depth_rows(model, auprc, tf="CTCF"):
    keeps = [1.0, 0.1, 0.01]
    return [(model, "K562", tf, k, 0.2 * k, 0.02, a) for k, a in zip(keeps, auprc, strict=True)]


def test_depth_figure_averages_pairs_and_names_each_line_once():
    columns = ["model", "cell_line", "tf", "keep", "depth", "prevalence", "auprc"]
    rows = depth_rows("scbind", [0.8, 0.6, 0.4]) + depth_rows("scbind", [0.4, 0.2, 0.1], "SPI1")
    rows += depth_rows("trees", [0.6, 0.5, np.nan]) + depth_rows("permuted_labels", [0.02] * 3)
    figure = modelplots.auprc_against_depth(pd.DataFrame(rows, columns=columns), ["scbind"])
    axis = figure.axes[0]
    assert axis.get_xscale() == "log" and len(axis.lines) == 3
    assert axis.lines[0].get_ydata().tolist() == pytest.approx([0.25, 0.4, 0.6])
    assert axis.lines[0].get_xdata().tolist() == pytest.approx([0.002, 0.02, 0.2])
    labels = {text.get_text(): text.xy[1] for text in axis.texts}
    assert set(labels) == {"scbind", "trees", "prevalence (chance)"}
    heights = sorted(labels.values())
    assert min(np.diff(heights)) >= 0.055 * axis.get_ylim()[1] * 0.999


def test_labels_move_apart_and_keep_their_order():
    found = modelplots.spread({"a": 0.5, "b": 0.49, "c": 0.1}, 0.05)
    assert found == pytest.approx({"c": 0.1, "b": 0.49, "a": 0.54})


def test_fragments_figure_leaves_out_what_is_unknown_and_points_where_it_is_a_bound():
    from scbind.evaluation.merge import NEEDED_COLUMNS

    rows = [("scbind", "CTCF", 50, 0.9, 0.01, 300.0, True), ("scbind", "SPI1", 50, 0.5, 0.1, 3000.0, False)]
    rows += [("scbind", "RARE", 2, np.nan, np.nan, np.nan, False)]
    rows += [("trees", "CTCF", 50, 0.7, 0.02, 600.0, False), ("trees", "SPI1", 50, 0.4, 0.2, 6000.0, False)]
    figure = modelplots.fragments_needed_dots(pd.DataFrame(rows, columns=NEEDED_COLUMNS), ["scbind"])
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["SPI1", "CTCF"], "the least on top"
    assert len(axis.texts) == 1, "one arrow"
    ours, trees = axis.collections
    assert ours.get_facecolors().size and not trees.get_facecolors().size
    assert sorted(ours.get_offsets()[:, 0]) == [300, 3000]
    cells = np.array([100.0, 1000.0, 1000.0, 5000.0])
    figure = modelplots.fragments_needed_dots(
        pd.DataFrame(rows, columns=NEEDED_COLUMNS), ["scbind"], None, cells
    )
    axis = figure.axes[0]
    assert axis.get_xlabel() == "equivalent fragments"
    assert [line.get_xdata()[0] for line in axis.lines] == [1000], "the median of the cells"


def test_fragments_of_cells_are_in_the_unit_of_the_fragments_that_tfs_need():
    """Each cell has 50,000 equivalent fragments, however small the sum of the weights of its fragments is."""
    needed = pd.DataFrame({"model": "scbind", "tf": list("ABC"), "depth_needed": [0.01, 0.02, 0.03],
                           "fragments_needed": [20_000.0, 40_000.0, 60_000.0]})  # fmt: skip
    obs = pd.DataFrame({"borrowed_depth": [0.025, 0.025, np.nan]})
    inputs = SimpleNamespace(tables={"needed": needed}, data=SimpleNamespace(obs=obs), models=["scbind"])
    cells = equivalent_fragments(inputs)
    assert cells == pytest.approx([50_000, 50_000])
    said = _enough(needed, inputs, cells)
    assert (
        "the median of the cells, 50,000." in said
        and "The median cell has enough fragments for 2 of 3 TFs (scbind)" in said
    )
    inputs.data.obs = obs.drop(columns="borrowed_depth")
    assert equivalent_fragments(inputs) is None


def test_png_is_the_same_each_time_and_settings_are_left_alone(tmp_path, random):
    before = dict(matplotlib.rcParams)
    points = random.normal(size=(20, 2))
    figures = [umapplots.umap_types(points, ["B"] * 20, colours_of(TYPES), "x") for _ in range(2)]
    image = as_png(figures[0])
    assert image == as_png(figures[1]) and data_uri(image).startswith("data:image/png;base64,")
    save_png(image, tmp_path / "figures" / "x.png")
    assert (tmp_path / "figures" / "x.png").read_bytes()[:4] == b"\x89PNG"
    assert dict(matplotlib.rcParams) == before


def test_a_palette_keeps_the_colours_of_areas_and_nearly_those_of_blends(random):
    drawn = np.full((200, 300, 3), 255, dtype=np.uint8)
    solid = [(0, 114, 178), (213, 94, 0), (34, 34, 34)]
    for number, colour in enumerate(solid):
        drawn[10:60, 10 + 60 * number : 60 + 60 * number] = colour
    ramp = np.linspace(0, 1, 300)[:, None] * (255, 80, 10) + random.integers(0, 40, (60, 300, 3))
    drawn[120:180] = np.clip(ramp, 0, 255)  # thousands of colours
    few = in_palette(Image.fromarray(drawn))
    found = np.asarray(few.convert("RGB")).astype(int)
    assert few.mode == "P" and len(np.unique(found.reshape(-1, 3), axis=0)) <= 256
    np.testing.assert_array_equal(found[:120], drawn[:120])
    assert np.abs(found - drawn).max() < 40 and np.abs(found - drawn).mean() < 4
    plain = in_palette(Image.fromarray(drawn[:120]))
    np.testing.assert_array_equal(np.asarray(plain.convert("RGB")), drawn[:120])


def test_thresholds_are_drawn_where_they_lie():
    obs = pd.DataFrame(
        {"sample": "s", "n_fragments": np.arange(1, 60), "doublet_score": np.linspace(0, 1, 59)}
    )
    figure = qualityplots.quality_distributions(obs, {"n_fragments": [100.0], "doublet_score": [0.3]})
    found = {
        axis.get_xlabel(): [float(x.get_xdata()[0]) for x in axis.lines if x.get_linestyle() == "--"]
        for axis in figure.axes
    }
    assert found["unique fragments (log10)"] == [2.0] and found["doublet score"] == [0.3]
