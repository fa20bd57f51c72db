"""Figures of RDMs, fit to be printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ..errors import InvalidArgument, unknown
from ..rsa.arrangement import arranged, per_stimulus
from ..rsa.matrix import squared
from ..rsa.ranks import average_ranks
from ..rsa.rdm import RDM
from ..thumbnails import squares, strips

MEASURES = {
    "correlation": "dissimilarity (1 − Pearson’s r)",
    "cosine": "dissimilarity (1 − cosine)",
    "euclidean": "Euclidean distance",
    "squared_euclidean": "squared Euclidean distance",
    "gaussian": "dissimilarity (1 − Gaussian kernel)",
    "mahalanobis": "squared Mahalanobis distance",
    "crossnobis": "crossnobis distance",
    "poisson": "symmetric Poisson–KL divergence",
    "poisson_cv": "symmetric Poisson–KL divergence, cross-validated",
}
SIDE = 5.0  # inches: about the side of the matrix
MARGIN, GAP = 0.12, 0.06  # inches around all, and between the matrix and what stands beside it
THUMBNAIL = 0.24  # inches: a photograph is not smaller if staggering helps
BAR = 0.13  # inches: width of the colour bar
MOST_ROWS = 6  # of staggered photographs
LINE, LEADER = 1.15, 0.17  # line spacing in letter sizes; inches from bracket to name
LETTERS = 32  # longer labels are cut in their middle
VECTOR = ("pdf", "svg", "svgz", "eps", "ps", "pgf")
STYLE: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "font.size": 8.0, "axes.linewidth": 0.6}


def plot_rdm(
    rdm: RDM | ArrayLike,
    path: str | Path | None = None,
    *,
    images: Sequence[Any] | Mapping[str, Any] | None = None,
    groups: Sequence[str] | Mapping[str, str] | None = None,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    order: Sequence[str] | Sequence[int] | None = None,
    colormap: str = "cividis",
    limits: tuple[float, float] | None = None,
    rank: bool = False,
    title: str | None = None,
    dpi: int = 200,
) -> Figure:
    """Draw an RDM as a square of colours, if wanted with its stimuli along the edges.

    The colours span the smallest to the largest dissimilarity of two different
    stimuli; the diagonal has the lowest colour. Up to some 500 stimuli each cell
    is a whole number of pixels.

    Parameters
    ----------
    rdm : RDM or array, shape (n_stimuli, n_stimuli)
        What to draw.
    path : str or Path, optional
        Where to write the figure; the suffix says how: ``.png``, ``.pdf``,
        ``.svg``, ``.jpg`` and what else matplotlib writes. Text stays text in
        PDF, with its font embedded.
    images : sequence or mapping of pictures, optional
        Photographs along the left and upper edge: Pillow images or arrays
        (height, width[, 3 or 4]) of uint8 or of float in 0..1, one per stimulus in the
        order of the RDM, or by id. Cut to their central square; of many stimuli
        they are staggered over several rows, each centred on its row or column.
    groups : sequence or mapping of str, optional
        Class of each stimulus in the order of the RDM, or by id. Lines part the
        classes. Without `order` the stimuli of a class are brought together, the classes
        in the order in which they first appear.
    labels : sequence or mapping of str, optional
        A text for each stimulus, in place of the names of the groups.
    order : sequence of ids or of row numbers from 0, optional
        The order to draw in; it may leave stimuli out.
    colormap : str
        A name that matplotlib knows.
    limits : (float, float), optional
        Dissimilarities at the ends of the colour bar, to draw several RDMs alike.
    rank : bool
        Draw percentiles: rank among the drawn pairs, from 0 to 100.
    title : str, optional
        Above the figure.
    dpi : int
        Pixels per inch of raster formats.

    Returns
    -------
    matplotlib.figure.Figure
        Its size depends on what is drawn; it belongs to no window and need not be closed.

    Raises
    ------
    InvalidArgument
        If the file format, the colour map or an image is of no known kind, or the number of
        images, labels or groups is not that of the stimuli.
    MismatchError
        If a mapping or the order lacks ids; they are named.

    Examples
    --------
    >>> rdm = RDM(np.array([0.1, 0.8, 0.9]), dissimilarity="correlation")
    >>> figure = plot_rdm(rdm, groups=["animal", "animal", "tool"])
    >>> [axes.get_label() for axes in figure.axes]
    ['matrix', 'colour bar', 'names']
    """
    suffix = check_format(path)
    if colormap not in mpl.colormaps:
        raise unknown("colour map", colormap, mpl.colormaps)
    record = rdm if isinstance(rdm, RDM) else RDM.from_matrix(np.asarray(rdm))
    pictures = per_stimulus(images, record, "images")
    classes = per_stimulus(groups, record, "groups")
    texts = per_stimulus(labels, record, "labels")
    rows = arranged(record, order, classes)
    values, measure = _values(record, rows, rank)
    thumbnails = None if pictures is None else squares([pictures[row] for row in rows])
    spans = [] if classes is None else _spans([str(classes[row]) for row in rows])
    names = (
        spans
        if texts is None
        else [_Span(_shortened(str(texts[row])), i, 1) for i, row in enumerate(rows)]
    )
    ends = _limits(values) if limits is None else limits
    ticks = _ticks(*ends)
    with mpl.rc_context(STYLE):
        sheet = _Sheet(len(rows), thumbnails is not None, names, ticks, title, dpi)
        figure = Figure(figsize=sheet.size, dpi=dpi)
        mesh = _draw_matrix(figure, sheet, values, colormap, ends, spans)
        _draw_bar(figure, sheet, mesh, measure, ticks)
        if thumbnails is not None:
            _draw_thumbnails(figure, sheet, thumbnails, 2 if suffix in VECTOR else 1)
        if names:
            _draw_names(figure, sheet, names)
        if title:
            _draw_title(figure, sheet, title)
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            jpeg: Any = {"pil_kwargs": {"quality": 95}} if suffix in ("jpg", "jpeg") else {}
            figure.savefig(path, format=suffix, dpi=dpi, facecolor="white", **jpeg)
    return figure


Place = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Span:
    """Neighbouring stimuli with one name."""

    name: str
    first: int
    count: int


class _Sheet:
    """Where everything stands, in inches from the left and from the top, on whole pixels."""

    def __init__(
        self,
        count: int,
        thumbnails: bool,
        names: Sequence[_Span],
        ticks: Mapping[float, str],
        title: str | None,
        dpi: int,
    ) -> None:
        self.count, self.dpi = count, dpi
        pixels = round(SIDE * dpi / count)
        self.cell = pixels / dpi if count <= SIDE * dpi / 2 else SIDE / count
        self.side = self._whole(self.cell * count)
        rows = min(MOST_ROWS, math.ceil(THUMBNAIL / self.cell), count)
        self.stagger: int = rows if thumbnails else 0
        self.thumbnail = self.stagger * self.cell
        overhang = max(0.0, (self.thumbnail - self.cell) / 2)
        self.gap = self._whole(max(GAP, overhang))  # so that the strips do not meet at the corner
        self.band = self._whole(self.stagger * self.thumbnail) + self.gap if thumbnails else 0.0
        self.bracket = any(span.count > 1 for span in names)
        self.letter = min(8.0, max(self.side * 72 / max(1, len(names)) / LINE, 1.0))
        widest = max((text_width(span.name, self.letter) for span in names), default=0.0)
        self.names = self._whole(widest + GAP + (LEADER if self.bracket else 0)) if names else 0.0
        self.left = self._whole(MARGIN + self.names + max(self.band, overhang))
        self.top = self._whole(
            MARGIN
            + (0.17 * len(title.splitlines()) + 0.13 if title else 0)
            + max(self.band, overhang)
        )
        self.bar = self._whole(self.left + self.side + max(0.16, overhang + GAP))
        bottom = max(self.names, overhang) + MARGIN
        words = BAR + 0.35 + max((text_width(text, 8.0) for text in ticks.values()), default=0.0)
        self.size = (
            self._whole(self.bar + words + MARGIN),
            self._whole(self.top + self.side + bottom),
        )

    def _whole(self, inches: float) -> float:
        return round(inches * self.dpi) / self.dpi

    def place(self, left: float, top: float, width: float, height: float) -> Place:
        """Turn inches from the left and the top into matplotlib's fractions from the bottom."""
        across, down = self.size
        return (left / across, 1 - (top + height) / down, width / across, height / down)


