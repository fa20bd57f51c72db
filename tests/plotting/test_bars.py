from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import thingsvision as tv
from thingsvision.errors import InvalidArgument


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    subjects = {name: rng.random(66) + rng.random((6, 66)) for name in ("human IT", "behaviour")}
    ids = tuple(f"s{k}" for k in range(12))
    mean = subjects["human IT"].mean(axis=0)
    models = {
        "alexnet": {"features.10": tv.RDM(mean, ids), "classifier.4": tv.RDM(rng.random(66), ids)},
        "resnet50": {"layer4": tv.RDM(mean + 0.2 * rng.random(66), ids)},
    }
    return tv.compare_models(models, subjects, "spearman", n_resamples=50, by_position=True)


def test_bars_lines_and_bands_are_those_of_the_table(table: pd.DataFrame) -> None:
    figure = tv.plot_models(table, title="three modules")
    assert [axes.get_title() for axes in figure.axes] == ["human IT", "behaviour"]
    for axes, (_, rows) in zip(figure.axes, table.groupby("reference", sort=False), strict=True):
        bars = [patch for patch in axes.patches if patch.get_label() != "noise ceiling"]
        np.testing.assert_allclose([bar.get_width() for bar in bars], rows["estimate"])
        lines = [line.get_xdata() for line in axes.lines[:3]]
        np.testing.assert_allclose(lines, rows[["ci_low", "ci_high"]])
        (band,) = [patch for patch in axes.patches if patch.get_label() == "noise ceiling"]
        low, high = band.get_x(), band.get_x() + band.get_width()
        assert (low, high) == pytest.approx(tuple(rows[["ceiling_low", "ceiling_high"]].iloc[0]))
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row on top
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == ["alexnet features.10", "alexnet classifier.4", "resnet50 layer4"]
    assert figure.axes[0].get_xlabel() == "Spearman’s ρ"


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_files(table: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"bars.{suffix}"
    tv.plot_models(table, path)
    assert path.stat().st_size > 3000
    if suffix == "png":
        with Image.open(path) as picture:
            assert picture.size[0] > 400


def test_one_subject_has_no_ceiling(table: pd.DataFrame) -> None:
    table["ceiling_low"] = table["ceiling_high"] = np.nan
    assert not [p for axes in tv.plot_models(table).axes for p in axes.patches
                if p.get_label() == "noise ceiling"]  # fmt: skip


def test_mistakes(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="lacks the columns estimate"):
        tv.plot_models(table.drop(columns="estimate"))
    with pytest.raises(InvalidArgument, match="no rows"):
        tv.plot_models(table.iloc[:0])
    with pytest.raises(InvalidArgument, match="docx"):
        tv.plot_models(table, tmp_path / "bars.docx")


def test_random_lies_below_trained_of_the_same_network(table: pd.DataFrame) -> None:
    kinds = [table.assign(weights=kind) for kind in ("trained", "random")]
    rows = pd.concat([kinds[0], kinds[1][kinds[1]["model"] == "alexnet"]], ignore_index=True)
    figure = tv.plot_models(rows)
    bars = [patch for patch in figure.axes[0].patches if patch.get_label() != "noise ceiling"]
    bars = [bar for bar in bars if bar.get_height() < 1]
    of_reference = rows[rows["reference"] == "human IT"]
    np.testing.assert_allclose([bar.get_width() for bar in bars], of_reference["estimate"])
    hatched = [bar.get_hatch() is not None for bar in bars]
    assert hatched == (of_reference["weights"] == "random").tolist()
    trained, other, alone, below, _ = bars
    assert trained.get_y() < below.get_y() < other.get_y()  # the axis points down
    assert alone.get_height() > trained.get_height()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["trained", "random"]
