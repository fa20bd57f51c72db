"""Time the way from a JPEG to a network's input, without a network.

These take turns, image by image, in one thread; medians of the thread's own processor time:

torchvision  Pillow, then torchvision's transforms, as its weights publish them
exact        ours as it comes: the same bits
fast         ours with ``decode="fast"``

Then exact and fast in one and in two threads, by the clock. ``--deviation`` says instead how far
the fast way is from the exact one: in pixels, in features of a trained network and in their RDMs::

    python benchmarks/loader.py
    python benchmarks/loader.py --deviation
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights

import thingsvision as tv
from thingsvision.batches import load_batches
from thingsvision.demo import PHOTOGRAPHS
from thingsvision.preprocessing import preprocess
from thingsvision.zoo import describe_model

SIDE, TILE = 800, 200
PRESET = ResNet50_Weights.IMAGENET1K_V1.transforms()
EXACT = describe_model("torchvision/resnet50.IMAGENET1K_V1").preprocessing
FAST = EXACT.override(decode="fast")


def make_mosaics(folder: Path, count: int) -> None:
    """Write JPEGs of 800 × 800, each 16 pieces of photographs in their own resolution."""
    rng = np.random.default_rng(0)
    photographs = [Image.open(path).convert("RGB") for path in sorted(PHOTOGRAPHS.rglob("*.jpg"))]
    for number in range(count):
        mosaic = Image.new("RGB", (SIDE, SIDE))
        for place in range((SIDE // TILE) ** 2):
            photograph = photographs[rng.integers(len(photographs))]
            left, top = (rng.integers(0, side - TILE + 1) for side in photograph.size)
            tile = photograph.crop((left, top, left + TILE, top + TILE))
            mosaic.paste(tile, (TILE * (place % 4), TILE * (place // 4)))
        mosaic.save(folder / f"{number:03d}.jpg", quality=90)


def find_photographs(folder: Path) -> None:
    """Write crops of 512 × 512 of the large photographs that come with scikit-image."""
    import skimage

    names = ["hubble_deep_field.jpg", "retina.jpg", "astronaut.png", "camera.png", "moon.png",
             "brick.png", "grass.png", "gravel.png", "ihc.png", "cell.png"]  # fmt: skip
    for name in names:
        picture = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
        for left in range(0, picture.width - 511, 256):
            for top in range(0, picture.height - 511, 256):
                piece = picture.crop((left, top, left + 512, top + 512))
                piece.save(folder / f"{Path(name).stem}_{left}_{top}.jpg", quality=90)


def by_torchvision(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return PRESET(picture.convert("RGB")).numpy()


def by_the_clock(stimuli: tv.StimulusSet, steps: tv.Preprocessing, threads: int) -> float:
    def one(row: int) -> None:
        preprocess(steps, stimuli.read(row, steps.suffices)[0])

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(len(stimuli))))
    return len(stimuli) / (time.perf_counter() - start)


def compare_speed(folder: Path, count: int, rounds: int) -> None:
    torch.set_num_threads(1)  # torchvision's arithmetic; what others spend would not be counted
    make_mosaics(folder, count)
    stimuli = tv.load_stimuli(folder)
    ways: dict[str, Callable[[int], np.ndarray]] = {
        "torchvision": lambda row: by_torchvision(folder / stimuli.ids[row]),
        "exact": lambda row: preprocess(EXACT, stimuli.read(row, EXACT.suffices)[0]),
        "fast": lambda row: preprocess(FAST, stimuli.read(row, FAST.suffices)[0]),
    }
    for row in range(count):
        same = ways["torchvision"](row).transpose(1, 2, 0) == ways["exact"](row)
        assert same.all(), "the exact way has torchvision's bits"
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for row in range(count):
            for name, way in ways.items():
                start = time.thread_time()
                way(row)
                spent[name].append(time.thread_time() - start)
    size = sum(path.stat().st_size for path in folder.iterdir()) / count / 1000
    print(f"{count} JPEGs of {SIDE} × {SIDE}, {size:.0f} kB each, {rounds} rounds, one thread\n")
    print("| way | ms an image, median (quartiles) | torchvision / way |\n| --- | --- | --- |")
    for name, seconds in spent.items():
        low, high = np.percentile(seconds, [25, 75]) * 1000
        ratio = median(a / b for a, b in zip(spent["torchvision"], seconds, strict=True))
        print(f"| {name} | {median(seconds) * 1000:.2f} ({low:.2f}–{high:.2f}) | {ratio:.2f} |")
    print("\n| images a second | 1 thread | 2 threads | ratio |\n| --- | --- | --- | --- |")
    for name, steps in {"exact": EXACT, "fast": FAST}.items():
        rates = [[by_the_clock(stimuli, steps, n) for n in (1, 2)] for _ in range(rounds)]
        one, two = np.median(rates, axis=0)
        print(f"| {name} | {one:.0f} | {two:.0f} | {two / one:.2f} |")


def compare_results(folder: Path) -> None:
    find_photographs(folder)
    network = tv.load_model("checkpoints/efficientnet_lite0", device="cpu")
    stimuli = tv.load_stimuli(folder)
    sizes = network.preprocessing
    inputs = {}
    for way in ("exact", "fast"):
        steps = sizes.override(decode=way, divisor=1.0, mean=(0, 0, 0), std=(1, 1, 1))
        size = steps.shape(512, 512)
        inputs[way] = next(load_batches(stimuli, steps, size, len(stimuli))).inputs
    gaps = np.abs(inputs["exact"] - inputs["fast"])
    print(f"{len(stimuli)} photographs of 512 × 512, {sizes}\n")
    print(f"Pixels: largest deviation {gaps.max():.0f} of 255, mean {gaps.mean():.2f}, "
          f"99 % below {np.percentile(gaps, 99):.0f}\n")  # fmt: skip
    print("| module | largest deviation | mean deviation | RDM pearson | RDM spearman |")
    print("| --- | --- | --- | --- | --- |")
    modules = ["blocks.1", "blocks.3", "blocks.5", "penultimate"]
    exact, fast = (
        tv.extract_features(network, stimuli, modules, decode=way) for way in ("exact", "fast")
    )
    for module in exact:
        a, b = np.asarray(exact[module]), np.asarray(fast[module])
        rdms = [tv.compute_rdm(found[module]) for found in (exact, fast)]
        r, rho = (
            float(tv.compare_rdms(*rdms, comparison=name)) for name in ("pearson", "spearman")
        )
        scale = np.abs(a).max()
        largest, mean = np.abs(a - b).max() / scale, np.abs(a - b).mean() / scale
        print(f"| {module} | {largest:.2f} | {mean:.4f} | {r:.4f} | {rho:.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--deviation", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if options.deviation:
            compare_results(Path(place))
        else:
            compare_speed(Path(place), options.images, options.rounds)


if __name__ == "__main__":
    main()
