"""Version 2's datasets of images, and its way to give them in batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import InvalidArgument, unknown
from .loader import Loader
from .stimuli import StimulusSet, load_stimuli
from .store.records import write_names


class ImageLoader(Loader):
    """Preprocessed images in batches, without the targets, as version 2 gives them."""

    def __iter__(self) -> Iterator[Any]:
        return self._batches()


class ImageDataset:
    """The images of a folder, with what is done to each.

    Parameters
    ----------
    root : path
        Folder of images, flat or with a folder for each class.
    out_path : path
        Folder to which ``file_names.txt`` is written.
    backend : {"pt", "tf"}
        From ``extractor.get_backend()``.
    transforms : Preprocessing or callable
        From ``extractor.get_transformations()``, or your own.
    class_names, file_names : sequence of str, optional
        Only these classes, in this order; only these images, in this order.

    Raises
    ------
    StimulusError
        If there are no images, or names do not exist.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        out_path: str | os.PathLike[str],
        backend: str,
        transforms: Any = None,
        class_names: Sequence[str] | None = None,
        file_names: Sequence[str] | None = None,
    ) -> None:
        stimuli = load_stimuli(root, file_names=file_names)
        if class_names is not None:
            if strange := [name for name in class_names if name not in stimuli.classes]:
                raise unknown("class", strange[0], stimuli.classes)
            place = {name: row for row, name in enumerate(class_names)}
            wanted = [name for name in stimuli.ids if name.partition("/")[0] in place]
            stimuli = stimuli.select(sorted(wanted, key=lambda n: place[n.partition("/")[0]]))
        self._keep(stimuli, out_path, backend, transforms)

    def _keep(self, stimuli: StimulusSet, out_path: Any, backend: str, transforms: Any) -> None:
        self.loader = ImageLoader(stimuli, transforms, 1, backend)
        if out_path is not None:
            folder = Path(out_path).expanduser()
            folder.mkdir(parents=True, exist_ok=True)
            write_names(folder, stimuli.ids)

    def __len__(self) -> int:
        return len(self.loader)

    def __getitem__(self, row: int) -> Any:
        row = range(len(self))[row]
        one = replace(self.loader, stimuli=self.loader.stimuli[row : row + 1])
        return next(iter(one))[0]


class HDF5Dataset(ImageDataset):
    """The images of a dataset in an HDF5 file, such as the stimuli of NSD.

    Parameters
    ----------
    hdf5_fp : path
        The file.
    img_ds_key : str
        Name of the dataset, e.g. ``"imgBrick"``.
    backend, transforms
        As of `ImageDataset`.
    out_path : path, optional
        Folder to which ``file_names.txt`` is written.
    img_indices : sequence of int, optional
        Which images, in which order.
    """

    def __init__(
        self,
        hdf5_fp: str | os.PathLike[str],
        img_ds_key: str,
        backend: str,
        transforms: Any = None,
        out_path: str | os.PathLike[str] | None = None,
        img_indices: Sequence[int] | None = None,
    ) -> None:
        stimuli = load_stimuli(hdf5_fp, dataset=img_ds_key, rows=img_indices)
        self._keep(stimuli, out_path, backend, transforms)


def DataLoader(dataset: Any, batch_size: int, backend: str = "pt") -> ImageLoader:  # noqa: N802
    """Give a dataset in batches.

    Parameters
    ----------
    dataset : ImageDataset or HDF5Dataset
    batch_size : int
        Images in a batch.
    backend : str
        Accepted for the sake of old scripts; the dataset knows.
    """
    if not isinstance(dataset, ImageDataset):
        raise InvalidArgument(
            f"The dataset is a {type(dataset).__name__}; give an ImageDataset or HDF5Dataset, or "
            "take torch.utils.data.DataLoader, whose batches extract_features takes as well."
        )
    return replace(dataset.loader, batch_size=batch_size)