def check_format(path: str | Path | None) -> str:
    """Take the format from the suffix."""
    if path is None:
        return ""
    suffix = Path(path).suffix.lower().removeprefix(".")
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if suffix not in known:
        raise InvalidArgument(
            f"A figure cannot be written as {suffix or 'a file without a suffix'!r} ({path}). "
            f"Choose one of: {', '.join('.' + name for name in known)}."
        )
    return suffix


def _values(rdm: RDM, rows: list[int], rank: bool) -> tuple[NDArray[Any], str]:
    """Take the matrix to draw, NaN on its diagonal, and the words for the colour bar."""
    values = rdm.square().astype(np.float64)[np.ix_(rows, rows)]
    measure = MEASURES.get(rdm.dissimilarity, rdm.dissimilarity or "dissimilarity")
    if rank:
        pairs = values[np.triu_indices(len(rows), 1)]
        values = squared((average_ranks(pairs) - 1) / max(1, len(pairs) - 1) * 100)
        measure = f"percentile of {measure}"
    np.fill_diagonal(values, np.nan)
    return values, measure


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if low < high else (min(0.0, low), max(1.0, low))


def _ticks(low: float, high: float) -> dict[float, str]:
    """Choose round numbers for the colour bar, all with the same decimals."""
    places = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    inside = [float(place) for place in places if low <= place <= high]
    texts = [f"{place:.10g}" for place in inside]
    if not any("e" in text for text in texts):
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        texts = [f"{place:.{decimals}f}" for place in inside]
    return {place: text.replace("-", "−") for place, text in zip(inside, texts, strict=True)}


