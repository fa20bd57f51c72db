"""Time RDMs: this project's against bare matrix products and against SciPy's pdist.

What is compared takes turns in one process, several rounds, and medians are given; a ratio is
the median of the rounds' own ratios, so that a machine that others load as well tells less lies.

Run it on a quiet machine::

    python benchmarks/rdm.py                        # correlation, euclidean, gaussian
    python benchmarks/rdm.py --case clustered       # many close pairs
    python benchmarks/rdm.py --stream 100000 --folder /scratch    # 20 GB to disk
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial.distance import pdist

import thingsvision as tv

Timed = dict[str, Callable[[], object]]


def take_turns(functions: Timed, rounds: int, warm_up: bool = True) -> dict[str, list[float]]:
    """Time functions in turn, after a first round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + warm_up):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def show(case: str, seconds: dict[str, list[float]]) -> None:
    """Print a row for each thing timed: seconds, and how many times as long as ours it takes."""
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, seconds["ours"], strict=False)]
        spread = f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(f"| {case} | {name} | {spread} | {ratio} |", flush=True)


def error(found: np.ndarray, true: np.ndarray) -> float:
    """Largest relative error, over pairs that are apart."""
    apart = true > 0
    return float(np.max(np.abs(found[apart] - true[apart]) / true[apart]))


def correlation(rounds: int) -> None:
    """Correlation against the general and the symmetric matrix product."""
    x = np.random.default_rng(0).standard_normal((10_000, 4_096), dtype=np.float32)
    y = x.copy()  # a product of two arrays is general
    functions: Timed = {
        "ours": lambda: tv.compute_rdm(x),
        "sgemm": lambda: x @ y.T,
        "ssyrk": lambda: x @ x.T,
    }
    show("correlation, 10,000 × 4,096", take_turns(functions, rounds))


def against_pdist(case: str, x: np.ndarray, rounds: int) -> None:
    """Euclidean and Gaussian against SciPy, with the error against its float64."""
    true = pdist(x)
    squared = np.square(true)
    kernel = -np.expm1(-squared / (2 * squared.sum() / len(x) ** 2))
    found = {name: tv.compute_rdm(x, name).dissimilarities for name in ("euclidean", "gaussian")}
    errors = {
        "euclidean": error(found["euclidean"], true),
        "gaussian": error(found["gaussian"], kernel),
    }
    close = float(np.mean(squared < 0.15 * 2 * np.square(x - x.mean(axis=0)).sum(axis=1).mean()))
    for name, worst in errors.items():
        functions: Timed = {"ours": lambda name=name: tv.compute_rdm(x, name)}
        functions["pdist"] = lambda: pdist(x)
        seconds = take_turns(functions, rounds, warm_up=False)
        show(f"{name}, {case} ({close:.2%} close), error {worst:.1e}", seconds)


def few_close(rounds: int) -> None:
    """Rows of noise, 40 of them others again with more and more noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4_000, 4_096), dtype=np.float32)
    noise = np.logspace(-5, 0, 40, dtype=np.float32)[:, None]
    x[-40:] = x[:40] + noise * rng.standard_normal((40, 4_096), dtype=np.float32)
    against_pdist("4,000 × 4,096", x, rounds)


def clustered(rounds: int) -> None:
    """Rows in 40 tight clusters, in random order."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 4_096), dtype=np.float32)
    x = centres[rng.integers(0, 40, 4_000)]
    x += 1e-2 * rng.standard_normal(x.shape, dtype=np.float32)
    against_pdist("4,000 × 4,096 in 40 clusters", x, rounds)


def stream(count: int, folder: Path) -> None:
    """Pairs to disk as they are computed."""
    x = np.random.default_rng(0).standard_normal((count, 512), dtype=np.float32)
    path = folder / "pairs.npy"
    start = time.perf_counter()
    rdm = tv.compute_rdm(x, out=path)
    seconds = time.perf_counter() - start
    size = path.stat().st_size / 1e9
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    pairs = np.random.default_rng(1).integers(0, count, (1_000, 2))
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    where = pairs[:, 0] * (2 * count - pairs[:, 0] - 1) // 2 + pairs[:, 1] - pairs[:, 0] - 1
    true = [1 - np.corrcoef(x[i].astype(float), x[j].astype(float))[0, 1] for i, j in pairs]
    worst = error(rdm.dissimilarities[where].astype(float), np.array(true))
    print(
        f"correlation, {count:,} × 512 to disk: {seconds:.0f} s, {size:.1f} GB written, peak "
        f"memory with the features {memory:.2f} GB, error {worst:.1e} in {len(pairs)} pairs"
    )
    path.unlink()


CASES = {"correlation": correlation, "few-close": few_close, "clustered": clustered}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stream", type=int, metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} beforehand\n")
    if options.stream:
        stream(options.stream, options.folder)
        return
    print("| case | what | seconds | times ours |")
    print("| --- | --- | --- | --- |")
    for name in options.case or ["correlation", "few-close", "clustered"]:
        CASES[name](options.rounds)
    print(f"\nload {os.getloadavg()[0]:.1f} afterwards")


if __name__ == "__main__":
    main()
