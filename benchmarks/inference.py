"""Time comparisons of RDMs and their bootstrap against SciPy and rsatoolbox.

The two sides take turns in one process; the ratio is that of their medians over the rounds.
Only public functions are timed, from arrays to a table or samples, checks included::

    python benchmarks/inference.py                # both parts
    python benchmarks/inference.py --part compare
    python benchmarks/inference.py --part bootstrap --comparison pearson --rounds 3

compare    100 model RDMs with 16 subjects of 92 stimuli: `compare_rdms`, and the loop over all
           pairs with SciPy
bootstrap  10 models, 8 subjects, 200 stimuli, 1,000 samples of the stimuli: `bootstrap`, and
           rsatoolbox's `eval_bootstrap_pattern`, which take the same samples; with the noise
           ceilings of the samples, as rsatoolbox does by default, and without
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

import thingsvision as tv

SCIPY = {"pearson": pearsonr, "spearman": spearmanr}
RSATOOLBOX = {"pearson": "corr", "cosine": "cosine", "spearman": "spearman"}


def rdms(count: int, n_stimuli: int, noise: float, seed: int) -> np.ndarray:
    """Make RDMs that share something, rows (count, n_pairs)."""
    shared = np.random.default_rng(0).normal(size=(n_stimuli, 10))
    rng = np.random.default_rng(seed)
    return np.stack(
        [pdist(shared + noise * rng.normal(size=shared.shape)) ** 2 for _ in range(count)]
    )


def alternate(
    sides: dict[str, Callable[[], np.ndarray]], rounds: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Let the sides take turns; give medians in seconds, and what they found in a first turn.

    As with timeit, a side that takes less than a tenth of a second does its work several times
    in a turn, and the mean is taken.
    """
    found, times = {}, {}
    for name, function in sides.items():
        found[name] = np.asarray(function())
        start = time.perf_counter()
        function()
        times[name] = max(1, min(50, round(0.1 / (time.perf_counter() - start))))
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            start = time.perf_counter()
            for _ in range(times[name]):
                function()
            taken[name].append((time.perf_counter() - start) / times[name])
    return {name: statistics.median(values) for name, values in taken.items()}, found


def compare(rounds: int) -> None:
    models, subjects = rdms(100, 92, 1.0, 1), rdms(16, 92, 0.5, 2)
    print("| comparison | SciPy, s | ours, s | ratio | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for name, pair in SCIPY.items():

        def loop(pair: Callable = pair) -> list[list[float]]:
            return [[pair(a, b)[0] for b in subjects] for a in models]

        def ours(name: str = name) -> Any:
            return tv.compare_rdms(models, subjects, name)

        took, found = alternate({"scipy": loop, "ours": ours}, rounds)
        off = np.abs(found["scipy"] - found["ours"]).max()
        print(
            f"| {name} | {took['scipy']:.3f} | {took['ours']:.4f} | "
            f"{took['scipy'] / took['ours']:.0f} | {off:.0e} |",
            flush=True,
        )


def bootstrap(names: list[str], rounds: int, n_resamples: int) -> None:
    import rsatoolbox
    from rsatoolbox.inference import evaluate

    n_stimuli = 200
    models, subjects = rdms(10, n_stimuli, 1.0, 1), rdms(8, n_stimuli, 0.5, 2)
    evaluate.tqdm.trange = range  # no progress bar
    fixed = [rsatoolbox.model.ModelFixed(str(n), row) for n, row in enumerate(models)]
    data = rsatoolbox.rdm.RDMs(subjects)
    np.random.seed(0)  # noqa: NPY002 - what rsatoolbox draws from
    drawn = [np.random.randint(0, n_stimuli, n_stimuli) for _ in range(n_resamples)]  # noqa: NPY002
    print(
        "| comparison | ceilings | rsatoolbox, s | ours, s | ratio | ours, float32, s | ratio |",
        end="",
    )
    print(" difference | float32 |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        method = RSATOOLBOX[name]
        for ceilings in (False, True):

            def theirs(method: str = method, ceilings: bool = ceilings) -> np.ndarray:
                np.random.seed(0)  # noqa: NPY002
                found = evaluate.eval_bootstrap_pattern(
                    fixed, data, method=method, N=n_resamples, boot_noise_ceil=ceilings
                )
                return found.evaluations

            def ours(
                dtype: str = "float64", name: str = name, ceilings: bool = ceilings
            ) -> np.ndarray:
                found = tv.bootstrap(
                    models, subjects, name, "stimuli",
                    draws={"stimuli": np.array(drawn)}, ceilings=ceilings, dtype=dtype,
                )  # fmt: skip
                return found.samples["stimuli"]

            def ours32(ours: Callable = ours) -> np.ndarray:
                return ours("float32")

            took, found = alternate({"theirs": theirs, "ours": ours, "ours32": ours32}, rounds)
            off = {key: np.abs(found[key] - found["theirs"]).max() for key in ("ours", "ours32")}
            print(
                f"| {name} | {'yes' if ceilings else 'no'} | {took['theirs']:.1f} | "
                f"{took['ours']:.2f} | {took['theirs'] / took['ours']:.0f} | "
                f"{took['ours32']:.2f} | {took['theirs'] / took['ours32']:.0f} | "
                f"{off['ours']:.0e} | {off['ours32']:.0e} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=("compare", "bootstrap"), action="append")
    parser.add_argument("--comparison", choices=RSATOOLBOX, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{len(os.sched_getaffinity(0))} cores, medians of {options.rounds} rounds\n")
    parts = options.part or ["compare", "bootstrap"]
    if "compare" in parts:
        compare(options.rounds)
        print()
    if "bootstrap" in parts:
        names = options.comparison or list(RSATOOLBOX)
        bootstrap(names, options.rounds, options.resamples)


if __name__ == "__main__":
    main()
