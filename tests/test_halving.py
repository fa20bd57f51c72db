"""Batches that do not fit are run in parts: the same rows, the same grid, and a record of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import thingsvision
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import ThingsvisionError
from thingsvision.extraction import extract_features
from thingsvision.halving import Halving
from thingsvision.memory_use import is_out_of_memory
from thingsvision.store import STORES
from thingsvision.testing import toy_network

EXACT = ["thin", "double", "split[0]", "fc"]
IMAGES = np.random.default_rng(0).integers(0, 255, (21, 8, 6, 3), np.uint8)


def of_tensorflow() -> BaseException:
    tensorflow = pytest.importorskip("tensorflow", reason="the extra 'keras' is absent")
    error: BaseException = tensorflow.errors.ResourceExhaustedError(None, None, "OOM when")
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "NumPy": lambda: np._core._exceptions._ArrayMemoryError((10**9,), np.dtype("f8")),
    "Python": MemoryError,
    "CUDA": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "Linux": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 80000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "Windows": lambda: RuntimeError("[enforce fail] not enough memory: you tried to allocate 8"),
    "Metal": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
    "JAX": lambda: RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 8.0GiB"),
    "TensorFlow": of_tensorflow,
}


class Small(ToyBackend):
    """Has memory for few rows."""

    room, error, seen = 5, MemoryError, []  # type: ignore[var-annotated]

    def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
        type(self).seen.append(len(batch))
        if len(batch) > self.room:
            raise type(self).error()
        return super().run(model, batch, *args, **options)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> type[Small]:
    monkeypatch.setattr(Small, "seen", [])
    return Small


@pytest.mark.parametrize("library", ERRORS)
def test_every_library_is_understood(
    small: type[Small], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_out_of_memory(ERRORS[library]())
    monkeypatch.setattr(small, "error", staticmethod(ERRORS[library]))
    found = extract_features(toy_network(backend=small()), IMAGES, EXACT, batch_size=16)
    whole = extract_features(toy_network(), IMAGES, EXACT, batch_size=16)
    for module in EXACT:
        np.testing.assert_array_equal(found[module], whole[module])
    assert found.provenance["parts"] == {"0": 4}
    assert found.provenance["batch_size"] == 16
    # Once it was too much, it is not tried again.
    assert small.seen == [1, 16, 8, 4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
                                   ValueError("out of memory"), KeyboardInterrupt()])  # fmt: skip
def test_other_errors_are_not_mistaken(
    small: type[Small], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def raised() -> BaseException:
        return error

    monkeypatch.setattr(small, "error", staticmethod(raised))
    with pytest.raises(type(error)):
        extract_features(toy_network(backend=small()), IMAGES, "fc", batch_size=16)


def test_a_single_stimulus_that_does_not_fit(
    small: type[Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    halving = Halving(lambda inputs, seed: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(ThingsvisionError, match="does not suffice for a single stimulus"):
        halving(np.ones((8, 2)), 0, start=0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_any_room_gives_the_same_rows_and_never_too_many(
    count: int, batch_size: int, room: int
) -> None:
    def run(inputs: Any, seed: int) -> dict[str, Any]:
        if len(inputs) > room:
            raise MemoryError
        return {"a": inputs * 2, "b": inputs[:, 0]}

    rows, halving = np.arange(count * 3.0).reshape(count, 3), Halving(run)
    found = [
        halving(rows[start : start + batch_size], 0, start=start)
        for start in range(0, count, batch_size)
    ]
    np.testing.assert_array_equal(np.concatenate([part["a"] for part in found]), rows * 2)
    np.testing.assert_array_equal(np.concatenate([part["b"] for part in found]), rows[:, 0])
    assert bool(halving.parts) == (min(count, batch_size) > room)


def test_parts_do_not_change_what_a_network_works_on_in_place() -> None:
    def run(inputs: Any, seed: int) -> dict[str, Any]:
        if len(inputs) > 3:
            raise MemoryError
        inputs *= 2
        return {"a": inputs.copy()}

    rows = np.ones((7, 2))
    np.testing.assert_array_equal(Halving(run)(rows, 0, start=0)["a"], 2 * np.ones((7, 2)))
    np.testing.assert_array_equal(rows, 1)


@pytest.mark.parametrize("format", ["npy", "hdf5", "zarr"])
def test_the_grid_stays_and_the_record_outlives_an_interruption(
    small: type[Small], tmp_path: Path, format: str
) -> None:
    class Interrupted(small):  # type: ignore[misc, valid-type]
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
            if len(small.seen) > 5:
                raise KeyboardInterrupt
            found: dict[str, Any] = super().run(model, batch, *args, **options)
            return found

    if format in STORES.missing():
        pytest.skip(f"the package for {format} is absent")
    out, options = tmp_path / "out", {"batch_size": 8, "format": format}
    network = toy_network(backend=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        extract_features(network, IMAGES, EXACT, out=out, **options)
    meta = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    assert meta["status"] == "unfinished" and meta["provenance"]["parts"] == {"0": 4}
    found = extract_features(toy_network(), IMAGES, EXACT, out=out, **options)
    assert found.provenance["parts"] == {"0": 4}
    whole = extract_features(toy_network(), IMAGES, EXACT, out=tmp_path / "whole", **options)
    assert "parts" not in whole.provenance
    for module in EXACT:
        np.testing.assert_array_equal(found[module], whole[module])
    assert not (out / "progress.txt").exists()


LIMITED = """
import resource, sys
import numpy as np, torch
import thingsvision as tv
from thingsvision.memory_use import used_memory
from pathlib import Path
import re

torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 1), torch.nn.ReLU())
network = tv.wrap_model(model, tv.Preprocessing(), name="wide")
images = np.random.default_rng(0).integers(0, 255, (40, 224, 224, 3), np.uint8)
few = tv.extract_features(network, images[:2], "1", batch_size=2, exact=True, reduction="mean")
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (size + 450 * 2**20, hard))
found = tv.extract_features(network, images, "1", batch_size=40, exact=True, reduction="mean")
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
assert np.allclose(found["1"][:2], few["1"], rtol=1e-5)
assert np.isfinite(np.asarray(found["1"])).all()
print(found.provenance["parts"]["0"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone limits a process's memory so")
def test_a_process_that_really_runs_out_of_memory() -> None:
    source = Path(thingsvision.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(source), "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A batch of 40 images makes activations of 514 MB, twice with the ReLU; 450 MB are free.
    assert 1 <= int(done.stdout) <= 20
