"""Time the main job: a folder of JPEGs in, flattened activations of modules on disk as npy.

These take turns, several rounds, and medians are given:

ours      ``extract_features`` as it comes: float32, to an npy store
version 2 thingsvision 2.7.3 in its own environment, driven as its README teaches; where none is
          given the loop as most people write it: a DataLoader without workers, PIL transforms, the
          full forward pass with a hook, ``torch.cat`` and ``np.save``
bare      the forward pass alone, up to the deepest module, on preprocessed batches in memory, with
          the settings that ours chose
decoding  reading, decoding and preprocessing alone, in one thread
bfloat16  ours with ``precision="bfloat16"``, where the processor has it

Run it on a quiet machine::

    python -m venv old && old/bin/pip install thingsvision==2.7.3
    python benchmarks/extract.py --version2 old/bin/python          # the table
    python benchmarks/extract.py --version2 old/bin/python --quick  # 96 images, 2 rounds
    python benchmarks/extract.py --memory            # peak memory at 512 and at 2,048 images
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import thingsvision as tv
from thingsvision.errors import InvalidArgument
from thingsvision.forward import choose_forward
from thingsvision.memory_use import used_memory
from thingsvision.planning import plan
from thingsvision.preprocessing import preprocess

HERE = Path(__file__).parent
PHOTOGRAPHS = HERE.parent / "src" / "thingsvision" / "demo" / "photographs"
BATCH = 32
CORES = torch.get_num_threads()


@dataclass(frozen=True)
class Case:
    name: str
    source: str
    model: str
    modules: tuple[str, ...]
    its_source: str = "torchvision"
    its_model: str = ""

    @property
    def label(self) -> str:
        return f"{self.model} {', '.join(f'`{module}`' for module in self.modules)}"


STAGES = ("layer1", "layer2", "layer3", "layer4", "avgpool")
CASES = {
    case.name: case
    for case in (
        Case("alexnet", "torchvision", "alexnet", ("features.10",)),
        Case("resnet50", "torchvision", "resnet50", ("layer2",)),
        Case("vgg16", "torchvision", "vgg16", ("features.9",)),
        Case("vit", "torchvision", "vit_b_16", ("encoder.layers.encoder_layer_3",)),
        Case("cornet", "cornet", "cornet_s", ("V2.output",), "custom", "cornet-s"),
        Case("five", "torchvision", "resnet50", STAGES),
    )
}


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


# The others


class Folder(Dataset):
    """What most people write."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.jpg"))
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(Image.open(self.files[row]).convert("RGB"))


def plain(model: torch.nn.Module, modules: tuple[str, ...], images: Path, out: Path) -> float:
    """The loop as most people write it."""
    start = time.perf_counter()
    model.eval()
    kept: dict[str, torch.Tensor] = {}
    rows: dict[str, list[torch.Tensor]] = {module: [] for module in modules}
    handles = [
        model.get_submodule(module).register_forward_hook(
            lambda _, args, output, module=module: kept.update({module: output.clone()})
        )
        for module in modules
    ]
    with torch.no_grad():
        for batch in DataLoader(Folder(images), batch_size=BATCH):
            model(batch)
            for module in modules:
                rows[module].append(kept[module].flatten(1))
    for handle in handles:
        handle.remove()
    for module in modules:
        folder = out if len(modules) == 1 else out / module
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "features.npy", torch.cat(rows[module]).numpy())
    return time.perf_counter() - start


@contextmanager
def version2(
    python: str, case: Case, network: tv.Network, images: Path, out: Path, log: Path
) -> Iterator[Callable[[], float]]:
    """Start version 2 with the same weights; each call makes one extraction."""
    weights = out.parent / "weights.pth"
    torch.save(network.model.state_dict(), weights)
    name = case.its_model or case.model
    command = [python, str(HERE / "version2.py"), str(images), str(weights), case.its_source, name,
               str(out), *case.modules]  # fmt: skip
    # Which might lead it to this version.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=environment,
        ) as process,
    ):  # fmt: skip
        assert process.stdin is not None and process.stdout is not None

        def answer() -> str:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"Version 2 has failed:\n{log.read_text()[-2000:]}")
            return line

        assert answer().strip() == "ready"

        def run() -> float:
            process.stdin.write("\n")
            process.stdin.flush()
            return float(answer())

        try:
            yield run
        finally:
            process.stdin.close()


