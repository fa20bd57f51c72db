"""Many small RDMs side by side, all in one order: networks above, brains and behaviour beside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import InvalidArgument, unknown
from ..rsa.matrix import squared
from ..rsa.ranks import average_ranks
from ..rsa.rdm import RDM
from .rdm import STYLE, check_format, text_width

PANEL, SPACE = 1.0, 0.07  # inches: side of a matrix, and what is between two
MOST = 10  # matrices side by side; more go on below
LETTER = 7.0
MARGIN, BAR, WORDS = 0.1, 0.1, 0.45  # inches: around all, the colour bar, its numbers

Row = tuple[str, Mapping[str, RDM]]


def plot_rdm_grid(
    rows: Sequence[Row],
    path: str | Path | None = None,
    *,
    columns: Sequence[str] | None = None,
    orders: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    colormap: str = "cividis",
    title: str | None = None,
    dpi: int = 300,
) -> Figure:
    """Draw RDMs as a grid of squares, each by the ranks of its own pairs.

    Ranks, as percentiles from 0 to 100, make measures comparable that have no scale in common.

    Parameters
    ----------
    rows : sequence of (str, dict of str to RDM)
        Name of each row, and its RDMs by the name of their column. Where a row lacks one, the
        place stays empty.
    path : path, optional
        Where to write the figure; the suffix says how.
    columns : sequence of str, optional
        The columns to draw, in their order; by default all, as they first appear.
    orders : sequence of ids, or dict from row to it, optional
        The order to draw in; it may leave stimuli out.
    colormap : str
        A name that matplotlib knows.
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
        If there is no RDM, or the file format or the colour map is unknown.
    MismatchError
        If an order names stimuli that an RDM has not.

    Examples
    --------
    >>> rdm = RDM(np.random.default_rng(0).random(45))
    >>> figure = plot_rdm_grid([("trained", {"alexnet": rdm, "vgg16": rdm})])
    >>> sorted(axes.get_label() for axes in figure.axes)
    ['colour bar', 'trained, alexnet', 'trained, vgg16']
    """
    suffix = check_format(path)
    if colormap not in mpl.colormaps:
        raise unknown("colour map", colormap, mpl.colormaps)
    for row, rdms in rows:
        for name, rdm in rdms.items():
            if not isinstance(rdm, RDM):
                raise InvalidArgument(
                    f"{name!r} of the row {row!r} is a {type(rdm).__name__}, not an RDM. Make one "
                    "with compute_rdm, load_rdm or RDM.from_matrix."
                )
    there = list(dict.fromkeys(column for _, rdms in rows for column in rdms))
    columns = there if columns is None else [name for name in columns if name in there]
    if not columns:
        raise InvalidArgument("There is no RDM to draw.")
    # As many in each as can be: one matrix alone below would look lost.
    wide = ceil(len(columns) / ceil(len(columns) / MOST))
    blocks = [columns[start : start + wide] for start in range(0, len(columns), wide)]
    # Rows without a matrix in a block need no line there.
    lines = [[row for row in rows if set(block) & set(row[1])] for block in blocks]
    with mpl.rc_context(STYLE):
        left = MARGIN + max(text_width(name, LETTER) for name, _ in rows) + 0.1
        heads = [max(len(_broken(name)) for name in block) * 0.115 + 0.05 for block in blocks]
        top = MARGIN + (0.25 if title else 0)
        height = top + MARGIN + sum(
            head + len(line) * (PANEL + SPACE) for head, line in zip(heads, lines, strict=True)
        )  # fmt: skip
        bar = left + len(blocks[0]) * (PANEL + SPACE) + 0.05
        width = bar + BAR + WORDS + MARGIN
        figure = Figure(figsize=(width, height), dpi=dpi)

        y, first = top, top + heads[0]
        for block, head, line in zip(blocks, heads, lines, strict=True):
            y += head
            lefts = {name: left + n * (PANEL + SPACE) for n, name in enumerate(block)}
            for name, x in lefts.items():
                where = ((x + PANEL / 2) / width, 1 - (y - 0.05) / height)
                words = "\n".join(_broken(name))
                figure.text(*where, words, ha="center", va="bottom", fontsize=LETTER)
            for row, rdms in line:
                where = ((left - 0.06) / width, 1 - (y + PANEL / 2) / height)
                figure.text(*where, row, ha="right", va="center", fontsize=LETTER)
                order = orders.get(row) if isinstance(orders, Mapping) else orders
                for name in (name for name in block if name in rdms):
                    place = (lefts[name] / width, 1 - (y + PANEL) / height, PANEL / width,
                             PANEL / height)  # fmt: skip
                    axes = figure.add_axes(place, label=f"{row}, {name}")
                    axes.imshow(percentiles(rdms[name], order), cmap=colormap, vmin=0, vmax=100,
                                interpolation="nearest", aspect="auto")  # fmt: skip
                    axes.set_axis_off()
                y += PANEL + SPACE
        place = (bar / width, 1 - (first + PANEL) / height, BAR / width, PANEL / height)
        axes = figure.add_axes(place, label="colour bar")
        colours = figure.colorbar(ScalarMappable(Normalize(0, 100), colormap), cax=axes)
        colours.set_ticks([0, 50, 100])
        colours.outline.set_visible(False)
        colours.ax.tick_params(labelsize=LETTER, length=2, width=0.6)
        colours.set_label("dissimilarity\n(percentile)", size=LETTER)
        if title:
            figure.suptitle(title, y=1 - MARGIN / height, va="top", fontsize=9)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format=suffix, dpi=dpi, facecolor="white")
    return figure


def percentiles(rdm: RDM, order: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Rank the pairs of an RDM, from 0 to 100, as a square matrix with zeros on its diagonal.

    Parameters
    ----------
    rdm : RDM
        What to rank.
    order : sequence of ids, optional
        The stimuli to take; ranks are among their pairs.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli)
    """
    pairs = (rdm if order is None else rdm.select(order)).dissimilarities
    return squared((average_ranks(pairs) - 1) / max(1, len(pairs) - 1) * 100)


def _broken(name: str) -> list[str]:
    """Break a name into lines that fit over a matrix."""
    lines = [""]
    for word in re.findall(r"[^ _-]+[ _-]*", name) or [name]:
        if lines[-1] and text_width(lines[-1] + word, LETTER) > PANEL:
            lines.append("")
        lines[-1] += word
    return [line.strip() for line in lines]
