"""Profiles: how alike a reference the modules of a network are, from the first to the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..errors import InvalidArgument
from .bars import AXIS, COLOURS, check_table, draw_ceiling, weights_of
from .rdm import STYLE, check_format, text_width

STEP, NARROWEST, HIGH = 0.16, 1.6, 1.7  # inches: a module, a panel's least width, its height


def plot_profile(
    table: pd.DataFrame,
    path: str | Path | None = None,
    *,
    title: str | None = None,
    dpi: int = 200,
) -> Figure:
    """Draw how alike the modules of networks and references are: a row a network.

    Bands are confidence intervals; grey is the noise ceiling. Random weights are dashed.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare_models`, with several modules of at least one network, in the order of the
        forward pass; a column ``weights`` parts trained from random.
    path : path, optional
        Where to write the figure; the suffix says how.
    title : str, optional
        Above the figure.
    dpi : int
        Pixels per inch of raster formats.

    Returns
    -------
    matplotlib.figure.Figure
        It belongs to no window and need not be closed.

    Raises
    ------
    InvalidArgument
        If no network has several modules in the table, or the file format is unknown.

    Examples
    --------
    >>> from thingsvision import compare_models
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.random(45) + rng.random((5, 45))
    >>> modules = {"net": {"conv1": rng.random(45), "conv2": subjects.mean(axis=0)}}
    >>> figure = plot_profile(compare_models(modules, {"human": subjects}))
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['conv1', 'conv2']
    """
    check_table(table)
    suffix = check_format(path)
    modules = {
        str(model): list(dict.fromkeys(rows["module"]))
        for model, rows in table.groupby("model", sort=False)
    }
    models = [model for model, names in modules.items() if len(names) > 1]
    if not models:
        raise InvalidArgument(
            "A profile is drawn over several modules, and no network in the table has more than "
            "one."
        )
    references = list(dict.fromkeys(table["reference"]))
    with mpl.rc_context(STYLE):
        longest = max(len(modules[model]) for model in models)
        words = max(text_width(name, 7.0) for model in models for name in modules[model])
        titles = [f"{model}: {reference}" for model in models for reference in references]
        title_width = 0.15 + max(text_width(one, STYLE["font.size"]) for one in titles)
        size = (
            0.9 + len(references) * max(NARROWEST, STEP * longest, title_width),
            0.5 + len(models) * (HIGH + words),
        )
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        panels = figure.subplots(len(models), len(references), sharey=True, squeeze=False)
        comparison = str(table["comparison"].iloc[0]) if "comparison" in table else ""
        for row, model in enumerate(models):
            for column, reference in enumerate(references):
                axes = panels[row, column]
                chosen = table[(table["model"] == model) & (table["reference"] == reference)]
                _draw(axes, chosen, modules[model], COLOURS[row % len(COLOURS)])
                axes.set_title(f"{model}: {reference}", fontsize=STYLE["font.size"])
            panels[row, 0].set_ylabel(AXIS.get(comparison, comparison.replace("_", " ")))
        handles, labels = panels[0, 0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(
                handles, labels, frameon=False, ncols=len(labels), loc="outside lower right"
            )
        if title:
            figure.suptitle(title, fontsize=9)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format=suffix, dpi=dpi, facecolor="white")
    return figure


def _draw(axes: Any, rows: pd.DataFrame, modules: list[str], colour: str) -> None:
    draw_ceiling(axes.axhspan, rows)
    axes.axhline(0, color="black", linewidth=0.6)
    for weights, line in weights_of(rows).groupby("weights", sort=False):
        places = [modules.index(module) for module in line["module"]]
        is_random = weights == "random"
        drawn = "0.35" if is_random else colour
        axes.fill_between(places, line["ci_low"], line["ci_high"], color=drawn, alpha=0.2, lw=0)
        axes.plot(places, line["estimate"], color=drawn, linewidth=1.2, marker="o", markersize=2.5,
                  linestyle="--" if is_random else "-", label=str(weights) or None)  # fmt: skip
    axes.set_xticks(np.arange(len(modules)), modules, rotation=90, fontsize=7)
    axes.set_xlim(-0.5, len(modules) - 0.5)
    axes.spines[["top", "right"]].set_visible(False)
