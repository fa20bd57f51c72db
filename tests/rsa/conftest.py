"""Data for the tests of RSA; public recordings lie beside the repository and may be absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).parents[2].parent / "shared/data"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the public data {name}, expected in {folder}")
    return folder


@pytest.fixture
def fmri78() -> Path:
    return _folder("fmri78")


@pytest.fixture
def kriegeskorte92() -> Path:
    return _folder("kriegeskorte92")


@pytest.fixture
def things() -> Path:
    return _folder("things")
