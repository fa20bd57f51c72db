"""Time encoding models against himalaya used directly.

`fit_encoding` checks, joins by id, makes the folds, scores and records, and leaves the solving to
himalaya. The other side is what a person would write with himalaya alone: for each outer fold
centre by the training rows, fit with the same inner folds and penalties, predict and correlate.
The two take turns in one process; the ratio is the median over the rounds::

    python benchmarks/encoding.py                # all cases
    python benchmarks/encoding.py --case ridge --rounds 9

ridge    more stimuli than features: himalaya's `RidgeCV`
kernel   more features than stimuli: himalaya's `KernelRidgeCV`
bands    two modules: himalaya's `GroupRidgeCV` with the same weights of bands to choose from
targets  many targets; the blocks in which they are fitted against all at once
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import GroupRidgeCV, RidgeCV
from himalaya.scoring import correlation_score
from threadpoolctl import threadpool_limits

import thingsvision as tv
from thingsvision.encoding.ridge import candidate_shares
from thingsvision.folds import split

CASES = {  # stimuli, features of each module, targets
    "ridge": (600, (300,), 1_000),
    "kernel": (400, (10_000,), 1_000),
    "bands": (300, (60, 60), 100),
    "targets": (300, (100,), 20_000),
}
ALPHAS = np.logspace(0, 6, 13)
SHARES = 5
SEED = 0


def simulated(
    n_stimuli: int, widths: tuple[int, ...], n_targets: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Make features of modules, and responses with noise that the first ten components drive."""
    rng = np.random.default_rng(SEED)
    features = {f"m{k}": rng.normal(size=(n_stimuli, width)) for k, width in enumerate(widths)}
    driving = np.hstack([array[:, :10] for array in features.values()])
    signal = driving @ rng.normal(size=(driving.shape[1], n_targets))
    return features, signal + signal.std() * rng.normal(size=signal.shape)


def directly(case: str, features: dict[str, np.ndarray], responses: np.ndarray) -> np.ndarray:
    """Score responses with himalaya alone, shape (n_targets,)."""
    folds = split(len(responses), 5, 5, None, SEED)
    scores = []
    for (train, test), inner in zip(folds.outer, folds.inner, strict=True):
        means = {name: array[train].mean(axis=0) for name, array in features.items()}
        fitted = [features[name][train] - mean for name, mean in means.items()]
        given = [features[name][test] - mean for name, mean in means.items()]
        mean = responses[train].mean(axis=0)
        y = responses[train] - mean
        solver: Any
        if case == "bands":
            units = [np.sqrt(np.square(rows).sum() / len(rows)) for rows in fitted]
            fitted = [rows / unit for rows, unit in zip(fitted, units, strict=True)]
            given = [rows / unit for rows, unit in zip(given, units, strict=True)]
            shares = candidate_shares(len(features), SHARES, SEED)
            solver = GroupRidgeCV(
                "input", cv=inner, fit_intercept=True,
                solver_params={"n_iter": shares, "alphas": ALPHAS, "progress_bar": False,
                               "warn": False},
            )  # fmt: skip
            predicted = solver.fit(fitted, y).predict(given)
        elif case == "kernel":
            solver = KernelRidgeCV(ALPHAS, kernel="precomputed", cv=inner, fit_intercept=True)
            solver.fit(fitted[0] @ fitted[0].T, y)
            predicted = solver.predict(given[0] @ fitted[0].T)
        else:
            solver = RidgeCV(
                ALPHAS, cv=inner, fit_intercept=True, solver_params={"warn": False}
            ).fit(fitted[0], y)
            predicted = solver.predict(given[0])
        scores.append(correlation_score(responses[test], predicted + mean))
    result: np.ndarray = np.mean(scores, axis=0)
    return result


def ours(case: str, features: dict[str, np.ndarray], responses: np.ndarray) -> np.ndarray:
    result = tv.fit_encoding(
        features, responses, several="bands" if case == "bands" else "each", alphas=ALPHAS, cv=5,
        inner_cv=5, n_shares=SHARES, seed=SEED,
    )  # fmt: skip
    return result.score("pearson")


def measure(case: str, rounds: int) -> None:
    n_stimuli, widths, n_targets = CASES[case]
    features, responses = simulated(n_stimuli, widths, n_targets)
    sides: dict[str, Callable[..., np.ndarray]] = {"himalaya": directly, "ours": ours}
    found = {name: side(case, features, responses) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            side(case, features, responses)
            times[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(times["ours"], times["himalaya"], strict=True)]
    shape = f"{n_stimuli:,} × {' + '.join(f'{width:,}' for width in widths)}, {n_targets:,} targets"
    print(
        f"| {case}, {shape} | {_row(times['himalaya'])} | {_row(times['ours'])} | "
        f"{_row(ratios)} | {np.abs(found['ours'] - found['himalaya']).max():.0e} |",
        flush=True,
    )


def _row(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of linear algebra, for both sides")
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, medians of {options.rounds} rounds (range)\n")
    print("| case | himalaya, s | ours, s | ours / himalaya | largest difference of scores |")
    print("| --- | --- | --- | --- | --- |")
    with threadpool_limits(options.threads):
        for case in options.case or CASES:
            measure(case, options.rounds)


if __name__ == "__main__":
    main()
