"""Run version 2 of thingsvision as its README teaches; for `extract.py`, which starts this file.

It runs under the Python of an environment that has thingsvision 2.7.3. The network is loaded once;
after that each line on standard input makes one extraction, and its seconds go to standard output.

    python version2.py IMAGES WEIGHTS SOURCE NETWORK OUT MODULE...
"""

from __future__ import annotations

import contextlib
import sys
import time
import types
from pathlib import Path

import torch
from thingsvision.utils.data import DataLoader, ImageDataset
from thingsvision.utils.storing import save_features

from thingsvision import get_extractor

# Its own networks import this package, one of them needs it; it is had from a git address only.
sys.modules.setdefault("clip", types.ModuleType("clip"))

BATCH = 32


def extract(extractor, images: str, modules: list[str], out: str) -> None:
    dataset = ImageDataset(
        root=images,
        out_path=out,
        backend=extractor.get_backend(),
        transforms=extractor.get_transformations(resize_dim=256, crop_dim=224),
    )
    batches = DataLoader(dataset=dataset, batch_size=BATCH, backend=extractor.get_backend())
    if len(modules) == 1:
        features = extractor.extract_features(
            batches=batches, module_name=modules[0], flatten_acts=True, output_type="ndarray"
        )
        save_features(features, out_path=out, file_format="npy")
        return
    features = extractor.extract_features(
        batches=batches, module_names=modules, flatten_acts=True, output_type="ndarray"
    )
    for name, array in features.items():
        save_features(array, out_path=str(Path(out) / name), file_format="npy")


def main() -> None:
    images, weights, source, name, out, *modules = sys.argv[1:]
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # it prints
        extractor = get_extractor(model_name=name, source=source, device="cpu", pretrained=False)
        extractor.model.load_state_dict(torch.load(weights))
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            extract(extractor, images, modules, out)
            print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
