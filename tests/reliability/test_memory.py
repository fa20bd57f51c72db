from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import thingsvision

SCRIPT = """
import resource, sys
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
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


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
