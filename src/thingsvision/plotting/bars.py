"""Bars: how alike models and brains or behaviour are, with intervals and noise ceilings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import InvalidArgument, listing
from .rdm import STYLE, check_format, text_width

# Colours that the colour-blind tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
NEEDED = ("model", "module", "reference", "estimate", "ci_low", "ci_high")
ROW, PANEL = 0.24, 1.9  # inches: height of a row, width of a panel
AROUND = 0.75  # inches above and below the rows, for titles and numbers
AXIS = {
    "pearson": "Pearson’s r",
    "spearman": "Spearman’s ρ",
    "kendall_tau_a": "Kendall’s τ$_a$",
    "kendall_tau_b": "Kendall’s τ$_b$",
    "rho_a": "ρ$_a$",
}


def plot_models(
    table: pd.DataFrame,
    path: str | Path | None = None,
    *,
    title: str | None = None,
    dpi: int = 200,
) -> Figure:
    """Draw how alike models and references are: a panel a reference, a bar a model.

    Lines are confidence intervals; the grey band is the noise ceiling, from its lower to its
    upper bound.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare_models`; its rows are drawn in their order.
    path : path, optional
        Where to write the figure; the suffix says how: ``.png``, ``.pdf``, ``.svg`` and what
        else matplotlib writes.
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
        If the table lacks columns or rows, or the file format is unknown.

    Examples
    --------
    >>> from thingsvision import compare_models
    >>> rng = np.random.default_rng(0)
    >>> subjects = rng.random(45) + rng.random((5, 45))
    >>> table = compare_models({"good": subjects.mean(axis=0)}, {"human": subjects})
    >>> [axes.get_title() for axes in plot_models(table).axes]
    ['human']
    """
    if absent := [name for name in NEEDED if name not in table]:
        raise InvalidArgument(
            f"The table lacks the columns {listing(absent)}; give what compare_models returns."
        )
    if table.empty:
        raise InvalidArgument("The table has no rows, so there is nothing to draw.")
    suffix = check_format(path)
    references = list(dict.fromkeys(table["reference"]))
    labels = list(dict.fromkeys(_label(row) for row in table.to_dict("records")))
    with mpl.rc_context(STYLE):
        width = max(text_width(label, STYLE["font.size"]) for label in labels)
        size = (0.2 + width + PANEL * len(references), AROUND + ROW * len(labels))
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        panels = figure.subplots(1, len(references), sharex=True, sharey=True, squeeze=False)[0]
        comparison = str(table["comparison"].iloc[0]) if "comparison" in table else ""
        for panel, reference in zip(panels, references, strict=True):
            _draw_panel(panel, table[table["reference"] == reference], labels)
            panel.set_title(reference, fontsize=STYLE["font.size"])
            panel.set_xlabel(AXIS.get(comparison, comparison.replace("_", " ")))
        if title:
            figure.suptitle(title, fontsize=9)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format=suffix, dpi=dpi, facecolor="white")
    return figure


def _label(row: dict[Any, Any]) -> str:
    return f"{row['model']} {row['module']}".strip()


def _draw_panel(axes: Axes, rows: pd.DataFrame, labels: list[str]) -> None:
    for row in rows.to_dict("records"):
        place = labels.index(_label(row))
        axes.barh(place, row["estimate"], 0.7, color=COLOURS[place % len(COLOURS)])
        axes.plot([row["ci_low"], row["ci_high"]], [place] * 2, color="black", linewidth=1)
    if "ceiling_low" in rows and np.isfinite(rows["ceiling_low"].iloc[0]):
        low, high = rows["ceiling_low"].iloc[0], rows["ceiling_high"].iloc[0]
        axes.axvspan(low, high, color="0.85", zorder=0, label="noise ceiling")
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first on top
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
