"""The paper's functions, as its scripts import them: a thin face of the core.

Muttenthaler & Hebart 2021, doi:10.3389/fninf.2021.679838. ``docs/how-to/paper.md`` says what
differs from the releases of its time, and how each is written on the core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from . import plotting, rsa
from .across import modules_with
from .classes import read_classes, top_classes
from .errors import InvalidArgument
from .loader import Loader
from .model_class import Model
from .preprocessing import Preprocessing
from .stimuli import load_stimuli
from .store.array_files import write_array
from .store.parts import PARTS, merge_parts, save_array, split_array
from .store.records import NAMES, write_names
from .store.slices import read_slices, write_slices
from .tables import read_lines
from .vision_models import (
    compare_models,
    compare_models_to_humans,
    extract_features_across_models_and_datasets,
    extract_features_across_models_datasets_and_modules,
    get_features,
)
from .zoo.former_names import current_name

PathLike = str | os.PathLike[str]
FEATURES, TARGETS = "features", "targets"

__all__ = [
    "center_features",
    "compare_models",
    "compare_models_to_humans",
    "compress_features",
    "compute_rdm",
    "correlate_rdms",
    "extract_features",
    "extract_features_across_models_and_datasets",
    "extract_features_across_models_datasets_and_modules",
    "get_class_probabilities",
    "get_features",
    "get_module_names",
    "load_dl",
    "load_model",
    "merge_features",
    "normalize_features",
    "plot_rdm",
    "save_features",
    "save_targets",
    "show_model",
    "slices2tensor",
    "split_features",
    "tensor2slices",
]


def load_dl(
    root: PathLike,
    out_path: PathLike,
    backend: str = "pt",
    batch_size: int = 32,
    imagenet_train: Any = None,
    imagenet_val: Any = None,
    things: Any = None,
    things_behavior: Any = None,
    add_ref_imgs: Any = None,
    file_names: Sequence[str] | None = None,
    transforms: Any = None,
) -> Loader:
    """Find the images of a folder, and write their names in the order of extraction.

    Parameters
    ----------
    root : path
        Folder of images, flat or with a folder for each class.
    out_path : path
        Folder to which ``file_names.txt`` is written.
    backend : str
        ``"pt"`` for PyTorch, ``"tf"`` for Keras.
    batch_size : int
        Images in a batch.
    imagenet_train, imagenet_val, things, things_behavior, add_ref_imgs
        Accepted for the sake of old scripts; `file_names` says which images are wanted.
    file_names : sequence of str, optional
        Which images, in which order.
    transforms : Preprocessing or callable
        From ``model.get_transformations()``.

    Returns
    -------
    Loader
        Iterates over pairs of a batch, ``(n, 3, height, width)`` for PyTorch and
        ``(n, height, width, 3)`` for Keras, and its targets.

    Raises
    ------
    UnknownName
        If there is no such backend.
    InvalidArgument
        If `transforms` is missing.
    StimulusError
        If there are no images, or names do not exist.
    """
    current_name("", backend)
    loader = Loader(load_stimuli(root, file_names=file_names), transforms, batch_size, backend)
    write_names(_folder(out_path), loader.stimuli.ids)
    return loader


def load_model(
    model_name: str, pretrained: bool, model_path: PathLike | None = None, device: str = "auto"
) -> tuple[Model, Preprocessing]:
    """Load a network and its preprocessing, as the first release did; see `Model`."""
    model = Model(model_name, pretrained, device, model_path)
    return model, model.get_transformations()


def show_model(model: Model, model_name: str = "") -> str:
    """Ask for a module, as the first release did; see `Model.show`."""
    return model.show()


def extract_features(
    model: Model, data_loader: Loader, module_name: str, *args: Any, **kwargs: Any
) -> tuple[NDArray[Any], ...]:
    """Extract features, as the first release did; see `Model.extract_features`."""
    return model.extract_features(data_loader, module_name, *args, **kwargs)


def save_features(
    features: ArrayLike, out_path: PathLike, file_format: str, n_splits: int = PARTS
) -> None:
    """Write features to ``features.npy``, ``.h5``, ``.mat``, ``.txt`` or ``.pt`` in a folder.

    Parameters
    ----------
    features : array, shape (n_stimuli, ...)
    out_path : path
        Folder; made if it is missing.
    file_format : str
        ``"npy"``, ``"hdf5"``, ``"mat"``, ``"txt"`` or ``"pt"``, with or without a dot.
    n_splits : int
        Number of files if memory does not suffice for one.

    Raises
    ------
    UnknownName
        If the format is unknown.
    InvalidArgument
        If the number of rows is not that of ``file_names.txt`` in the folder.
    StoreError
        If the disk is full or cannot be written.
    """
    save_array(_folder(out_path), FEATURES, as_array(features), file_format, n_splits)


def save_targets(targets: ArrayLike, PATH: PathLike, file_format: str) -> None:  # noqa: N803
    """Write targets to a file ``targets`` in a folder; arguments as of `save_features`."""
    write_array(_folder(PATH), TARGETS, as_array(targets), file_format)


def split_features(
    PATH: PathLike,  # noqa: N803
    features: ArrayLike,
    file_format: str,
    n_splits: int = PARTS,
) -> None:
    """Write features as nearly equal parts ``features_01`` …; arguments as of `save_features`."""
    split_array(_folder(PATH), FEATURES, as_array(features), file_format, n_splits)


def merge_features(PATH: PathLike, file_format: str) -> NDArray[Any]:  # noqa: N803
    """Read the whole matrix of features that were split, shape (n_stimuli, ...).

    Raises
    ------
    StoreError
        If parts are missing or foreign; they are named.
    """
    return merge_parts(Path(PATH).expanduser(), FEATURES, file_format)


def tensor2slices(PATH: PathLike, file_name: str, features: ArrayLike) -> None:  # noqa: N803
    """Write features, shape (n_stimuli, n_channels, height, width), as text."""
    write_slices(_folder(PATH) / file_name, as_array(features))


def slices2tensor(PATH: PathLike, file: str) -> NDArray[Any]:  # noqa: N803
    """Read features that `tensor2slices` or `save_features` wrote as text, in their shape."""
    return read_slices(Path(PATH).expanduser() / file)


def center_features(X: ArrayLike) -> NDArray[Any]:  # noqa: N803
    """Subtract each feature's mean over the stimuli, shape (n_stimuli, ...) to the same."""
    features = np.asarray(X)
    centred: NDArray[Any] = features - features.mean(axis=0)
    return centred


