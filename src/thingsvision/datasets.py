"""Public data of brains and behaviour, fetched once, with its citation.

Files are fetched by pooch, checked by their SHA-256, and kept in the user's cache folder. The
environment variable ``THINGSVISION_DATA`` names another folder, which may hold them already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import loadmat

from .errors import InvalidArgument, unknown
from .features import Features
from .rsa.matrix import squared
from .rsa.rdm import RDM
from .stimuli import StimulusSet, load_stimuli

VARIABLE = "THINGSVISION_DATA"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Stimuli with what brains and people made of them.

    Parameters
    ----------
    name : str
        As `fetch_dataset` takes it.
    rdms : dict of str to tuple of RDM
        By reference; one RDM for each subject, or one for the group. Their ids are those of
        the stimuli.
    citation : str
        What to cite.
    licence : str
        What is stated of rights.
    stimuli : StimulusSet, optional
        The images, where they are public.
    features : dict of str to Features
        Other measures of the stimuli, e.g. embeddings.
    """

    name: str
    rdms: Mapping[str, tuple[RDM, ...]]
    citation: str
    licence: str
    stimuli: StimulusSet | None = None
    features: Mapping[str, Features] = field(default_factory=dict)

    def __repr__(self) -> str:
        references = ", ".join(f"{name} × {len(rdms)}" for name, rdms in self.rdms.items())
        return f"Dataset({self.name!r}: {references})"


def list_datasets() -> list[str]:
    """List the datasets that `fetch_dataset` knows.

    Examples
    --------
    >>> list_datasets()
    ['fmri78', 'objects92', 'things48']
    """
    return sorted(_READERS)


def fetch_dataset(name: str) -> Dataset:
    """Fetch a dataset, or open it where it is there already.

    Parameters
    ----------
    name : str
        One of `list_datasets`: ``"objects92"``, 92 object photographs with RDMs of human and
        monkey IT and of the judgements of 16 people; ``"fmri78"``, 78 photographs with fMRI
        RDMs of early visual cortex and IT of 15 people; ``"things48"``, the RDM of human
        odd-one-out choices of 48 objects, with the 66-dimensional SPoSE embedding.

    Returns
    -------
    Dataset

    Raises
    ------
    UnknownName
        If there is no such dataset.
    MissingPackage
        If pooch is not installed.
    InvalidArgument
        If files cannot be fetched, or are not those that were published.
    """
    if name not in _READERS:
        raise unknown("dataset", name, _READERS)
    return _READERS[name]()


def _fetch(file: str) -> Path:
    """Give the path of a file, fetching it if needed."""
    try:
        return Path(_pooch().fetch(file))
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"{file} cannot be had: {error}. If you have it already, let {VARIABLE} name the "
            f"folder in which it lies as {file}."
        ) from error


@cache
def _pooch() -> Any:
    from .optional import require

    pooch = require("pooch")
    registry = pooch.create(path=pooch.os_cache("thingsvision"), base_url="", env=VARIABLE)
    with (files(__package__) / "datasets.txt").open() as table:
        registry.load_registry(table)
    return registry


def _objects92() -> Dataset:
    supplement = _mat("kriegeskorte92/Kriegeskorte_Neuron2008_supplementalData.mat")
    entries = np.ravel(supplement["stimuli_92objs"])
    ids = [f"{number:02d} {entry['category']}" for number, entry in enumerate(entries, 1)]
    group = {entry["name"]: entry["RDM"] for entry in np.ravel(supplement["RDMs_mIT_hIT_fig1"])}
    brains = _mat("kriegeskorte92/92_brainRDMs.mat")["RDMs"]
    behaviour = np.ravel(_mat("kriegeskorte92/92_behavRDMs.mat")["rdms_behav_92"])
    judged = [squared(m) if np.ndim(m) == 1 else m for m in (e["RDM"] for e in behaviour)]
    subjects = [np.mean([session.RDM for session in subject], axis=0) for subject in brains]
    return Dataset(
        "objects92",
        {
            "human IT": _subjects("human IT", subjects, ids),
            "human IT group": _group("human IT group", group["hITvisStim_316vx"], ids),
            "monkey IT": _group("monkey IT", group["mIT_674neurons"], ids),
            "behaviour": _subjects("behaviour", judged, ids),
            "behaviour group": _group("behaviour group", np.mean(judged, axis=0), ids),
        },
        "Kriegeskorte et al. (2008), Neuron, doi:10.1016/j.neuron.2008.10.043; behaviour: Mur et "
        "al. (2013), Frontiers in Psychology, doi:10.3389/fpsyg.2013.00128.",
        "The collection is MIT (rsatoolbox); rights of the photographs are not stated.",
        load_stimuli([entry["image"] for entry in entries], ids=ids),
    )


