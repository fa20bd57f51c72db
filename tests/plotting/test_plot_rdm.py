"""Figures: their size, what is on them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from scipy.io import loadmat

from thingsvision.errors import InvalidArgument, MismatchError, UnknownName
from thingsvision.plotting import plot_rdm
from thingsvision.plotting.rdm import MEASURES, _spread
from thingsvision.rsa import RDM, compute_rdm
from thingsvision.rsa.dissimilarity import DISSIMILARITIES
from thingsvision.thumbnails import squares, strips

DATA = Path(__file__).parents[2].parent / "shared/data/kriegeskorte92"
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 255]], np.uint8)


def toy(count: int, dissimilarity: str = "correlation") -> RDM:
    features = np.random.default_rng(count).normal(size=(count, 40))
    rdm = compute_rdm(features, dissimilarity)
    ids = tuple(f"{n:03}.jpg" for n in range(count))
    return RDM(rdm.dissimilarities, ids, dissimilarity)


def photographs(count: int) -> list[np.ndarray]:
    return [np.full((30, 40, 3), COLOURS[n % 4]) for n in range(count)]


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def part(figure, label: str) -> tuple[slice, slice]:
    """Rows and columns of pixels that an axes covers."""
    (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
    across, down = np.round(figure.get_size_inches() * figure.dpi).astype(int)
    box = axes.get_position()
    return (
        slice(round((1 - box.y1) * down), round((1 - box.y0) * down)),
        slice(round(box.x0 * across), round(box.x1 * across)),
    )


@pytest.mark.parametrize("count", [2, 3, 16, 92, 400])
def test_each_cell_is_whole_pixels_of_its_colour(tmp_path, count):
    rdm = toy(count)
    figure = plot_rdm(rdm, tmp_path / "it.png")
    image = np.asarray(Image.open(tmp_path / "it.png").convert("RGB")).astype(int)
    assert image.shape[1::-1] == tuple(np.round(figure.get_size_inches() * 200).astype(int))
    matrix = image[part(figure, "matrix")]
    cell = round(1000 / count)
    assert matrix.shape == (cell * count, cell * count, 3)
    values = rdm.square()
    low, high = rdm.dissimilarities.min(), rdm.dissimilarities.max()
    share = (values - low) / (high - low) if high > low else np.full_like(values, 1.0)
    true = mpl.colormaps["cividis"](np.clip(share, 0, 1), bytes=True)[..., :3].astype(int)
    shown = matrix[cell // 2 :: cell, cell // 2 :: cell]
    off = ~np.eye(count, dtype=bool)
    assert count == 2 or np.abs(shown - true)[off].max() <= 3  # one step of the colour map
    assert (shown[~off] == mpl.colormaps["cividis"](0.0, bytes=True)[:3]).all()
    assert (matrix[:cell, :cell] == matrix[0, 0]).all()  # no blur


@pytest.mark.parametrize("dpi", [100, 200, 300])
def test_dpi(tmp_path, dpi):
    plot_rdm(toy(16), tmp_path / "it.png", dpi=dpi)
    with Image.open(tmp_path / "it.png") as image:
        assert image.height == pytest.approx(5.25 * dpi, abs=0.15 * dpi)
        assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".jpg", ".jpeg", ".tif", ".eps"])
def test_formats(tmp_path, suffix):
    path = tmp_path / f"new/it{suffix}"
    plot_rdm(toy(12), path, images=photographs(12), groups=["a"] * 6 + ["b"] * 6)
    assert path.stat().st_size > 5_000
    if suffix in (".png", ".jpg", ".jpeg", ".tif"):
        image = np.asarray(Image.open(path).convert("L"))
        assert image.std() > 20


def test_fonts_are_embedded_as_truetype(tmp_path):
    plot_rdm(toy(4), tmp_path / "it.pdf", title="Title")
    content = (tmp_path / "it.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content


@pytest.mark.parametrize("name", ["it.xyz", "it"])
def test_unknown_formats_are_refused(tmp_path, name):
    with pytest.raises(InvalidArgument, match=r"cannot be written as .*\.jpg.*\.pdf, .*\.svg"):
        plot_rdm(toy(4), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [12, 40, 100])
def test_photographs_stand_at_their_cells(count):
    figure = plot_rdm(toy(count), images=photographs(count))
    image = pixels(figure)
    rows, columns = part(figure, "matrix")
    above, beside = part(figure, "images above"), part(figure, "images beside")
    assert above[0].stop <= rows.start
    assert beside[1].stop <= columns.start
    assert above[0].stop <= beside[0].start or beside[1].stop <= above[1].start  # corner
    cell = (columns.stop - columns.start) / count
    stagger = min(6, int(np.ceil(0.24 * 200 / round(cell))), count)
    size = round(stagger * cell)
    for number in range(count):
        away = size * (number % stagger) + size // 2
        along = round((number + 0.5) * cell)
        for shown in (
            image[above[0].stop - away, columns.start + along],
            image[rows.start + along, beside[1].stop - away],
        ):
            assert (shown == COLOURS[number % 4]).all(), number


def test_nothing_is_cut_off_or_blank_around():
    groups = ["a group with quite a long name"] * 5 + ["$x_1$"] * 6 + ["b"] * 1
    figure = plot_rdm(toy(12), images=photographs(12), groups=groups, title="A title\nof two lines")
    image = pixels(figure)
    ink = (image != 255).any(axis=2)
    edge = 4
    for border in (ink[:edge], ink[-edge:], ink[:, :edge], ink[:, -edge:]):
        assert not border.any()
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert rows[0] < 60
    assert columns[0] < 60
    assert ink.shape[0] - rows[-1] < 80
    assert ink.shape[1] - columns[-1] < 80


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e5])
@pytest.mark.parametrize("title", [None, "A very long title that would not fit " * 4])
def test_texts_stay_on_the_sheet_and_apart(scale, title):
    groups = [f"class {min(n // 2, 11)}" for n in range(60)]
    rdm = RDM(toy(60, "euclidean").dissimilarities * scale, dissimilarity="euclidean")
    figure = plot_rdm(rdm, groups=groups, title=title)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    across, down = figure.get_size_inches() * figure.dpi
    (names,) = [axes for axes in figure.axes if axes.get_label() == "names"]
    (bar,) = [axes for axes in figure.axes if axes.get_label() == "colour bar"]
    boxes = [text.get_window_extent(renderer) for text in names.texts]
    others = [*bar.get_yticklabels(), bar.yaxis.label, *figure.texts]
    for box in [*boxes, *(text.get_window_extent(renderer) for text in others)]:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= across
        assert box.y1 <= down
    left, below = boxes[0::2], boxes[1::2]
    assert len(left) == 12
    assert all(a.y0 >= b.y1 - 3 for a, b in pairwise(left))
    assert all(a.x1 <= b.x0 + 3 for a, b in pairwise(below))


def test_groups_are_brought_together_and_parted():
    rdm = toy(6)
    groups = ["b", "a", "b", "a", "b", "a"]
    figure = plot_rdm(rdm, groups=groups)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    order = [0, 2, 4, 1, 3, 5]
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_array_equal(shown[off], rdm.square()[np.ix_(order, order)][off])
    assert len(figure.axes[0].lines) == 2
    assert [text.get_text() for text in figure.axes[-1].texts] == ["b", "b", "a", "a"]
    by_id = dict(zip(reversed(rdm.ids), reversed(groups), strict=True))
    again = plot_rdm(rdm, groups=by_id)
    np.testing.assert_array_equal(np.asarray(again.axes[0].images[0].get_array())[off], shown[off])


def test_order_by_id_or_row():
    rdm = toy(6)
    for order in ([4, 0, 2], [rdm.ids[4], rdm.ids[0], rdm.ids[2]]):
        figure = plot_rdm(rdm, order=order, labels=list("uvwxyz"))
        shown = np.asarray(figure.axes[0].images[0].get_array())
        assert shown[0, 1] == rdm.square()[4, 0]
        assert [text.get_text() for text in figure.axes[-1].texts][::2] == ["y", "u", "w"]


def test_ranks_and_limits():
    rdm = toy(6)
    figure = plot_rdm(rdm, rank=True)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    ranks = shown[np.triu_indices(6, 1)]
    assert (ranks.min(), ranks.max()) == (0, 100)
    np.testing.assert_array_equal(np.argsort(ranks), np.argsort(rdm.dissimilarities))
    assert figure.axes[1].get_ylabel().startswith("percentile of")
    assert plot_rdm(rdm, limits=(0.0, 2.0)).axes[0].images[0].get_clim() == (0, 2)


@pytest.mark.parametrize(
    ("dissimilarity", "words"),
    [
        ("correlation", "dissimilarity (1 − Pearson’s r)"),
        ("euclidean", "Euclidean distance"),
        ("my measure", "my measure"),
        ("", "dissimilarity"),
    ],
)
def test_the_colour_bar_says_what_is_measured(dissimilarity, words):
    figure = plot_rdm(RDM(np.array([0.0, 1.0, 2.0]), dissimilarity=dissimilarity))
    assert figure.axes[1].get_ylabel() == words


def test_a_matrix_and_a_constant_rdm_are_drawn():
    plot_rdm(1 - np.eye(3))
    plot_rdm(np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"colormap": "cividi"}, UnknownName, "no colour map 'cividi'. Nearest: cividis"),
        ({"images": photographs(3)}, InvalidArgument, "3 images were given for 4 stimuli"),
        ({"labels": ["a"]}, InvalidArgument, "1 labels were given for 4 stimuli"),
        ({"groups": {"000.jpg": "a"}}, MismatchError, "groups lack 3 stimuli: 001.jpg"),
        ({"order": [0, 9]}, MismatchError, "has not: 9"),
        ({"order": ["000.jpg", "x"]}, MismatchError, "has not: x"),
        ({"order": [0, 0]}, InvalidArgument, "none of them twice"),
        ({"images": [np.zeros((3, 9, 9))] * 4}, InvalidArgument, r"Image 0 has shape \(3, 9, 9\)"),
        ({"images": [np.zeros((9, 9), int)] * 4}, InvalidArgument, "Image 0 is of int64"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        plot_rdm(toy(4), **arguments)


def test_more_refusals():
    with pytest.raises(InvalidArgument, match="301 images are too many"):
        plot_rdm(toy(301), images=photographs(301))
    with pytest.raises(InvalidArgument, match="carries no ids"):
        plot_rdm(np.zeros((3, 3)), groups={"a": "b"})
    with pytest.raises(InvalidArgument, match="not symmetric"):
        plot_rdm(np.triu(np.ones((3, 3)), 1))


def test_pictures_of_every_kind():
    grey = np.tile(np.linspace(0, 1, 8), (8, 1))
    kinds = [grey, grey[..., None], np.dstack([grey] * 3), np.dstack([grey] * 4)]
    kinds += [Image.fromarray((grey * 255).astype(np.uint8)), Image.new("CMYK", (9, 5))]
    found = squares(kinds)
    assert [picture.size for picture in found] == [(8, 8)] * 5 + [(5, 5)]
    assert {picture.mode for picture in found} == {"RGBA"}
    above, beside, margin = strips(found, 30.0, 3)
    assert above.size == beside.size[::-1] == (60 + 2 * margin, 90)


def test_places_are_spread_as_little_as_possible():
    np.testing.assert_allclose(_spread(np.array([0.0, 5.0, 9.0]), 2.0), [0, 5, 9])
    np.testing.assert_allclose(_spread(np.array([4.0, 5.0, 6.0]), 2.0), [3, 5, 7])
    found = _spread(np.sort(np.random.default_rng(0).random(20)), 0.1)
    assert (np.diff(found) >= 0.1 - 1e-12).all()


def test_pyplot_and_settings_are_left_alone(tmp_path):
    code = (
        "import sys, warnings, matplotlib as mpl; before = mpl.rcParams.copy();"
        "warnings.simplefilter('error');"
        "import numpy as np; from thingsvision.plotting import plot_rdm;"
        f"plot_rdm(1 - np.eye(3), {str(tmp_path / 'it.pdf')!r});"
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'torch' not in sys.modules;"
        "assert repr(before) == repr(mpl.rcParams.copy())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ninety_two_photographs(tmp_path):
    if not DATA.is_dir():
        pytest.skip(f"needs the public data kriegeskorte92, expected in {DATA}")
    contents = loadmat(DATA / "Kriegeskorte_Neuron2008_supplementalData.mat")
    stimuli = contents["stimuli_92objs"][0]
    rdm = RDM(contents["RDMs_mIT_hIT_fig1"][0, 1]["RDM"].ravel(), dissimilarity="correlation")
    groups = [str(stimulus["category"][0]) for stimulus in stimuli]
    images = [stimulus["image"] for stimulus in stimuli]
    figure = plot_rdm(rdm, tmp_path / "hit.png", images=images, groups=groups, title="Human IT")
    image = pixels(figure)
    assert image[part(figure, "images above")].std() > 30
    assert (image[:4] == 255).all()
    assert (image[:, -4:] == 255).all()


def test_every_dissimilarity_has_words_for_the_colour_bar() -> None:
    assert set(MEASURES) == set(DISSIMILARITIES)