def normalize_features(X: ArrayLike) -> NDArray[Any]:  # noqa: N803
    """Divide each stimulus's features, shape (n_stimuli, ...), by their Euclidean norm."""
    features = np.asarray(X)
    unit: NDArray[Any] = normalize(features.reshape(len(features), -1)).reshape(features.shape)
    return unit


def compress_features(
    X: ArrayLike,  # noqa: N803
    rnd_seed: int,
    retained_var: float = 0.9,
) -> NDArray[Any]:
    """Project features onto the principal components that keep a share of their variance.

    Parameters
    ----------
    X : array, shape (n_stimuli, n_features)
    rnd_seed : int
        Accepted for the sake of old scripts; the full decomposition draws no numbers.
    retained_var : float
        Between 0 and 1.

    Returns
    -------
    array, shape (n_stimuli, n_components)
    """
    if not 0 < retained_var < 1:
        raise InvalidArgument(f"retained_var is {retained_var}; it lies between 0 and 1.")
    decomposition = PCA(retained_var, svd_solver="full", random_state=rnd_seed)
    compressed: NDArray[Any] = decomposition.fit_transform(np.asarray(X))
    return compressed


def compute_rdm(F: ArrayLike, method: str = "correlation") -> NDArray[Any]:  # noqa: N803
    """Compute the square matrix of dissimilarities, (n_stimuli, ...) to (n_stimuli, n_stimuli).

    Parameters
    ----------
    F : array, shape (n_stimuli, ...)
    method : str
        ``"correlation"``, ``"cosine"``, ``"euclidean"`` or ``"gaussian"``.

    Raises
    ------
    UnknownName
        If there is no such method.
    InvalidArgument
        If it is not defined for a stimulus.
    """
    return rsa.compute_rdm(as_array(F), method).square()