def _spans(names: Sequence[str]) -> list[_Span]:
    spans, start = [], 0
    for name, run in groupby(names):
        count = len(list(run))
        spans.append(_Span(_shortened(name), start, count))
        start += count
    return spans


def _shortened(text: str) -> str:
    half = LETTERS // 2
    return text if len(text) <= LETTERS else f"{text[: half - 1]}…{text[-half:]}"


def text_width(text: str, points: float) -> float:
    """Measure a text, in inches."""
    if not text.strip():
        return 0.01
    path = TextPath((0, 0), text.replace("$", r"\$"), size=points, prop=FontProperties())
    return float(path.get_extents().x1) / 72


def _draw_matrix(
    figure: Figure,
    sheet: _Sheet,
    values: NDArray[Any],
    colormap: str,
    limits: tuple[float, float],
    spans: Sequence[_Span],
) -> Any:
    axes = figure.add_axes(
        sheet.place(sheet.left, sheet.top, sheet.side, sheet.side), label="matrix"
    )
    colours = mpl.colormaps[colormap]
    colours = colours.with_extremes(bad=colours(0.0))  # bad is the diagonal
    whole_pixels = abs(sheet.cell * sheet.dpi - round(sheet.cell * sheet.dpi)) < 1e-6
    mesh = axes.imshow(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest" if whole_pixels else "auto",
        extent=(0, sheet.count, sheet.count, 0),
        aspect="auto",
    )
    axes.set_axis_off()
    for span in spans[1:]:
        axes.axhline(span.first, color="white", linewidth=min(0.8, 16 / len(spans)))
        axes.axvline(span.first, color="white", linewidth=min(0.8, 16 / len(spans)))
    return mesh


