"""Bars: how alike models and brains or behaviour are, with intervals and noise ceilings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..errors import InvalidArgument, listing
from .rdm import STYLE, check_format, text_width

# Colours that the colour-blind tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
NEEDED = ("model", "module", "reference", "estimate", "ci_low", "ci_high")
HATCH = "//////"
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
    upper bound. Where the table has a column ``weights``, the bar of a network with random
    weights lies, hatched, below that of the trained one.

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
    check_table(table)
    suffix = check_format(path)
    table = weights_of(table)
    references = list(dict.fromkeys(table["reference"]))
    labels = list(dict.fromkeys(_label(row) for row in table.to_dict("records")))
    kinds = list(dict.fromkeys(table["weights"]))
    kinds.sort(key=lambda kind: kind == "random")
    with mpl.rc_context(STYLE):
        width = max(text_width(label, STYLE["font.size"]) for label in labels)
        slot = ROW if len(kinds) == 1 else 1.4 * ROW
        size = (0.2 + width + PANEL * len(references), AROUND + slot * len(labels))
        figure = Figure(figsize=size, dpi=dpi, layout="constrained")
        panels = figure.subplots(1, len(references), sharex=True, sharey=True, squeeze=False)[0]
        comparison = str(table["comparison"].iloc[0]) if "comparison" in table else ""
        for panel, reference in zip(panels, references, strict=True):
            _draw_panel(panel, table[table["reference"] == reference], labels, kinds)
            panel.set_title(reference, fontsize=STYLE["font.size"])
            panel.set_xlabel(AXIS.get(comparison, comparison.replace("_", " ")))
        if len(kinds) > 1:
            keys = [Patch(facecolor="0.6" if kind != "random" else "white", edgecolor="0.4",
                          hatch=HATCH if kind == "random" else None, label=kind)
                    for kind in kinds]  # fmt: skip
            figure.legend(handles=keys, loc="outside lower right", ncols=len(keys), frameon=False)
        if title:
            figure.suptitle(title, fontsize=9)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format=suffix, dpi=dpi, facecolor="white")
    return figure


def check_table(table: pd.DataFrame) -> None:
    """Refuse a table that is none of `compare_models`.

    Raises
    ------
    InvalidArgument
        If it lacks columns or rows.
    """
    if absent := [name for name in NEEDED if name not in table]:
        raise InvalidArgument(
            f"The table lacks the columns {listing(absent)}; give what compare_models returns."
        )
    if table.empty:
        raise InvalidArgument("The table has no rows, so there is nothing to draw.")


def weights_of(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``weights`` where there is none."""
    return table if "weights" in table else table.assign(weights="")


def draw_ceiling(span: Callable[..., Any], rows: pd.DataFrame) -> None:
    """Shade the noise ceiling, where there is one."""
    if "ceiling_low" in rows and np.isfinite(rows["ceiling_low"].iloc[0]):
        low, high = rows["ceiling_low"].iloc[0], rows["ceiling_high"].iloc[0]
        span(low, high, color="0.85", zorder=0, label="noise ceiling")


def _label(row: dict[Any, Any]) -> str:
    return f"{row['model']} {row['module']}".strip()


def _draw_panel(axes: Axes, rows: pd.DataFrame, labels: list[str], kinds: list[str]) -> None:
    records = rows.to_dict("records")
    present = {(_label(row), row["weights"]) for row in records}
    names = list(dict.fromkeys(rows["model"]))
    by_network = len(names) < len(labels)
    for row in records:
        slot = labels.index(_label(row))
        beside = [kind for kind in kinds if (_label(row), kind) in present]
        height = 0.76 / len(beside)
        place = slot + (beside.index(row["weights"]) - (len(beside) - 1) / 2) * height
        colour = COLOURS[(names.index(row["model"]) if by_network else slot) % len(COLOURS)]
        look: dict[str, Any] = {"color": colour, "edgecolor": colour}
        if row["weights"] == "random":
            look = {"facecolor": "white", "edgecolor": colour, "hatch": HATCH}
        axes.barh(place, row["estimate"], height * 0.92, linewidth=0.6, **look)
        axes.plot([row["ci_low"], row["ci_high"]], [place] * 2, color="black", linewidth=1)
    draw_ceiling(axes.axvspan, rows)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first on top
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
