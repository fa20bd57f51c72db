"""Encoding models know no deep-learning framework: none is imported by a fit on arrays."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("himalaya", reason="the extra 'encoding' is absent")

FIT = """
import sys
import numpy as np
import thingsvision as tv
rng = np.random.default_rng(0)
x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 2))
tv.fit_encoding(x, y, cv=2, inner_cv=2)
tv.fit_encoding({"a": x, "b": x[:, :2]}, y, several="bands", cv=2, inner_cv=2, n_shares=1)
print([name for name in ("torch", "tensorflow", "keras", "matplotlib") if name in sys.modules])
"""


def test_no_framework_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIT], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.strip() == "[]"