def _draw_bar(
    figure: Figure, sheet: _Sheet, mesh: Any, measure: str, ticks: Mapping[float, str]
) -> None:
    axes = figure.add_axes(sheet.place(sheet.bar, sheet.top, BAR, sheet.side), label="colour bar")
    bar = figure.colorbar(mesh, cax=axes)
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2.5, width=0.6)
    room = sheet.side / text_width(measure, 9.0)
    bar.set_label(measure, size=9 * min(1.0, room))


def _draw_title(figure: Figure, sheet: _Sheet, title: str) -> None:
    """Write the title over the matrix, smaller if it would leave the sheet."""
    across, down = sheet.size
    middle = sheet.left + sheet.side / 2
    widest = max(text_width(line, 10.0) for line in title.splitlines())
    size = 10 * min(1.0, 2 * (min(middle, across - middle) - MARGIN) / widest)
    figure.suptitle(title, x=middle / across, y=1 - MARGIN / down, va="top", size=size)


def _draw_thumbnails(
    figure: Figure, sheet: _Sheet, thumbnails: Sequence[Image.Image], scale: int
) -> None:
    """Lay the photographs out along the upper and the left edge, pixel for pixel."""
    per_inch = sheet.dpi * scale
    above, beside, margin = strips(thumbnails, sheet.thumbnail * per_inch, sheet.stagger)
    length, depth = above.width / per_inch, above.height / per_inch
    overhang, away = margin / per_inch, sheet.gap + depth
    place_above = sheet.place(sheet.left - overhang, sheet.top - away, length, depth)
    place_beside = sheet.place(sheet.left - away, sheet.top - overhang, depth, length)
    for name, picture, place in (("above", above, place_above), ("beside", beside, place_beside)):
        axes = figure.add_axes(place, label=f"images {name}")
        axes.imshow(np.asarray(picture), interpolation="none", aspect="auto")
        axes.set_axis_off()


def _draw_names(figure: Figure, sheet: _Sheet, names: Sequence[_Span]) -> None:
    """Write names at the left and below; those of groups are bracketed and led to their place."""
    axes = figure.add_axes((0, 0, 1, 1), label="names")
    axes.set(xlim=(0, sheet.size[0]), ylim=(sheet.size[1], 0))
    axes.set_axis_off()
    middles = np.array([(span.first + span.count / 2) * sheet.cell for span in names])
    places = _spread(middles, sheet.letter * LINE / 72)
    left, bottom = sheet.left - sheet.band - GAP, sheet.top + sheet.side + GAP
    reach = LEADER if sheet.bracket else 0.0
    for span, middle, place in zip(names, middles, places, strict=True):
        down, across = place + sheet.top, place + sheet.left
        font: Any = {"size": sheet.letter, "parse_math": False}
        axes.text(left - reach, down, span.name, ha="right", va="center_baseline", **font)
        axes.text(across, bottom + reach, span.name, ha="center", va="top", rotation=90, **font)
        if sheet.bracket:
            ends = np.array([span.first, span.first + span.count]) * sheet.cell + [0.015, -0.015]
            leader = np.array([middle, place, place])
            away = np.array([0, 0.1, 0.14])
            line: Any = {"color": "0.35", "linewidth": 0.6, "solid_capstyle": "butt"}
            axes.plot([left, left], ends + sheet.top, **line)
            axes.plot(ends + sheet.left, [bottom, bottom], **line)
            axes.plot(left - away, leader + sheet.top, **line)
            axes.plot(leader + sheet.left, bottom + away, **line)


def _spread(wanted: NDArray[Any], least: float) -> NDArray[Any]:
    """Move sorted places apart to a least distance, by as little as possible in squares.

    Isotonic regression on the places less their number times the distance: pool neighbours that
    are out of order at their mean.
    """
    blocks: list[tuple[float, int]] = []
    for number, place in enumerate(wanted):
        mean, count = float(place - number * least), 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    pooled: NDArray[np.float64] = np.concatenate([np.full(count, mean) for mean, count in blocks])
    pooled += np.arange(len(wanted)) * least
    return pooled
