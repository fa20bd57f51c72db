"""Several networks, several sets of images: one network in memory at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import InvalidArgument, ModuleError, counted, listing
from .extraction import extract_features
from .features import Features
from .rsa import RDM, compare_rdms, compute_rdm
from .stimuli import StimulusSet, load_stimuli
from .store.array_files import write_array
from .store.parts import save_array
from .store.records import write_names
from .zoo import Network, load_model


def extract_across(
    models: Sequence[tuple[str, Sequence[str]]],
    stimuli: Mapping[str, StimulusSet],
    *,
    pretrained: bool = True,
    parts: bool = False,
    **options: Any,
) -> Iterator[tuple[str, str, Features]]:
    """Extract features of several networks for several sets of images, one after the other.

    Parameters
    ----------
    models : sequence of (str, sequence of str)
        Each network's name, and the modules wanted of it.
    stimuli : dict of str to StimulusSet
        By the name of the set.
    pretrained : bool
        As in `load_model`.
    parts : bool
        Take every module whose name holds one of the wanted texts; a network that has none
        of them is refused.
    **options
        As in `extract_features`.

    Yields
    ------
    stimuli : str
        Name of the set.
    model : str
        The network's name as it was given.
    features : Features
        Of one module.

    Raises
    ------
    UnknownName, InvalidArgument
        If a network cannot be loaded.
    ModuleError
        If a network has no such module.

    Examples
    --------
    >>> images = {"black": load_stimuli(np.zeros((2, 64, 64, 3), np.uint8))}
    >>> wanted = [("torchvision/alexnet", ["features.10"])]
    >>> for name, model, features in extract_across(wanted, images, pretrained=False):
    ...     print(name, model, features.module, features.shape)
    black torchvision/alexnet features.10 (2, 256, 13, 13)
    """
    for model, modules in models:
        network = load_model(model, pretrained)
        wanted = modules_with(network, modules) if parts else list(modules)
        for name, images in stimuli.items():
            for features in extract_features(network, images, wanted, **options).values():
                yield name, model, features


def load_folders(paths: Sequence[str | os.PathLike[str]]) -> dict[str, StimulusSet]:
    """Find the images of several folders, by the folder's name.

    Parameters
    ----------
    paths : sequence of path
        Folders of images.

    Raises
    ------
    InvalidArgument
        If folders have the same name, under which their features would be kept.
    StimulusError
        If a folder holds no images.
    """
    folders = [Path(path).expanduser().absolute() for path in paths]
    times = Counter(folder.name for folder in folders)
    if doubled := [str(folder) for folder in folders if times[folder.name] > 1]:
        raise InvalidArgument(
            f"Folders of the same name, whose features would lie in one place: {listing(doubled)}. "
            "Rename them, or extract their features one by one."
        )
    return {folder.name: load_stimuli(folder) for folder in folders}


def save_across(folder: Path, found: Iterator[tuple[str, str, Features]], format: str) -> None:
    """Write what `extract_across` yields as plain arrays, each as soon as it is there.

    Files go to ``folder/STIMULI/MODEL/MODULE/features``: ``features`` and ``targets`` in the
    format wanted, and ``file_names.txt``.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it is missing.
    found : iterator of (str, str, Features)
        Set of stimuli, network, features of a module.
    format : str
        As in `save_array`.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> features = Features(np.eye(2), ("a.jpg", "b.jpg"), "fc")
    >>> save_across(folder, iter([("images", "alexnet", features)]), "npy")
    >>> np.load(folder / "images/alexnet/fc/features/features.npy").shape
    (2, 2)
    """
    for stimuli, model, features in found:
        path = folder / stimuli / model.rpartition("/")[2] / features.module / "features"
        path.mkdir(parents=True, exist_ok=True)
        write_names(path, features.ids)
        save_array(path, "features", np.asarray(features), format)
        if features.targets is not None:
            write_array(path, "targets", features.targets, format)


def modules_with(network: Network, texts: Sequence[str]) -> list[str]:
    """List the modules whose names hold one of several texts, in the network's order.

    Parameters
    ----------
    network : Network
        The network.
    texts : sequence of str
        E.g. ``["conv"]``.

    Raises
    ------
    ModuleError
        If there is no such module.

    Examples
    --------
    >>> from thingsvision.testing import toy_network
    >>> modules_with(toy_network(), ["f"])
    ['fc']
    """
    names = [module.name for module in network.modules().modules if module.outputs]
    found = [name for name in names if any(text in name for text in texts)]
    if not found:
        raise ModuleError(
            f"{network.name} has no module whose name holds {' or '.join(map(repr, texts))}. "
            f"All of them: thingsvision modules {network.name}"
        )
    return found


def correlate_models(
    features: Mapping[tuple[str, str], Features], dissimilarity: str, comparison: str
) -> pd.DataFrame:
    """Compare the RDMs of several networks with each other.

    Parameters
    ----------
    features : dict of (str, str) to Features
        By the name of the network and the module, for the same stimuli.
    dissimilarity, comparison : str
        As in `compute_rdm` and `compare_rdms`.

    Returns
    -------
    pandas.DataFrame
        Networks by networks, in the order given; ones on the diagonal. A network of which there
        are several modules is named with its module.

    Raises
    ------
    InvalidArgument
        If there are fewer than two networks.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> ids = ("a", "b", "c", "d")
    >>> networks = [("one", "fc"), ("other", "fc")]
    >>> features = {network: Features(random.random((4, 9)), ids) for network in networks}
    >>> correlate_models(features, "correlation", "pearson").shape
    (2, 2)
    """
    if len(features) < 2:
        raise InvalidArgument(
            f"There is {counted(len(features), 'set')} of features; to compare, give several."
        )
    times = Counter(model for model, _ in features)
    rdms: dict[str, RDM] = {
        model if times[model] == 1 else f"{model} {module}": compute_rdm(item, dissimilarity)
        for (model, module), item in features.items()
    }
    table = compare_rdms(rdms, rdms, comparison)
    assert isinstance(table, pd.DataFrame)  # of several
    return table
