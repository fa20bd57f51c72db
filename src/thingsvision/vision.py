"""The paper's functions, as its scripts import them: a thin face of the core.

Muttenthaler & Hebart 2021, doi:10.3389/fninf.2021.679838.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .batches import input_size, load_batches
from .errors import InvalidArgument, unknown
from .preprocessing import Preprocessing
from .stimuli import StimulusSet, load_stimuli
from .store.records import write_names

# The paper's name of a framework -> the source that has its models.
BACKENDS = {"pt": "torchvision"}
FORMATS = ("npy",)


@dataclass(frozen=True, eq=False)
class DataLoader:
    """Preprocessed images in batches, with their targets.

    Parameters
    ----------
    stimuli : StimulusSet
        In the order of extraction.
    preprocessing : Preprocessing
        Applied to each.
    batch_size : int
        Images in a batch.
    """

    stimuli: StimulusSet
    preprocessing: Preprocessing
    batch_size: int

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class of each image, or its running number where there are no classes."""
        known = self.stimuli.targets
        return np.arange(len(self.stimuli)) if known is None else known

    def __len__(self) -> int:
        return -(-len(self.stimuli) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        from .backends.torch import TorchBackend

        size = input_size(self.preprocessing, self.stimuli)
        for batch in load_batches(self.stimuli, self.preprocessing, size, self.batch_size):
            targets = self.targets[batch.start : batch.start + len(batch.inputs)]
            yield TorchBackend().place(batch.inputs), targets


def load_dl(
    root: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    backend: str,
    batch_size: int,
    imagenet_train: Any = None,
    imagenet_val: Any = None,
    things: Any = None,
    things_behavior: Any = None,
    add_ref_imgs: Any = None,
    file_names: Sequence[str] | None = None,
    transforms: Preprocessing | None = None,
) -> DataLoader:
    """Find the images of a folder, and write their names in the order of extraction.

    Parameters
    ----------
    root : path
        Folder of images, flat or with a folder for each class.
    out_path : path
        Folder to which ``file_names.txt`` is written.
    backend : str
        ``"pt"`` for PyTorch.
    batch_size : int
        Images in a batch.
    imagenet_train, imagenet_val, things, things_behavior, add_ref_imgs
        Accepted for the sake of old scripts; `file_names` says which images are wanted.
    file_names : sequence of str, optional
        Which images, in which order.
    transforms : Preprocessing
        From ``model.get_transformations()``.

    Returns
    -------
    DataLoader
        Iterates over pairs of a tensor ``(n, 3, height, width)`` and targets.

    Raises
    ------
    InvalidArgument
        If an argument is not allowed.
    StimulusError
        If there are no images, or names do not exist.
    """
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    if not isinstance(transforms, Preprocessing):
        raise InvalidArgument(
            f"transforms is {type(transforms).__name__}; give what model.get_transformations() "
            "returns, so that the network gets the images as it expects them."
        )
    stimuli = load_stimuli(root, file_names=file_names)
    folder = Path(out_path)
    folder.mkdir(parents=True, exist_ok=True)
    write_names(folder, stimuli.ids)
    return DataLoader(stimuli, transforms, batch_size)


def save_features(
    features: ArrayLike, out_path: str | os.PathLike[str], file_format: str, n_splits: int = 10
) -> None:
    """Write features to ``features.npy`` in a folder.

    Parameters
    ----------
    features : array, shape (n_stimuli, ...)
    out_path : path
        Folder; made if it is missing.
    file_format : str
        ``"npy"``, with or without a dot.
    n_splits : int
        Accepted for the sake of old scripts.

    Raises
    ------
    InvalidArgument
        If the format is unknown.
    """
    if file_format.lstrip(".") not in FORMATS:
        raise unknown("format", file_format, FORMATS)
    folder = Path(out_path)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "features.npy", np.asarray(features))
