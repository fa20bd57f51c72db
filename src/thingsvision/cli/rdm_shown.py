"""What ``thingsvision rdm`` shows of an RDM: a row of a table, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import show_table, shown_path

if TYPE_CHECKING:
    from ..rsa.rdm import RDM
    from ..stimuli import StimulusSet


def record(
    rdm: RDM, module: str, path: Path | None, figure: Path | None, model: str | None = None
) -> dict[str, Any]:
    """Sum an RDM up in a row of the table."""
    values = rdm.dissimilarities
    return {
        **({} if model is None else {"model": model}),
        "module": module,
        "stimuli": len(rdm),
        "least": float(values.min()),
        "mean": float(values.mean(dtype="float64")),
        "most": float(values.max()),
        "dissimilarity": rdm.dissimilarity,
        "file": "" if path is None else shown_path(path),
        "figure": "" if figure is None else shown_path(figure),
    }


def show_rdms(
    rows: Sequence[dict[str, Any]],
    style: str | None,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> None:
    """Print the table of the rows, with files and figures where there are any."""
    paths = [column for column in ("file", "figure") if any(row[column] for row in rows)]
    columns = (*before, "module", "stimuli", "least", "mean", "most", *after, *paths)
    show_table(rows, style, columns=columns, cut=[*paths, *before])


def draw(rdm: RDM, path: Path, images: StimulusSet | None) -> None:
    """Draw one RDM, by class where the ids have folders, with photographs if wanted."""
    from ..plotting import plot_rdm

    pictures: dict[str, Any] | None = None
    ids = rdm.ids or ()
    if images is not None:
        chosen = images.select(ids)
        pictures = {name: chosen.image(row) for row, name in enumerate(chosen.ids)}
    groups = [name.partition("/")[0] for name in ids] if all("/" in i for i in ids) else None
    plot_rdm(rdm, path, images=pictures, groups=groups or None, title=rdm.name or None)
