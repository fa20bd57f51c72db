from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

import thingsvision as tv
from thingsvision.errors import InvalidArgument, MismatchError, UnknownName

IDS = tuple(f"s{k}" for k in range(8))


def rdm(seed: int) -> tv.RDM:
    return tv.RDM(np.random.default_rng(seed).random(28), IDS)


def test_each_matrix_shows_the_ranks_of_its_own_pairs_in_the_order() -> None:
    one, other, human = rdm(0), rdm(1), rdm(2)
    rows = [("trained", {"net": one, "human": human}), ("random", {"net": other})]
    order = IDS[::-1]
    figure = tv.plot_rdm_grid(rows, columns=["net", "human"], orders=order)
    drawn = {axes.get_label(): axes for axes in figure.axes}
    assert set(drawn) == {"trained, net", "random, net", "trained, human", "colour bar"}
    for label, item in {"trained, net": one, "random, net": other, "trained, human": human}.items():
        (image,) = drawn[label].images
        ranks = rankdata(squareform(item.square()[::-1, ::-1]))
        np.testing.assert_allclose(squareform(image.get_array()), (ranks - 1) / 27 * 100)
        assert image.get_clim() == (0, 100)
    # What stands side by side is in a row, what is of one network in a column.
    places = {label: axes.get_position() for label, axes in drawn.items()}
    assert places["trained, net"].y0 == places["trained, human"].y0 > places["random, net"].y0
    assert places["trained, net"].x0 == places["random, net"].x0 < places["trained, human"].x0


def test_a_row_can_have_its_own_order_and_leave_stimuli_out() -> None:
    rows = [("a", {"net": rdm(0)}), ("b", {"net": rdm(1)})]
    figure = tv.plot_rdm_grid(rows, orders={"a": IDS[:3]})
    sizes = {axes.get_label(): axes.images[0].get_array().shape for axes in figure.axes[:2]}
    assert sizes == {"a, net": (3, 3), "b, net": (8, 8)}


def test_many_matrices_go_on_below_and_stay_inside(tmp_path: Path) -> None:
    rows = [("trained", {f"a_long_name_of_network-{k}": rdm(k) for k in range(23)})]
    figure = tv.plot_rdm_grid(rows, tmp_path / "grid.png", title="many", dpi=100)
    places = [axes.get_position() for axes in figure.axes]
    beside = Counter(round(place.y0, 6) for place in places[:23])
    assert sorted(beside.values()) == [7, 8, 8]
    assert all(place.x0 >= 0 and place.y0 >= 0 and place.x1 <= 1 for place in places)
    width, height = figure.get_size_inches()
    squares = [(place.width * width, place.height * height) for place in places[:23]]
    np.testing.assert_allclose(squares, 1)
    with Image.open(tmp_path / "grid.png") as picture:
        np.testing.assert_allclose(picture.size, np.array([width, height]) * 100, atol=1)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no RDM to draw"):
        tv.plot_rdm_grid([("trained", {})])
    with pytest.raises(UnknownName, match="cividis"):
        tv.plot_rdm_grid([("trained", {"net": rdm(0)})], colormap="cividiss")
    with pytest.raises(MismatchError, match="s99"):
        tv.plot_rdm_grid([("trained", {"net": rdm(0)})], orders=["s99", "s1"])
    with pytest.raises(InvalidArgument, match="cannot be written as"):
        tv.plot_rdm_grid([("trained", {"net": rdm(0)})], tmp_path / "grid.docx")