def correlate_rdms(rdm_1: ArrayLike, rdm_2: ArrayLike, correlation: str = "pearson") -> float:
    """Correlate the upper triangles of two square matrices, without the diagonal.

    Raises
    ------
    UnknownName
        If `correlation` is neither ``"pearson"`` nor ``"spearman"`` nor any other comparison.
    MismatchError
        If the matrices are of different sizes.
    """
    return float(rsa.compare_rdms(as_array(rdm_1), as_array(rdm_2), correlation))  # type: ignore[arg-type]


def plot_rdm(
    out_path: PathLike,
    F: ArrayLike,  # noqa: N803
    method: str = "correlation",
    format: str = ".png",
    colormap: str = "cividis",
    show_plot: bool = False,
) -> None:
    """Draw the RDM of features to ``rdm.png`` or ``rdm.jpg`` in a folder.

    Parameters
    ----------
    out_path : path
        Folder; made if it is missing.
    F : array, shape (n_stimuli, ...)
    method : str
        As of `compute_rdm`.
    format : str
        A suffix, with or without a dot.
    colormap : str
        A name that matplotlib knows.
    show_plot : bool
        Open the figure in a window, or in the notebook.
    """
    path = _folder(out_path) / f"rdm.{format.lstrip('.')}"
    figure = plotting.plot_rdm(rsa.compute_rdm(as_array(F), method), path, colormap=colormap)
    if show_plot:
        plotting.show_figure(figure)


def get_module_names(model: Model, module: str) -> list[str]:
    """List the modules of a model whose names hold a text, e.g. ``"conv"``."""
    return modules_with(model.network, [module])


def get_class_probabilities(
    probas: ArrayLike,
    out_path: PathLike,
    cls_file: PathLike,
    top_k: int,
    save_as_json: bool,
) -> dict[str, dict[str, float]]:
    """Find the most probable classes of each image.

    Parameters
    ----------
    probas : array, shape (n_stimuli, n_classes)
        From ``model.extract_features(…, return_probabilities=True)``.
    out_path : path
        Folder with the ``file_names.txt`` that `load_dl` wrote.
    cls_file : path
        Names of the classes, or synsets, one a line.
    top_k : int
        Classes for each image.
    save_as_json : bool
        Write ``class_probabilities.json`` to `out_path`.

    Returns
    -------
    dict of str to dict of str to float
        Image → class → probability, the most probable first.

    Raises
    ------
    InvalidArgument
        If names and probabilities are not as many.
    """
    names = read_lines(Path(out_path).expanduser() / NAMES)
    table = top_classes(probas, read_classes(cls_file), names, top_k)
    classes = {
        str(name): dict(zip(rows["class"], rows["probability"].astype(float), strict=True))
        for name, rows in table.groupby("id", sort=False)
    }
    if save_as_json:
        file = _folder(out_path) / "class_probabilities.json"
        file.write_text(json.dumps(classes, indent=1, ensure_ascii=False), encoding="utf-8")
    return classes


def as_array(values: Any) -> NDArray[Any]:
    """Take an array, a list, or a tensor on any device."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _folder(path: PathLike) -> Path:
    folder = Path(path).expanduser()
    if folder.is_file():
        raise InvalidArgument(f"{str(path)!r} is a file; give a folder to write to.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
