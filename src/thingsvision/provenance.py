"""Provenance: what made an array, and the digests that name it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__

_ABSENT = object()
PACKAGES = (
    "torch", "torchvision", "timm", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy",
    "pillow", "scikit-learn", "open-clip-torch", "transformers",
)  # fmt: skip


def digest(data: bytes | bytearray | memoryview) -> str:
    """Compute the SHA-256 digest of some bytes, in hexadecimal.

    Examples
    --------
    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def digest_file(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 digest of a file, in hexadecimal, in bounded memory."""
    total = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def digest_items(items: Iterable[object]) -> str:
    """Compute one digest of a sequence of plain values, in hexadecimal."""
    return digest(json.dumps(list(items), ensure_ascii=False, default=str).encode())


def versions() -> dict[str, str]:
    """List the versions of what computes activations here."""
    # Its own constant, since a checkout on the path has no metadata.
    found = {"python": platform.python_version(), "thingsvision": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say in words where two nested records differ.

    Examples
    --------
    >>> differences({"model": {"seed": 0}}, {"model": {"seed": 1}})
    ['model.seed was 0, is now 1']
    """
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        # Not None, which is a value: the reduction of a module that keeps its shape.
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {_short(before)}, is now {_short(after)}")
    return found


def plain(value: Any) -> Any:
    """Turn a record into what it is after a journey through a JSON file.

    Examples
    --------
    >>> plain({"mean": (0.5,), "seed": np.int64(3)})
    {'mean': [0.5], 'seed': 3}
    """
    return json.loads(json.dumps(value, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)


def _short(value: object, length: int = 80) -> str:
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= length else text[: length - 1] + "…"
