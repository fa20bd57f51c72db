"""A run that is killed from outside is finished by the same command, with the same bytes.

The longer recipe, twenty kills for every format, is ``make kill``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import thingsvision
from thingsvision.store import STORES

SOURCE = Path(thingsvision.__file__).parents[1]
FORMATS = [name for name in STORES if name not in STORES.missing()]
IMAGES, BATCH = 60, 2

# Says what it does by a letter on a pipe, and dallies, so that it can be killed there.
RUN = """
import os, sys, time
from thingsvision.backends.toy import ToyBackend
from thingsvision.extraction import extract_features
from thingsvision.stimuli import StimulusSet
from thingsvision.store import STORES, base
from thingsvision.testing import toy_network

images, out, format, pipe, pause = *sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5])
base.SYNC_SECONDS = pause * 3  # some batches are listed, some not

def say(owner, name, letter):
    original = getattr(owner, name)
    def call(*args, **options):
        os.write(pipe, letter)
        time.sleep(pause)
        return original(*args, **options)
    setattr(owner, name, call)

say(StimulusSet, "read", b"d")
say(ToyBackend, "run", b"f")
say(STORES[format], "put", b"w")
say(STORES[format], "complete", b"e")
extract_features(toy_network(), images, ["thin", "double", "fc"], out=out, format=format,
                 batch_size=2, progress=False)
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    dice = np.random.default_rng(0)
    for row in range(IMAGES):
        noise = dice.integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{row:03}.png")
    return folder


def start(images: Path, out: Path, format: str, pause: float) -> tuple[Any, int]:
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(images), str(out), format, str(writes), str(pause)],
        env=ENVIRONMENT, pass_fds=[writes], stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writes)
    return process, reads


def killed(images: Path, out: Path, format: str, letter: bytes, dice: random.Random) -> bool:
    """Kill a run some milliseconds after it said a letter for some time."""
    process, reads = start(images, out, format, 0.002)
    wanted = dice.randint(1, 2 if letter == b"e" else 4)  # three arrays are completed
    with process, os.fdopen(reads, "rb", buffering=0) as pipe:
        while wanted and (said := pipe.read(1)):
            wanted -= said == letter
        time.sleep(dice.uniform(0, 0.003))
        process.kill()
        return process.wait(timeout=120) == -signal.SIGKILL and wanted == 0


def finished(images: Path, out: Path, format: str) -> dict[str, bytes]:
    process, reads = start(images, out, format, 0)
    with process, os.fdopen(reads, "rb") as pipe:
        pipe.read()
        _, message = process.communicate(timeout=120)
    assert process.returncode == 0, message.decode()
    files = [path for path in out.rglob("*") if path.is_file()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.mark.skipif(os.name != "posix", reason="this system knows no SIGKILL")
@pytest.mark.parametrize(
    ("format", "kills"),
    [
        ("npy", 5),
        ("hdf5", 4),
        *(pytest.param(name, 20, marks=pytest.mark.slow) for name in FORMATS),
    ],
)
def test_killed_while_it_works(images: Path, tmp_path: Path, format: str, kills: int) -> None:
    if format == "pt":
        pytest.importorskip("torch")
    wanted = finished(images, tmp_path / "whole", format)
    dice = random.Random(kills)
    # Decoding, forward passes and writing in any order; then, when all rows are there, the end.
    moments = [b"dfw"[k % 3 : k % 3 + 1] for k in range(kills - max(1, kills // 5))]
    dice.shuffle(moments)
    died: Counter[bytes] = Counter()
    for letter in [*moments, *[b"e"] * (kills - len(moments))]:
        died[letter] += killed(images, tmp_path / "out", format, letter, dice)
    assert min(died[letter] for letter in (b"d", b"f", b"w", b"e")) > 0, died
    assert sum(died.values()) >= kills - 2, died
    assert finished(images, tmp_path / "out", format) == wanted
