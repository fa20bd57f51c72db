"""NIfTI and GIFTI images, read by nibabel: one row a stimulus of what lies inside a mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing
from ..optional import require

IMAGES = (".nii", ".nii.gz", ".gii")


def is_image(path: Path) -> bool:
    """Say whether a name is that of an image."""
    return path.name.lower().endswith(IMAGES)


def stem(path: Path) -> str:
    """Take the suffix from the name of an image."""
    name = path.name
    for suffix in IMAGES:
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return name


def load_image(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Read a whole image and its affine, None for a surface."""
    image = _open(path)
    if _is_surface(path):
        arrays = [array.data for array in image.darrays]
        return np.stack(arrays) if len(arrays) != 1 else arrays[0], None
    return np.asanyarray(image.dataobj), image.affine


def _open(path: Path) -> Any:
    nibabel = require("nibabel")
    try:
        if _is_surface(path):
            return nibabel.load(path)
        return nibabel.load(path, keep_file_open=True)  # so that .gz is read once, front to back
    except Exception as error:
        raise InvalidArgument(
            f"{path} cannot be read by nibabel ({type(error).__name__}: {error}). Is it complete?"
        ) from error


def _is_surface(path: Path) -> bool:
    return path.name.lower().endswith(".gii")


def read_images(
    paths: Sequence[Path], chosen: NDArray[np.bool_] | None, affine: NDArray[Any] | None
) -> NDArray[Any]:
    """Read images laid end to end, as rows of what lies inside a mask.

    Parameters
    ----------
    paths : list of Path
        NIfTI of three or four axes, or GIFTI of one array a stimulus.
    chosen : array of bool, of the shape of a volume or surface, optional
        The mask.
    affine : array, shape (4, 4), optional
        That of the mask, where it has one; has to be that of the images.

    Returns
    -------
    array, shape (n_stimuli, n_targets)

    Raises
    ------
    InvalidArgument
        If an image cannot be read, or the mask does not fit.
    """
    blocks = []
    for path in paths:
        image = _open(path)
        surface = _is_surface(path)
        shape = image.darrays[0].data.shape if surface else image.shape[:3]
        if not surface and len(image.shape) not in (3, 4):
            raise InvalidArgument(
                f"{path} has shape {image.shape}; of images 3 or 4 axes are read."
            )
        inside = np.ones(shape, bool) if chosen is None else chosen
        _check_mask(inside, affine, shape, None if surface else image.affine, path)
        volumes = _surfaces(image, path) if surface else _volumes(image)
        blocks.append(np.stack([volume[inside] for volume in volumes]))
    widths = {block.shape[1] for block in blocks}
    if len(widths) > 1:
        raise InvalidArgument(f"The images have different numbers of voxels: {sorted(widths)}.")
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _surfaces(image: Any, path: Path) -> Iterator[NDArray[Any]]:
    shapes = {array.data.shape for array in image.darrays}
    if len(shapes) > 1:
        raise InvalidArgument(
            f"{path} holds arrays of different shapes ({listing(sorted(shapes))}): is it a surface "
            "itself? Give the values on it, e.g. a .func.gii."
        )
    for array in image.darrays:
        yield array.data


def _volumes(image: Any) -> Iterator[NDArray[Any]]:
    """Yield one volume after the other; as float32 where that is what the file holds."""
    exact = image.get_data_dtype().itemsize > 4
    dtype = np.float64 if exact else np.float32
    if len(image.shape) == 3:
        yield np.asarray(image.dataobj).astype(dtype, copy=False)
        return
    for number in range(image.shape[3]):
        yield np.asarray(image.dataobj[..., number]).astype(dtype, copy=False)


def _check_mask(
    mask: NDArray[np.bool_], affine: NDArray[Any] | None, shape: tuple[int, ...],
    image_affine: NDArray[Any] | None, path: Path,
) -> None:  # fmt: skip
    if mask.shape != shape:
        raise InvalidArgument(
            f"The mask has shape {mask.shape}, but {path.name} has {shape}. Bring the mask to the "
            "grid of the image first, e.g. with nilearn.image.resample_to_img(mask, image, "
            "interpolation='nearest')."
        )
    if affine is not None and image_affine is not None and not np.allclose(
        affine, image_affine, atol=1e-3
    ):  # fmt: skip
        raise InvalidArgument(
            f"The mask and {path.name} have the same shape but different affines, so their voxels "
            f"lie elsewhere in space:\n{affine}\n{image_affine}\nResample the mask to the image; "
            "if the headers are known to be wrong, give the mask as an array."
        )
