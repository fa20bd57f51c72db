from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import thingsvision

PEAK = """
import resource
from pathlib import Path

def peak():
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On Linux ru_maxrss begins with that of the process that started this one.
    return next(line for line in status.read_text().splitlines() if "VmHWM" in line).split()[1]
"""

SCRIPT = (
    PEAK
    + """
import sys
import numpy as np
from pathlib import Path
from PIL import Image
from thingsvision.extraction import extract_features
from thingsvision.testing import toy_network

folder, count = Path(sys.argv[1]), int(sys.argv[2])
picture = folder / "picture.png"
Image.fromarray(np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)).save(picture)
(folder / f"{count}").mkdir()
for row in range(count):
    (folder / f"{count}" / f"{row:05}.png").symlink_to(picture)
features = extract_features(toy_network(), folder / f"{count}", ["thin", "double"],
                            out=folder / f"out {count}", progress=False)
assert features["double"].shape == (count, 80, 80, 3)
print(peak())
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    source = Path(thingsvision.__file__).parents[1]
    peaks = []
    for count in (256, 1024):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path), str(count)],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(source)},
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        unit = 1 if sys.platform == "darwin" else 1024
        peaks.append(int(done.stdout) * unit / 2**20)
    # The arrays of the larger run take 150 MB each.
    assert peaks[1] - peaks[0] < 50, f"peak memory: {peaks} MB"


TINY = (
    PEAK
    + """
import sys
from pathlib import Path
from thingsvision.extraction import extract_features
from thingsvision.testing import toy_network

folder, count = Path(sys.argv[1]), int(sys.argv[2])
images = folder / f"tiny {count}"
images.mkdir()
data = (folder / "tiny.png").read_bytes()
for row in range(count):
    (images / f"{row:05}.png").write_bytes(data)
features = extract_features(toy_network(), images, ["thin", "fc"], out=folder / f"fc {count}",
                            progress=False)
assert features["fc"].shape == (count, 5)
print(peak())
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory")
def test_ten_thousand_tiny_images(tmp_path: Path) -> None:
    """What is kept of an image is its name, its size and its digest."""
    from PIL import Image

    Image.new("RGB", (8, 6)).save(tmp_path / "tiny.png")
    source = Path(thingsvision.__file__).parents[1]
    peaks = []
    for count in (1_000, 10_000):
        done = subprocess.run(
            [sys.executable, "-c", TINY, str(tmp_path), str(count)],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(source)},
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 2**20)
    print(f"peak memory: {peaks[0]:.0f} MB for 1,000 images, {peaks[1]:.0f} MB for 10,000")
    assert peaks[1] - peaks[0] < 25, f"peak memory: {peaks} MB"


BUDGET = 8  # MB
STREAMED = """
import sys, tracemalloc
import numpy as np
from thingsvision.stimuli import StimulusSet, load_stimuli
from thingsvision.streaming import stream_rdms
from thingsvision.testing import toy_network

folder, count = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
# Each image is the one before it, one row of pixels further down.
strip = rng.integers(0, 255, (96 + count, 96, 3), np.uint8)
images = np.lib.stride_tricks.sliding_window_view(strip, 96, axis=0)[:count]
stimuli = load_stimuli(np.moveaxis(images, -1, 1))
# Once before, so that libraries are loaded.
stream_rdms(toy_network(), stimuli[:20], ["thin", "double"], memory="1MB", scratch=folder)
tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
rdms = stream_rdms(toy_network(), stimuli, ["thin", "double"], memory=sys.argv[3] + "MB",
                   dissimilarity="euclidean", scratch=folder, out=folder + "/rdms", batch_size=8)
assert len(rdms.files) == 2
print(tracemalloc.get_traced_memory()[1] - before)
"""


def test_streamed_rdms_stay_within_their_memory(tmp_path: Path) -> None:
    source = Path(thingsvision.__file__).parents[1]
    peaks = []
    for count in (400, 1200):
        done = subprocess.run(
            [sys.executable, "-c", STREAMED, str(tmp_path), str(count), str(BUDGET)],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(source)},
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 2**20)
    # The rows of each of two modules take 10 and 32 MB, a batch with its copies about 6.
    assert max(peaks) < BUDGET + 8, f"peak memory: {peaks} MB"
