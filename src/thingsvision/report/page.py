"""The page of a report: what was done, its figures, and its table, to be read and passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .. import __version__
from ..errors import counted
from .sets import ReferenceSet

NAME = "report.md"
COLUMNS = ("set", "model", "weights", "module", "reference", "estimate", "interval", "p",
           "ceiling")  # fmt: skip


def write_page(
    folder: Path,
    data: Sequence[ReferenceSet],
    table: pd.DataFrame,
    chosen: pd.DataFrame,
    figures: Mapping[str, Path],
    settings: Mapping[str, Any],
    failed: Mapping[str, str],
) -> Path:
    """Write ``report.md``, with the figures beside it.

    Returns
    -------
    pathlib.Path
        The file.
    """
    parts = ["# Networks beside brains and behaviour", _said(data, table, settings)]
    for name, path in figures.items():
        parts.append(f"![{name}]({path.relative_to(folder).as_posix()})")
        parts.append(_caption(name, settings))
    parts += ["## Table", _markdown(_rows(table))]
    if len(chosen):
        parts += [
            "## The best module",
            "Chosen and judged on different stimuli and people, so that the estimate is not "
            "inflated by the choice.",
            _markdown(chosen.assign(estimate=chosen["estimate"].map("{:.3f}".format))),
        ]
    if failed:
        lines = [f"- {name}: {' '.join(why.split())}" for name, why in failed.items()]
        parts += ["## Networks that are missing", "\n".join(lines)]
    if cited := [f"- {one.name}: {one.citation}" for one in data if one.citation]:
        parts += ["## Sources", "\n".join(cited)]
    path = folder / NAME
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _said(data: Sequence[ReferenceSet], table: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """Say in words what was done."""
    sets = "; ".join(
        f"{one.name} ({counted(len(one.stimuli), 'image')}; "
        + ", ".join(
            f"{name}: {counted(len(rdms), 'subject' if len(rdms) > 1 else 'RDM')}"
            for name, rdms in one.references.items()
        )
        + (", joined by position" if one.joined_by == "position" else "")
        + ")"
        for one in data
    )
    networks = counted(table[["model", "weights"]].drop_duplicates().shape[0], "network")
    return (
        f"RDMs ({settings['dissimilarity']}) of {networks}, compared ({settings['comparison']}) "
        f"with those of {sets}. Estimates are means over subjects. Intervals "
        f"({settings['level']:.0%}) and p values (one-sided, against 0) come from "
        f"{settings['n_resamples']:,} bootstrap samples, of stimuli and subjects, or of stimuli "
        f"alone where there is one RDM; noise ceilings from leaving one subject out. Seed "
        f"{settings['seed']}. thingsvision {__version__}."
    )


def _caption(name: str, settings: Mapping[str, Any]) -> str:
    if name == "RDMs":
        return (
            "RDMs, each by the ranks of its own pairs. The order is the same in all: as given, or "
            f"{settings['clusters']} clusters found from the networks' RDMs."
        )
    if name.startswith("Bars"):
        return "Lines are confidence intervals, grey bands noise ceilings."
    return "From the first to the last module; bands are confidence intervals, grey noise ceilings."


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    """Make cells to be read: rounded, with interval and ceiling in one cell each."""
    rows = table.assign(
        estimate=table["estimate"].map("{:.3f}".format),
        interval=[f"{low:.3f} … {high:.3f}"
                  for low, high in zip(table["ci_low"], table["ci_high"], strict=True)],
        p=["< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") for p in table["p"]],
        ceiling=["" if low != low else f"{low:.3f} … {high:.3f}"
                 for low, high in zip(table["ceiling_low"], table["ceiling_high"], strict=True)],
    )  # fmt: skip
    kept = [column for column in COLUMNS if column != "set" or table["set"].nunique() > 1]
    return rows[kept]


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).values.tolist()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