# Ours, and what bounds it


def ours(
    network: tv.Network, stimuli: tv.StimulusSet, case: Case, out: Path, **options: object
) -> float:
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    tv.extract_features(
        network, stimuli, list(case.modules), out=out, flatten=True, batch_size=BATCH,
        progress=False, **options,
    )  # fmt: skip
    return time.perf_counter() - start


class Bare:
    """The forward pass alone, with the settings that ours chose."""

    class Stop(BaseException):
        pass

    def __init__(self, network: tv.Network, stimuli: tv.StimulusSet, case: Case) -> None:
        work = plan(network, stimuli, list(case.modules), batch_size=BATCH)
        self.way = choose_forward(work).options["way"]
        self.model, self.case = network.model.eval(), case
        last = max(work.captures, key=lambda capture: capture.order)
        self.deepest, self.calls = last.module, last.call + 1
        rows = self.way.rows or BATCH
        pixels = [
            preprocess(network.preprocessing, stimuli.image(row)) for row in range(len(stimuli))
        ]
        self.batches = [
            torch.from_numpy(np.stack(pixels[start : start + rows])).permute(0, 3, 1, 2)
            for start in range(0, len(pixels), rows)
        ]
        if not self.way.channels_last:
            self.batches = [batch.contiguous() for batch in self.batches]

    def run(self) -> float:
        start = time.perf_counter()
        calls = 0

        def stop(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == self.calls:
                raise Bare.Stop

        handle = self.model.get_submodule(self.deepest).register_forward_hook(stop)
        with torch.no_grad():
            for batch in self.batches:
                calls = 0
                try:
                    with self.way.taken("cpu"):
                        self.model(batch)
                except Bare.Stop:
                    pass
        handle.remove()
        return time.perf_counter() - start


def decode(stimuli: tv.StimulusSet, preprocessing: tv.Preprocessing) -> float:
    start = time.perf_counter()
    for row in range(len(stimuli)):
        preprocess(preprocessing, stimuli.image(row))
    return time.perf_counter() - start


# Tables


def has_bfloat16(network: tv.Network) -> bool:
    try:
        network.backend.check_precision("bfloat16")
    except InvalidArgument:
        return False
    return True


def compare(case: Case, images: Path, folder: Path, options: argparse.Namespace) -> list[float]:
    """Print a row; give how many times as long the other, and it and bfloat16, took."""
    network = tv.load_model(f"{case.source}/{case.model}", pretrained=False, seed=0, device="cpu")
    network = network.preprocessed(resize=256, crop=224, interpolation="bilinear")
    stimuli = tv.load_stimuli(images)
    other = folder / "other"
    bare = Bare(network, stimuli, case)
    with ExitStack() as stack:
        turns: dict[str, Callable[[], float]] = {
            "ours": lambda: ours(network, stimuli, case, folder / "ours")
        }
        if options.version2:
            turns["other"] = stack.enter_context(
                version2(options.version2, case, network, images, other, folder / "log.txt")
            )
        else:
            turns["other"] = lambda: plain(network.model, case.modules, images, other)
        turns["bare"] = bare.run
        turns["decoding"] = lambda: decode(stimuli, network.preprocessing)
        if has_bfloat16(network):
            turns["bfloat16"] = lambda: ours(
                network, stimuli, case, folder / "half", precision="bfloat16"
            )
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(options.rounds + 1):  # the first round warms up
            for name, turn in turns.items():
                taken = turn()
                seconds[name] += [taken] if number else []
    median = {name: statistics.median(values) for name, values in seconds.items()}
    cells = [f"{median[name]:.2f} ({min(values):.2f}–{max(values):.2f})"
             for name, values in seconds.items()]  # fmt: skip
    cells += [""] if "bfloat16" not in turns else []
    ratios = [_ratio(seconds["other"], seconds["ours"])]
    bound = [a + b / CORES for a, b in zip(seconds["bare"], seconds["decoding"], strict=True)]
    cells += [f"{ratios[0]:.2f}", f"{_ratio(seconds['ours'], bound):.2f}"]
    if "bfloat16" in turns:
        ratios.append(_ratio(seconds["other"], seconds["bfloat16"]))
        cells.append(f"{ratios[1]:.2f}")
    cells += agreement(case, folder, other)
    print(f"| {case.label} | {' | '.join(cells)} |", flush=True)
    for name in ("ours", "half", "other"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return ratios


def _ratio(these: list[float], those: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(these, those, strict=True))


def agreement(case: Case, folder: Path, other: Path) -> list[str]:
    """Compare what was written: with the other's arrays, and the RDMs of bfloat16 with float32."""
    gaps, correlations = [], []
    for module in case.modules:
        mine = np.load(folder / "ours" / f"{module}.npy", mmap_mode="r")
        place = other if len(case.modules) == 1 else other / module
        its = np.load(place / "features.npy", mmap_mode="r")
        rows = slice(0, 64)
        gaps.append(float(np.abs(mine[rows] - its[rows]).max() / np.abs(its[rows]).max()))
        if (folder / "half").exists():
            half = np.load(folder / "half" / f"{module}.npy", mmap_mode="r")
            rdms = [tv.compute_rdm(np.array(array[:128])) for array in (mine, half)]
            correlations.append(tv.compare_rdms(*rdms, comparison="pearson"))
    lowest = f"{float(np.min([np.asarray(c) for c in correlations])):.5f}" if correlations else ""
    return [f"{max(gaps):.0e}", lowest]


def peak(case: Case, images: Path) -> None:
    """Print what this process takes with the network loaded, and at most later, in MB."""
    network = tv.load_model(f"{case.source}/{case.model}", pretrained=False, seed=0)
    stimuli = tv.load_stimuli(images)
    loaded = used_memory() or 0
    with tempfile.TemporaryDirectory() as folder:
        ours(network, stimuli, case, Path(folder) / "out")
    print(loaded / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def show_memory(names: list[str], folder: Path) -> None:
    print("| case | network loaded, MB | peak, 512 images, MB | peak, 2,048 images, MB |")
    print("| --- | --- | --- | --- |")
    few, many = folder / "few", folder / "many"
    make_images(few, 512)
    make_images(many, 2048)
    for name in names:
        peaks = []
        for images in (few, many):
            command = [sys.executable, __file__, "--peak", name, str(images)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            loaded, most = map(float, run.stdout.split())
            peaks.append(f"{most:.0f} ({most - loaded:.0f} more)")
        print(f"| {CASES[name].label} | {loaded:.0f} | {peaks[0]} | {peaks[1]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="96 images, 2 rounds")
    parser.add_argument("--version2", metavar="PYTHON", help="of an environment with version 2")
    parser.add_argument("--folder", help="where images and arrays are written, up to 8 GB")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "IMAGES"))
    options = parser.parse_args()
    options.images = options.images or (96 if options.quick else 512)
    options.rounds = options.rounds or (2 if options.quick else 5)
    if options.peak:
        peak(CASES[options.peak[0]], Path(options.peak[1]))
        return
    names = options.case or list(CASES)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        if options.memory:
            show_memory(names, folder)
            return
        make_images(folder / "images", options.images)
        other = "version 2.7.3" if options.version2 else "plain loop"
        print(f"{options.images} JPEGs of 500 × 375, batch {BATCH}, {CORES} cores, "
              f"{options.rounds} rounds, seconds:\n")  # fmt: skip
        print(f"| case | ours | {other} | bare | decoding | bfloat16 | {other} / ours "
              f"| ours / bound | {other} / bfloat16 | deviation | RDM r of bfloat16 |")  # fmt: skip
        print("|" + " --- |" * 11)
        ratios = [compare(CASES[name], folder / "images", folder, options) for name in names]
        print("\nbound = bare + decoding ÷ cores; ratios are medians of the rounds' own ratios.")
        for what, values in zip(("ours", "bfloat16"), zip(*ratios, strict=True), strict=False):
            print(f"Geometric mean of {other} / {what}: {statistics.geometric_mean(values):.2f}")


if __name__ == "__main__":
    main()
