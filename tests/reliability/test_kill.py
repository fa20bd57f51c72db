"""A run that is killed at any moment is finished by the same command, with the same bytes."""

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

# Runs the extraction once in a forked child for every moment at which it may die: at each opening,
# renaming, reserving and deleting of a file in the store, and before, amid and after each write.
EVERY_MOMENT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from thingsvision.extraction import extract_features
from thingsvision.store import npy
from thingsvision.testing import toy_network

base = Path(sys.argv[1])
levels = np.arange(7, dtype=np.uint8)[:, None, None, None]
images = np.broadcast_to(levels, (7, 8, 6, 3)).copy()
moment = death = -1

def tick():
    global moment
    moment += 1
    if moment == death:
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, args):
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate"):
        if any(str(base) in os.fsdecode(arg) for arg in args if isinstance(arg, (str, bytes))):
            tick()

def write(handle, start, data, original=npy.write_at):
    tick()
    half = len(data) // 2
    original(handle, start, data[:half])
    tick()
    original(handle, start + half, data[half:])
    tick()

npy.write_at = write

def run(name, dies_at):
    global death, moment
    child = os.fork()
    if not child:
        moment, death = -1, dies_at
        sys.addaudithook(watch)
        extract_features(toy_network(), images, ["thin", "fc", "noise"], out=base / name,
                         batch_size=2, progress=False)
        os._exit(0)
    return os.waitpid(child, 0)[1]

def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}

assert run("whole", -1) == 0
wanted = contents(base / "whole")
deaths = 0
while True:
    folder = f"killed {deaths}"
    if (status := run(folder, deaths)) == 0:
        break
    assert status == signal.SIGKILL, status
    assert run(folder, deaths // 2) in (0, signal.SIGKILL)  # and once more, somewhere else
    assert run(folder, -1) == 0, f"not finished after death {deaths}"
    found = contents(base / folder)
    assert found == wanted, (deaths, sorted(found), [n for n in found if found[n] != wanted.get(n)])
    deaths += 1
print(deaths)
"""

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

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
def test_killed_at_every_moment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EVERY_MOMENT, str(tmp_path)],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50, "the moments were not seen"


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
