"""The figures of a report: the RDMs in one order, the bars, the profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..plotting import plot_models, plot_profile, plot_rdm, plot_rdm_grid
from ..rsa.clustering import cluster_stimuli
from ..rsa.rdm import RDM
from ..store.naming import file_names
from .models import Model, file_name
from .sets import ReferenceSet

FORMATS = (".pdf", ".png")
RDMs = Mapping[Model, Sequence[RDM]]


def draw(
    folder: Path,
    data: Sequence[ReferenceSet],
    rdms: Mapping[str, RDMs],
    table: pd.DataFrame,
    n_clusters: int,
    n_drawn: int,
    photographs: bool,
    seed: int,
) -> dict[str, Path]:
    """Draw all figures, as PDF and as PNG.

    Returns
    -------
    dict of str to pathlib.Path
        The PNG files, by what they show.
    """
    figures: dict[str, Path] = {}
    rows, orders = [], {}
    labels = label_models([model for found in rdms.values() for model in found])
    for one in data:
        order, groups = _order(one, rdms[one.name], n_clusters, n_drawn, seed)
        for row, found in _rows(one, rdms[one.name], labels):
            name = f"{one.name}\n{row}" if len(data) > 1 else row
            rows.append((name, found))
            orders[name] = order
        if photographs:
            alone = folder / "rdms" / file_name(one.name)
            _draw_alone(alone, one, rdms[one.name], labels, order, groups)
    references = dict.fromkeys(name for one in data for name in one.references)
    columns = [name for _, row in rows for name in row if name not in references]
    columns = [*dict.fromkeys(columns), *references]
    for suffix in FORMATS:
        figures["RDMs"] = folder / f"rdms{suffix}"
        plot_rdm_grid(rows, figures["RDMs"], columns=columns, orders=orders)
        for one in data:
            of = shown(table[table["set"] == one.name], labels)
            if of.empty:
                continue
            title = one.name if len(data) > 1 else None
            behind = f"-{file_name(one.name)}" if len(data) > 1 else ""
            for earlier in ("bars", "profile"):
                (folder / f"{earlier}{behind}{suffix}").unlink(missing_ok=True)
            key = f"Bars {one.name}"
            figures[key] = folder / f"bars{behind}{suffix}"
            plot_models(of, figures[key], title=title)
            if of.groupby("model")["module"].nunique().max() > 1:
                key = f"Profile {one.name}"
                figures[key] = folder / f"profile{behind}{suffix}"
                plot_profile(of, figures[key], title=title)
    return figures


def label_models(models: Sequence[Model]) -> dict[str, str]:
    """Shorten the names of networks where that leaves them different."""
    short = {model.name: model.short for model in models}
    times = Counter(short.values())
    return {name: name if times[label] > 1 else label for name, label in short.items()}


def shown(table: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Name networks shortly, and modules only where a network has several."""
    several = table.groupby("model")["module"].transform("nunique") > 1
    return table.assign(model=table["model"].map(labels), module=table["module"].where(several, ""))


def _order(
    one: ReferenceSet, rdms: RDMs, n_clusters: int, n_drawn: int, seed: int
) -> tuple[list[str], list[str]]:
    """Choose the stimuli to draw, and their order: as given, or by clusters."""
    ids = list(one.order or one.stimuli.ids)
    if len(ids) > n_drawn:
        rows = np.sort(np.random.default_rng(seed).choice(len(ids), n_drawn, replace=False))
        ids = [ids[row] for row in rows]
    if one.order is not None:
        return ids, []
    found = [rdm for model, of in rdms.items() for rdm in of if model.trained]
    found = found or [rdm for of in rdms.values() for rdm in of]
    if not found:
        return ids, []
    clusters = cluster_stimuli([rdm.select(ids) for rdm in found], min(n_clusters, len(ids)))
    return list(clusters.ids), [f"cluster {label}" for label in clusters.labels]


def _rows(
    one: ReferenceSet, rdms: RDMs, labels: Mapping[str, str]
) -> list[tuple[str, dict[str, RDM]]]:
    """Lay out a set: networks, trained and below them random, and the references behind."""
    rows: dict[str, dict[str, RDM]] = {}
    several = {model.name for model, found in rdms.items() if len(found) > 1}
    for weights in ("trained", "random"):
        for model, found in rdms.items():
            for rdm in found if model.weights == weights else ():
                module = f" {rdm.provenance['module']}" if model.name in several else ""
                rows.setdefault(weights, {})[f"{labels[model.name]}{module}"] = rdm
    first = next(iter(rows.values()), {})
    for name, subjects in one.references.items():
        first[name] = mean_rdm(subjects)
    return list(rows.items())


def mean_rdm(subjects: Sequence[RDM]) -> RDM:
    """Average the RDMs of subjects with the same ids."""
    mean = np.mean([rdm.dissimilarities for rdm in subjects], axis=0)
    return RDM(mean, subjects[0].ids, subjects[0].dissimilarity)


def _draw_alone(
    folder: Path,
    one: ReferenceSet,
    rdms: RDMs,
    labels: Mapping[str, str],
    order: list[str],
    groups: list[str],
) -> None:
    """Draw each RDM for itself, with photographs."""
    rows = {name: row for row, name in enumerate(one.stimuli.ids)}
    images = {name: one.stimuli.image(rows[name]) for name in order}
    of = dict(zip(order, groups, strict=True)) if groups else None
    pictured: dict[Path, tuple[str, RDM]] = {}
    for model, found in rdms.items():
        files = file_names([rdm.provenance["module"] for rdm in found])
        for rdm, file in zip(found, files.values(), strict=True):
            title = f"{labels[model.name]}, {model.weights}, {rdm.provenance['module']}"
            pictured[folder / model.folder / file] = (title, rdm)
    for name, subjects in one.references.items():
        pictured[folder / file_name(name)] = (name, mean_rdm(subjects))
    for path, (title, rdm) in pictured.items():
        for suffix in FORMATS:
            plot_rdm(rdm.select(order), path.with_name(path.name + suffix), images=images,
                     groups=of, order=order, rank=True, title=title)  # fmt: skip
