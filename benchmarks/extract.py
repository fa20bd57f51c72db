"""Time the main job: a folder of JPEGs in, one module's activations on disk.

Four things take turns in one process, several rounds, and medians are given:

ours      ``extract_features`` to an npy store
plain     the loop as most people write it: a DataLoader without workers, PIL transforms, the
          full forward pass with a hook, ``torch.cat`` and ``np.save``
bare      the forward pass alone, up to the module, on preprocessed batches in memory
          (channels-last)
decoding  reading, decoding and preprocessing alone, in one thread

Run it on a quiet machine::

    python benchmarks/extract.py                     # the table
    python benchmarks/extract.py --memory            # peak memory at 512 and at 2,048 images
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import get_model, get_model_weights

import thingsvision as tv
from thingsvision.preprocessing import preprocess

HERE = Path(__file__).parent
PHOTOGRAPHS = HERE.parent / "src" / "thingsvision" / "demo" / "photographs"
CASES = {"alexnet": "features.10", "resnet50": "layer2"}
BATCH = 32
CORES = torch.get_num_threads()


def make_images(folder: Path, count: int) -> None:
    """Write JPEGs of 500 × 375 by shifting and mirroring real photographs."""
    folder.mkdir(parents=True, exist_ok=True)
    photographs = [
        Image.open(path).convert("RGB").resize((600, 475))
        for path in sorted(PHOTOGRAPHS.rglob("*.jpg"))
    ]
    rng = np.random.default_rng(0)
    for number in range(count):
        picture = photographs[number % len(photographs)]
        left, top = rng.integers(0, 101, 2)
        picture = picture.crop((left, top, left + 500, top + 375))
        if rng.integers(2):
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture.save(folder / f"{number:05d}.jpg", quality=90)


class Folder(Dataset):
    """What most people write."""

    def __init__(self, folder: Path, transform: Callable) -> None:
        self.files = sorted(folder.glob("*.jpg"))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(Image.open(self.files[row]).convert("RGB"))


def plain(model: torch.nn.Module, module: str, transform: Callable, images: Path, out: Path):
    kept = []
    handle = model.get_submodule(module).register_forward_hook(
        lambda _, args, output: kept.append(output.clone())
    )
    with torch.no_grad():
        for batch in DataLoader(Folder(images, transform), batch_size=BATCH):
            model(batch)
    handle.remove()
    np.save(out / "features.npy", torch.cat(kept).numpy())


def bare(model: torch.nn.Module, module: str, batches: list[torch.Tensor]) -> None:
    class Stop(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stop

    handle = model.get_submodule(module).register_forward_hook(stop)
    with torch.no_grad():
        for batch in batches:
            with suppress(Stop):
                model(batch)
    handle.remove()


def decode(stimuli: tv.StimulusSet, preprocessing: tv.Preprocessing) -> None:
    for row in range(len(stimuli)):
        preprocess(preprocessing, stimuli.image(row))


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(name: str, module: str, images: Path, rounds: int) -> None:
    network = tv.load_model(f"torchvision/{name}", pretrained=False, seed=0)
    stimuli = tv.load_stimuli(images)
    model = get_model(name, weights=None).eval()
    transform = get_model_weights(name).DEFAULT.transforms()
    pixels = [preprocess(network.preprocessing, stimuli.image(row)) for row in range(len(stimuli))]
    batches = [
        torch.from_numpy(np.stack(pixels[start : start + BATCH])).permute(0, 3, 1, 2)
        for start in range(0, len(pixels), BATCH)
    ]
    del pixels
    seconds: dict[str, list[float]] = {"ours": [], "plain": [], "bare": [], "decoding": []}
    for number in range(rounds + 1):  # the first round warms up
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            found = {
                "ours": timed(
                    lambda out=out: tv.extract_features(
                        network, stimuli, module, out=out / "ours", batch_size=BATCH,
                        progress=False,
                    )
                ),
                "plain": timed(lambda out=out: plain(model, module, transform, images, out)),
                "bare": timed(lambda: bare(network.model, module, batches)),
                "decoding": timed(lambda: decode(stimuli, network.preprocessing)),
            }  # fmt: skip
            for key, value in found.items() if number else ():
                seconds[key].append(value)
            shutil.rmtree(out / "ours")
    median = {key: statistics.median(values) for key, values in seconds.items()}
    spread = {key: f"{min(values):.2f}–{max(values):.2f}" for key, values in seconds.items()}
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["plain"], strict=True)]
    bounds = [
        ours / (forward + decoding / CORES)
        for ours, forward, decoding in zip(
            seconds["ours"], seconds["bare"], seconds["decoding"], strict=True
        )
    ]
    times = " ".join(f"| {median[key]:.2f} ({spread[key]})" for key in seconds)
    print(
        f"| {name} `{module}` {times} | {statistics.median(ratios):.2f} | "
        f"{statistics.median(bounds):.2f} |",
        flush=True,
    )


def peak(name: str, module: str, images: Path) -> None:
    """Print this process's peak memory after an extraction, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        network = tv.load_model(f"torchvision/{name}", pretrained=False, seed=0)
        tv.extract_features(network, images, module, out=Path(folder) / "out", progress=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--peak", nargs=3, metavar=("MODEL", "MODULE", "IMAGES"))
    options = parser.parse_args()
    if options.peak:
        peak(options.peak[0], options.peak[1], Path(options.peak[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        cases = options.case or list(CASES)
        if options.memory:
            print("| network | 512 images, MB | 2,048 images, MB | difference |")
            print("| --- | --- | --- | --- |")
            few, many = Path(folder) / "few", Path(folder) / "many"
            make_images(few, 512)
            make_images(many, 2048)
            for name in cases:
                sizes = []
                for images in (few, many):
                    command = [sys.executable, __file__, "--peak", name, CASES[name], str(images)]
                    run = subprocess.run(command, capture_output=True, text=True, check=True)
                    sizes.append(float(run.stdout))
                print(f"| {name} | {sizes[0]:.0f} | {sizes[1]:.0f} | {sizes[1] - sizes[0]:.0f} |")
            return
        images = Path(folder) / "images"
        make_images(images, options.images)
        print(f"{options.images} JPEGs of 500 × 375, batch {BATCH}, {CORES} cores, seconds:\n")
        print("| case | ours | plain | bare | decoding | plain / ours | ours / bound |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in cases:
            compare(name, CASES[name], images, options.rounds)
        print("\nbound = bare + decoding ÷ cores; ratios are medians of the rounds' own ratios.")


if __name__ == "__main__":
    main()
