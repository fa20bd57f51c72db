from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import thingsvision as tv
from thingsvision.errors import InvalidArgument


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    subjects = {name: rng.random(66) + rng.random((6, 66)) for name in ("human IT", "behaviour")}
    modules = {f"layer{k}": rng.random(66) for k in range(1, 5)}
    tables = [
        tv.compare_models({"resnet": modules, "one": {"fc": rng.random(66)}}, subjects,
                          n_resamples=50, seed=seed).assign(weights=weights)
        for seed, weights in enumerate(("trained", "random"))
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def test_lines_and_bands_are_those_of_the_table(table: pd.DataFrame, tmp_path: Path) -> None:
    figure = tv.plot_profile(table, tmp_path / "profile.pdf", title="layers")
    assert (tmp_path / "profile.pdf").read_bytes().startswith(b"%PDF")
    # A network with one module has no profile.
    assert [axes.get_title() for axes in figure.axes] == ["resnet: human IT", "resnet: behaviour"]
    for axes, reference in zip(figure.axes, ("human IT", "behaviour"), strict=True):
        rows = table[(table["model"] == "resnet") & (table["reference"] == reference)]
        lines = {line.get_label(): line for line in axes.lines if line.get_label() in
                 ("trained", "random")}  # fmt: skip
        for weights, line in lines.items():
            of = rows[rows["weights"] == weights]
            np.testing.assert_allclose(line.get_ydata(), of["estimate"])
            assert line.get_linestyle() == ("--" if weights == "random" else "-")
        assert set(lines) == {"trained", "random"}
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == [f"layer{k}" for k in range(1, 5)]


def test_long_titles_are_not_cut_off(table: pd.DataFrame) -> None:
    renamed = table.assign(reference=table["reference"] + ", a group of sixteen people")
    figure = tv.plot_profile(renamed)
    figure.draw_without_rendering()
    spans = [axes.title.get_window_extent().intervalx for axes in figure.axes]
    assert spans[0][0] >= 0 and spans[-1][1] <= figure.bbox.width
    assert spans[0][1] < spans[1][0]


def test_one_module_has_no_profile(table: pd.DataFrame) -> None:
    with pytest.raises(InvalidArgument, match="more than one"):
        tv.plot_profile(table[table["model"] == "one"])


def test_another_table_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(InvalidArgument, match="lacks the columns ci_low"):
        tv.plot_profile(table.drop(columns="ci_low"))
