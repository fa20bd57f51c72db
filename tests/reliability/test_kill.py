"""A run that is killed from outside is finished by the same command, with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import thingsvision

SOURCE = Path(thingsvision.__file__).parents[1]

AT_RANDOM = """
import sys, time
import numpy as np
from thingsvision.backends.toy import ToyBackend
from thingsvision.extraction import extract_features
from thingsvision.testing import toy_network

class Slow(ToyBackend):
    def run(self, *args, **options):
        time.sleep(0.004)
        return super().run(*args, **options)

images = np.random.default_rng(0).integers(0, 255, (120, 32, 32, 3), np.uint8)
print("ready", flush=True)
extract_features(toy_network(backend=Slow()), images, ["thin", "double", "fc"], out=sys.argv[1],
                 batch_size=2, progress=False)
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


def start(out: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", AT_RANDOM, str(out)], stdout=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def wait(process: subprocess.Popen[str]) -> int:
    with process:
        return process.wait(timeout=120)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
@pytest.mark.parametrize(
    "kills", [4, pytest.param(20, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_killed_at_random(tmp_path: Path, kills: int) -> None:
    begun = time.perf_counter()
    assert wait(start(tmp_path / "whole")) == 0
    duration = time.perf_counter() - begun
    dice = random.Random(kills)
    killed = 0
    for _ in range(kills):
        process = start(tmp_path / "out")
        time.sleep(dice.uniform(0, duration / kills))
        process.kill()
        killed += wait(process) != 0
    assert killed
    assert wait(start(tmp_path / "out")) == 0
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list((tmp_path / "out").iterdir())) == len(list((tmp_path / "whole").iterdir()))
