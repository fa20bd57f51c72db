"""The Keras backend passes the battery for backends, with every engine that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
sys.path.append(str(Path(__file__).parents[1] / "backends"))

import keras_models  # noqa: E402

from thingsvision.backends.keras import KerasBackend  # noqa: E402
from thingsvision.testing import check_backend  # noqa: E402

BATTERY = """
import sys
sys.path.append(sys.argv[1])
import keras_models
from thingsvision.backends.keras import KerasBackend
from thingsvision.testing import check_backend
for name in ("functional", "nested", "sequential", "subclassed", "awkward"):
    check_backend(KerasBackend("cpu"), getattr(keras_models, name)(), keras_models.SIZE)
check_backend(KerasBackend("cpu"), keras_models.transformer(), (16, 16))
KerasBackend("cpu").structure(keras_models.functional())
print(KerasBackend("cpu").name)
"""


@pytest.mark.parametrize("name", ["functional", "nested", "sequential", "subclassed", "awkward"])
def test_models(name: str) -> None:
    check_backend(KerasBackend("cpu"), getattr(keras_models, name)(), keras_models.SIZE)


def test_transformer() -> None:
    check_backend(KerasBackend("cpu"), keras_models.transformer(), (16, 16))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16"])
def test_other_precisions(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = keras_models.transformer(dtype="float32")
    finally:
        keras.config.set_dtype_policy(before)
    backend = KerasBackend("cpu")
    survey = backend.modules(model, (16, 16))
    batch = keras_models.pictures(3, (16, 16))
    captures = survey.resolve(["*"])
    whole = backend.run(model, batch, captures, {}, full=True)
    early = backend.run(model, batch, captures, {})
    for address, array in whole.items():
        assert np.issubdtype(array.dtype, np.floating), address
        assert np.array_equal(array, early[address]), address
    expected = np.float32 if policy == "mixed_bfloat16" else np.float16
    assert whole["attention"].dtype == expected


@pytest.mark.parametrize("engine", ["torch", "jax"])
def test_other_engines(engine: str) -> None:
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    folder = Path(__file__).parents[1] / "backends"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BATTERY, str(folder)],
        env={**os.environ, "KERAS_BACKEND": engine, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == (f"keras ({engine})\n", "")
