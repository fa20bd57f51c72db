"""Those of the paper's functions that take several networks; `thingsvision.vision` has them all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .across import correlate_models, extract_across, load_folders, save_across
from .errors import InvalidArgument, counted
from .features import Features
from .rsa import RDM, compute_rdm
from .rsa import compare_models as infer
from .stimuli import load_stimuli
from .store.records import write_names
from .zoo.former_names import current_name

PathLike = str | os.PathLike[str]


def extract_features_across_models_and_datasets(
    out_path: PathLike,
    model_names: Sequence[str],
    img_paths: Sequence[PathLike],
    module_names: Sequence[str],
    clip: Any = None,
    pretrained: bool = True,
    batch_size: int = 32,
    backend: str = "pt",
    flatten_acts: bool = True,
    f_format: str = "txt",
) -> None:
    """Write the features of several networks, each at its own module, for several image folders.

    Features, targets and ``file_names.txt`` go to ``out_path/IMAGES/MODEL/MODULE/features``.

    Parameters
    ----------
    out_path : path
    model_names, module_names : sequence of str
        As many of the one as of the other.
    img_paths : sequence of path
        Folders of images.
    clip : any
        Accepted for the sake of old scripts; the network knows.
    pretrained, batch_size, backend, flatten_acts, f_format
        As of `Model`, `load_dl`, `Model.extract_features` and `save_features`.
    """
    models = _named(model_names, [[name] for name in module_names], backend)
    options: dict[str, Any] = {
        "pretrained": pretrained,
        "batch_size": batch_size,
        "flatten": flatten_acts,
    }
    found = extract_across(models, load_folders(img_paths), **options)
    save_across(Path(out_path).expanduser(), found, f_format)


def extract_features_across_models_datasets_and_modules(
    out_path: PathLike,
    model_names: Sequence[str],
    img_paths: Sequence[PathLike],
    module_names: Sequence[str],
    clip: Any = None,
    pretrained: bool = True,
    batch_size: int = 32,
    backend: str = "pt",
    flatten_acts: bool = True,
    f_format: str = "txt",
) -> None:
    """Write the features of every module whose name holds one of `module_names`.

    Otherwise as `extract_features_across_models_and_datasets`.
    """
    models = _named(model_names, [list(module_names)] * len(model_names), backend)
    options: dict[str, Any] = {
        "pretrained": pretrained,
        "batch_size": batch_size,
        "flatten": flatten_acts,
    }
    found = extract_across(models, load_folders(img_paths), parts=True, **options)
    save_across(Path(out_path).expanduser(), found, f_format)


def get_features(
    root: PathLike,
    out_path: PathLike,
    model_names: Sequence[str],
    module_names: Sequence[str],
    clip: Any = None,
    pretrained: bool = True,
    batch_size: int = 32,
    backend: str = "pt",
    flatten_acts: bool = True,
) -> dict[str, dict[str, NDArray[Any]]]:
    """Extract the features of several networks, each at its own module.

    Parameters
    ----------
    root : path
        Folder of images.
    out_path : path
        Folder to which ``file_names.txt`` is written.
    model_names, module_names, clip, pretrained, batch_size, backend, flatten_acts
        As of `extract_features_across_models_and_datasets`.

    Returns
    -------
    dict of str to dict of str to array, shape (n_stimuli, ...)
        Model → module → features.
    """
    found = _features(
        root, out_path, model_names, module_names, pretrained, batch_size, backend, flatten_acts
    )
    arrays: dict[str, dict[str, NDArray[Any]]] = {model: {} for model in model_names}
    for (model, module), one in found.items():
        arrays[model][module] = np.asarray(one)
    return arrays


def compare_models(
    root: PathLike,
    out_path: PathLike,
    model_names: Sequence[str],
    module_names: Sequence[str],
    pretrained: bool = True,
    batch_size: int = 32,
    backend: str = "pt",
    flatten_acts: bool = True,
    clip: Any = None,
    save_features: bool = True,
    dissimilarity: str = "correlation",
    correlation: str = "pearson",
) -> pd.DataFrame:
    """Correlate the RDMs of several networks, each at its own module.

    Parameters
    ----------
    root, out_path, model_names, module_names, pretrained, batch_size, backend, flatten_acts, clip
        As of `get_features`.
    save_features : bool
        Write each network's features to ``out_path/MODEL/MODULE/features`` as text.
    dissimilarity, correlation : str
        As of `compute_rdm` and `correlate_rdms`.

    Returns
    -------
    pandas.DataFrame
        Models × models.
    """
    found = _features(
        root, out_path, model_names, module_names, pretrained, batch_size, backend, flatten_acts
    )
    if save_features:
        named = (("", model, features) for (model, _), features in found.items())
        save_across(Path(out_path).expanduser(), named, "txt")
    return correlate_models(found, dissimilarity, correlation)


def compare_models_to_humans(
    root: PathLike,
    out_path: PathLike,
    model_names: Sequence[str],
    module_names: Sequence[str],
    clip: Any = None,
    pretrained: bool = True,
    batch_size: int = 32,
    flatten_acts: bool = True,
    human_rdm: Any = None,
    save_features: bool = True,
    n_bootstraps: int = 1000,
    dissimilarity: str = "correlation",
    correlation: str = "pearson",
    backend: str = "pt",
) -> pd.DataFrame:
    """Correlate the RDMs of several networks with a human one, with bootstrapped intervals.

    Parameters
    ----------
    root, out_path, model_names, module_names, clip, pretrained, batch_size, flatten_acts
        As of `get_features`.
    human_rdm : RDM, or array, shape (n_stimuli, n_stimuli) or (n_subjects, n_stimuli, n_stimuli)
        Without ids, in the order of the images.
    n_bootstraps : int
        Samples of the images, drawn with replacement.
    save_features, dissimilarity, correlation, backend
        As of `compare_models`.

    Returns
    -------
    pandas.DataFrame
        As of `thingsvision.compare_models`: a row for each network with model, module,
        estimate, ci_low, ci_high, p.
    """
    found = _features(
        root, out_path, model_names, module_names, pretrained, batch_size, backend, flatten_acts
    )
    if save_features:
        named = (("", model, features) for (model, _), features in found.items())
        save_across(Path(out_path).expanduser(), named, "txt")
    rdms: dict[str, dict[str, RDM]] = {model: {} for model in model_names}
    for (model, module), features in found.items():
        rdms[model][module] = compute_rdm(features, dissimilarity)
    human = human_rdm if isinstance(human_rdm, RDM) else np.asarray(human_rdm)
    return infer(rdms, {"human": human}, correlation, "stimuli", n_bootstraps, by_position=True)


def _named(
    models: Sequence[str], modules: Sequence[Sequence[str]], backend: str
) -> list[tuple[str, Sequence[str]]]:
    """Join each network with its modules."""
    if len(models) != len(modules):
        raise InvalidArgument(
            f"{counted(len(models), 'model name')} and {counted(len(modules), 'module name')} "
            "were given; each model needs its module."
        )
    return [(current_name(model, backend), modules[i]) for i, model in enumerate(models)]


def _features(
    root: PathLike,
    out_path: PathLike,
    model_names: Sequence[str],
    module_names: Sequence[str],
    pretrained: bool,
    batch_size: int,
    backend: str,
    flatten: bool,
) -> dict[tuple[str, str], Features]:
    """Extract the features of several networks, by the names given and the modules."""
    stimuli, folder = load_stimuli(root), Path(out_path).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    write_names(folder, stimuli.ids)
    models = _named(model_names, [[name] for name in module_names], backend)
    found = extract_across(
        models, {"": stimuli}, pretrained=pretrained, batch_size=batch_size, flatten=flatten
    )
    given = {current_name(name, backend): name for name in model_names}
    return {(given[model], one.module): one for _, model, one in found}
