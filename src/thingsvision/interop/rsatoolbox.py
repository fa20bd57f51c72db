"""Features and RDMs as datasets and RDMs of rsatoolbox, and what their measures mean.

Numbers are never changed on the way; where one name stands for two measures, the name is.
rsatoolbox's ``calc_rdm(dataset, method="euclidean")`` gives ``sum((x - y)²) / n_channels`` and
calls it ``"squared euclidean"``; our ``"euclidean"`` is ``sqrt(sum((x - y)²))``. So ours is
``sqrt(n_channels * theirs)``; both have the same ranks. Correlation is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted, listing
from ..optional import require
from .plain import Plain, about, as_json, model_name, positions, read_about, restored

if TYPE_CHECKING:
    from rsatoolbox.data.dataset import Dataset
    from rsatoolbox.rdm.rdms import RDMs

CONDS = "conds"  # what rsatoolbox itself calls the descriptor of stimuli
NAMES = (CONDS, "stimulus_id", "stimulus", "stimuli", "images")
# our name of a measure -> how it is called in rsatoolbox
MEASURES = {
    "euclidean": "euclidean (summed over channels)",
    "squared_euclidean": "squared euclidean (summed over channels)",
    "mahalanobis": "squared mahalanobis",
    "squared_euclidean (mean over channels)": "squared euclidean",
    # That of a square root, or of functions that leave the word 'squared' out.
    "euclidean (rsatoolbox)": "euclidean",
    "mahalanobis (rsatoolbox)": "mahalanobis",
}
OURS = {theirs: ours for ours, theirs in MEASURES.items()}


def to_dataset(features: Plain) -> Dataset:
    """Make a dataset of features; see `Features.to_rsatoolbox`."""
    data = require("rsatoolbox").data
    observations: dict[str, Any] = {CONDS: list(features.ids)}
    if features.targets is not None:
        observations["target"] = np.asarray(features.targets)
    made: Dataset = data.Dataset(
        # rsatoolbox computes in the type it is given, by products that lose digits.
        features.rows().astype(np.float64, copy=False),
        _descriptors(features.provenance, features.module) | about([features]),
        observations,
        positions(features.axes, features.shape),
    )
    return made


def from_dataset(dataset: Dataset, ids: str | None = None) -> Plain:
    """Read the measurements of a dataset; see `Features.from_rsatoolbox`."""
    observations, facts = dataset.obs_descriptors, dataset.descriptors
    name = _ids_name(observations, ids, "obs_descriptors")
    if name is None:
        raise InvalidArgument(
            "This dataset has no obs_descriptor that names the stimuli. It has: "
            f"{listing(list(observations)) or 'none'}. If one of these holds the ids, name it: "
            "from_rsatoolbox(dataset, ids=name)."
        )
    module = str(facts.get("module", ""))
    array, axes = restored(dataset.measurements, facts, module, dataset.channel_descriptors)
    targets = observations.get("target")
    return Plain(
        array,
        tuple(str(each) for each in observations[name]),
        module,
        axes,
        None if targets is None else np.asarray(targets, np.int64),
        read_about(facts, "provenance") or _made_by(facts),
    )


def to_rdms(
    values: NDArray[Any],
    ids: Sequence[str] | None,
    dissimilarity: str,
    provenance: Mapping[str, Any],
    name: str,
) -> RDMs:
    """Make RDMs of one RDM; see `RDM.to_rsatoolbox`."""
    rdm = require("rsatoolbox").rdm
    # Those that calc_rdm takes over from our datasets: concat wants the same ones of all RDMs.
    facts = _descriptors(provenance, str(provenance.get("module", "")))
    facts |= {"name": name, "provenance": as_json(provenance), "features": ""}
    made: RDMs = rdm.RDMs(
        values[None],
        dissimilarity_measure=MEASURES.get(dissimilarity, dissimilarity) or None,
        rdm_descriptors={key: [value] for key, value in facts.items()},
        pattern_descriptors=None if ids is None else {CONDS: list(ids)},
    )
    return made


def from_rdms(rdms: RDMs, index: int | None = None, ids: str | None = None) -> list[dict[str, Any]]:
    """Read one or all of some RDMs as arguments of ours; see `RDM.from_rsatoolbox`."""
    count = len(rdms.dissimilarities)
    if index is not None and not -count <= index < count:
        raise InvalidArgument(f"There is no RDM {index} among {counted(count, 'RDM')}, from 0.")
    patterns = rdms.pattern_descriptors
    column = _ids_name(patterns, ids, "pattern_descriptors")
    names = None if column is None else tuple(str(each) for each in patterns[column])
    measure = rdms.dissimilarity_measure or ""
    found = []
    for row in range(count) if index is None else [index]:
        facts = {key: each[row] for key, each in rdms.rdm_descriptors.items()}
        module = str(facts.get("module", ""))
        provenance = read_about(facts, "provenance") or _made_by(facts)
        if module:
            provenance = {**provenance, "module": module}
        found.append(
            {
                "dissimilarities": rdms.dissimilarities[row],
                "ids": names,
                "dissimilarity": OURS.get(measure, measure),
                "provenance": provenance,
                "name": str(facts.get("name", "")),
            }
        )
    return found


def _ids_name(descriptors: Mapping[str, Any], ids: str | None, which: str) -> str | None:
    """Say which descriptor holds the ids: the one asked for, or the first that usually does."""
    if ids is not None and ids not in descriptors:
        raise InvalidArgument(
            f"There is no {ids!r} among the {which}: {listing(list(descriptors)) or 'none'}."
        )
    return ids or next((name for name in NAMES if name in descriptors), None)


def _descriptors(provenance: Mapping[str, Any], module: str) -> dict[str, str]:
    model = model_name(provenance)
    return {"name": f"{model} {module}".strip(), "model": model, "module": module}


def _made_by(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": str(facts["model"])} if facts.get("model") else {}
