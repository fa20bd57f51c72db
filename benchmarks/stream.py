"""RDMs of all modules of AlexNet: in one pass, and by storing activations first.

Each way runs in a process of its own, in turn; time, peak memory beyond the loaded network, and
what is left on the disk are given. Run it on a quiet machine::

    python benchmarks/stream.py --images 256 --memory 512MB 2GB
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image


def anonymous() -> int:
    """Bytes of this process's own memory: pages of mapped files can be taken back at any time."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(x for x in status.splitlines() if x.startswith("RssAnon")).split()[1])


def work(folder: Path, memory: str) -> None:
    """Run one way, and print what it took."""
    import thingsvision as tv

    network = tv.load_model("torchvision/alexnet", pretrained=False, seed=0, device="cpu")
    stimuli = tv.load_stimuli(folder / "images")
    tv.extract_features(network, stimuli[:32], "*", exact=True)  # what is loaded on first use
    before, most, is_done = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.005):
            most[0] = max(most[0], anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        if memory == "stored":
            features = tv.extract_features(network, stimuli, "*", out=f"{place}/out")
            for name in features:
                tv.compute_rdm(features[name]).save(f"{place}/rdms/{name}.npz")
        else:
            tv.stream_rdms(network, stimuli, "*", out=f"{place}/rdms", memory=memory, scratch=place)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
    is_done.set()
    watcher.join()
    print(json.dumps([seconds, (most[0] - before) / 2**20, size / 2**20]))


def main() -> None:
    """Let the ways take turns, and print a row for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--memory", nargs="+", default=["512MB", "2GB"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--worker", nargs=2)
    options = parser.parse_args()
    if options.worker:
        work(Path(options.worker[0]), options.worker[1])
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        (Path(folder) / "images").mkdir()
        rng = np.random.default_rng(0)
        for row in range(options.images):
            coarse = rng.integers(0, 255, (12, 16, 3), np.uint8)
            image = Image.fromarray(coarse).resize((500, 375))
            image.save(f"{folder}/images/{row:05}.jpg")
        ways = ["stored", *options.memory]
        found: dict[str, list[list[float]]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way in ways:
                words = [sys.executable, __file__, "--worker", folder, way]
                done = subprocess.run(words, capture_output=True, text=True, env=os.environ)
                assert done.returncode == 0, done.stderr
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
    print("| way | seconds | peak memory, MB | written, MB |\n| --- | --- | --- | --- |")
    for way, runs in found.items():
        seconds, peak, size = np.median(runs, axis=0)
        spread = [run[0] for run in runs]
        print(
            f"| {way} | {seconds:.1f} ({min(spread):.1f}–{max(spread):.1f}) | {peak:.0f} "
            f"| {size:.0f} |"
        )


if __name__ == "__main__":
    main()