def _fmri78() -> Dataset:
    names = [f"image_{number:02d}.jpg" for number in range(1, 79)]
    images = [_fetch(f"fmri78/stimuli_data/{name}") for name in names]
    rdms = {}
    for reference, file in {"EVC": "fmri_EVC_RDMs.npz", "IT": "fmri_IT_RDMs.npz"}.items():
        with np.load(_fetch(f"fmri78/{file}")) as arrays:
            rdms[reference] = _subjects(reference, arrays["arr_0"], names)
    return Dataset(
        "fmri78",
        rdms,
        "The 78 photographs of the Algonauts challenge 2019: Cichy et al. (2019), "
        "arXiv:1905.05675; as distributed with Net2Brain: Bersch et al. (2022), arXiv:2208.09677.",
        "The collection is BSD-3 (Net2Brain); rights of the photographs are not stated.",
        load_stimuli(images, ids=names),
    )


def _things48() -> Dataset:
    embedding = _embedding("things/spose_embedding66d_rescaled_48val_reordered.csv")
    whole = _embedding("things/spose_embedding66d_rescaled.csv")
    human = loadmat(_fetch("things/RDM48_triplet.mat"))["RDM48_triplet"]
    return Dataset(
        "things48",
        {"odd one out": _group("odd one out", human, list(embedding.ids))},
        "Hebart et al. (2020), Nature Human Behaviour, doi:10.1038/s41562-020-00951-3; Hebart et "
        "al. (2023), eLife, doi:10.7554/eLife.82580.",
        "CC BY 4.0, as stated by others of the original data. In this copy 21 of the 1,854 rows "
        "(camera, chicken, crystal, hot…, ice…, pepper) may stand at each other's names.",
        features={"SPoSE of the 48": embedding, "SPoSE": whole},
    )


def _mat(file: str) -> Mapping[str, Any]:
    contents: Mapping[str, Any] = loadmat(_fetch(file), simplify_cells=True)
    return contents


def _embedding(file: str) -> Features:
    table = pd.read_csv(_fetch(file), index_col=0)
    names = tuple(table.pop("image_name"))
    return Features(table.to_numpy(np.float64), names, "SPoSE", ("stimulus", "feature"))


def _subjects(
    name: str, matrices: Sequence[Any] | NDArray[Any], ids: Sequence[str]
) -> tuple[RDM, ...]:
    """Make the RDMs of several people, square or condensed."""
    squares = [squared(m) if np.ndim(m) == 1 else np.asarray(m) for m in matrices]
    return tuple(
        RDM.from_matrix(square, ids, name=f"{name} {number}", provenance={"dataset": name})
        for number, square in enumerate(squares, 1)
    )


def _group(name: str, matrix: Any, ids: Sequence[str]) -> tuple[RDM, ...]:
    rdm = _subjects(name, [matrix], ids)[0]
    return (RDM(rdm.dissimilarities, rdm.ids, "", rdm.provenance, name),)


_READERS: dict[str, Callable[[], Dataset]] = {
    "objects92": _objects92,
    "fmri78": _fmri78,
    "things48": _things48,
}
