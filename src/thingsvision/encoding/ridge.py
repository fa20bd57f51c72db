"""Ridge and banded ridge regression of many targets at once, by himalaya.

With at least as many training rows as features the coefficients of features are solved for, else
those of stimuli, by the kernel of inner products; both give the same predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import unknown
from ..folds import Folds
from ..optional import require

BACKENDS = ("numpy", "torch", "torch_cuda", "cupy")
GRID = np.logspace(-5, 5, 21)  # of penalties, in units of the features' total variance
SMALLEST_SHARE = 1e-6
SMALL = 600**2  # numbers in a matrix to be decomposed
ROOM = 2**23  # numbers that himalaya lays out for several penalties and targets at once

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Training and test rows of one or several bands of features, centred by the training rows.

    Parameters
    ----------
    train, test : list of array
        Of each band: features (n_train, n_features) and (n_test, n_features), or
        kernels (n_train, n_train) and (n_test, n_train).
    is_kernel : bool
        Which of the two.
    """

    train: Sequence[Array]
    test: Sequence[Array]
    is_kernel: bool

    def mean_square(self, band: int) -> float:
        """Mean squared length of the training rows of a band: its total variance."""
        rows = self.train[band]
        total = np.trace(rows) if self.is_kernel else np.square(rows).sum()
        return float(total / len(rows)) or 1.0

    def equalised(self) -> Problem:
        """Scale the bands to a total variance of 1 each."""
        scales = [self.mean_square(band) for band in range(len(self.train))]
        if not self.is_kernel:
            scales = [float(np.sqrt(scale)) for scale in scales]
        return Problem(
            [rows / scale for rows, scale in zip(self.train, scales, strict=True)],
            [rows / scale for rows, scale in zip(self.test, scales, strict=True)],
            self.is_kernel,
        )


@dataclass(frozen=True)
class Solution:
    """What a fit on the training rows gives for a block of targets.

    Parameters
    ----------
    predicted : array, shape (n_test, n_targets)
        Of centred responses.
    alphas : array, shape (n_targets,)
        Penalty of each target.
    shares : array, shape (n_bands, n_targets)
        Weight of each band; they sum to 1.
    loss : array, shape (n_targets,)
        Mean squared error in the inner folds.
    """

    predicted: Array
    alphas: Array
    shares: Array
    loss: Array


def problem_of_features(train: Sequence[Array], test: Sequence[Array]) -> Problem:
    """Take features as they are, or their kernels where there are more features than rows.

    Parameters
    ----------
    train, test : list of array, shapes (n_train, n_features) and (n_test, n_features)
        Of each band, centred by the training rows.
    """
    if sum(rows.shape[1] for rows in train) <= len(train[0]):
        return Problem(train, test, False)
    return Problem(
        [rows @ rows.T for rows in train],
        [other @ rows.T for rows, other in zip(train, test, strict=True)],
        True,
    )


def problem_of_kernels(
    kernels: Sequence[Array], train: NDArray[np.intp], test: NDArray[np.intp]
) -> Problem:
    """Cut kernels of all rows into training and test, centred by the training rows alone.

    Parameters
    ----------
    kernels : list of array, shape (n_stimuli, n_stimuli)
        Inner products of features.
    train, test : array of int
        Rows.
    """
    fitted, applied = [], []
    for kernel in kernels:
        inside, outside = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
        mean = inside.mean(axis=0)
        fitted.append(inside - mean - mean[:, None] + mean.mean())
        applied.append(outside - mean - outside.mean(axis=1, keepdims=True) + mean.mean())
    return Problem(fitted, applied, True)


def kernel_of(features: NDArray[Any], block: int = 2**24) -> Array:
    """Compute inner products of all rows in float64, a block of features at a time.

    Features are centred first; the result is the same once it is centred in a fold, but exact.

    Parameters
    ----------
    features : array, shape (n_stimuli, n_features)
    block : int
        How many numbers are converted at once.

    Returns
    -------
    array, shape (n_stimuli, n_stimuli)
    """
    count, width = features.shape
    kernel = np.zeros((count, count))
    step = max(1, block // max(1, count))
    for start in range(0, width, step):
        part = np.array(features[:, start : start + step], np.float64)
        part -= part.mean(axis=0)
        kernel += part @ part.T
    return kernel


def solve(
    problem: Problem,
    responses: Array,
    inner: Folds,
    alphas: NDArray[np.float64] | None,
    shares: NDArray[np.float64] | None,
    backend: str = "numpy",
) -> Solution:
    """Fit targets on the training rows and predict the test rows.

    Parameters
    ----------
    problem : Problem
        Features or kernels.
    responses : array, shape (n_train, n_targets)
        Of the training rows, centred.
    inner : list of (train, test)
        Folds among the training rows, by which penalty and shares are chosen.
    alphas : array, shape (n_alphas,), optional
        Penalties to choose from; else a grid around the features' total variance.
    shares : array, shape (n_candidates, n_bands), optional
        Weights of bands to choose from, each row summing to 1. Bands are first scaled to equal
        variance. None is ordinary ridge of one band.
    backend : str
        Of himalaya.

    Returns
    -------
    Solution
    """
    if shares is not None:
        problem = problem.equalised()
    unit = 1.0 if shares is not None else problem.mean_square(0)
    penalties = np.sort(GRID * unit if alphas is None else np.asarray(alphas, np.float64))
    weights = np.ones((1, 1)) if shares is None else shares
    with _backend(backend) as himalaya, _threads(problem):
        fit = _fit_kernels if problem.is_kernel else _fit_features
        predicted, chosen, loss = fit(problem, responses, inner, penalties, weights, himalaya)
    parts = np.exp(chosen)  # share / penalty
    found = 1 / parts.sum(axis=0)
    nearest = np.abs(np.log(penalties)[:, None] - np.log(found)).argmin(axis=0)
    return Solution(predicted, penalties[nearest], parts * found, loss)


def candidate_shares(n_bands: int, count: int, seed: int) -> Array:
    """Draw weights of bands to choose from: equal ones, each band nearly alone, and random ones.

    Parameters
    ----------
    n_bands, count : int
        Numbers of columns, and of rows beyond those that are always there.
    seed : int
        Of the draws, alternately from Dirichlet distributions of concentration 0.1 and 1.

    Returns
    -------
    array, shape (1 + n_bands + count, n_bands)
        Rows sum to 1.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.dirichlet(np.full(n_bands, (0.1, 1.0)[number % 2])) for number in range(count)]
    rows = np.vstack([np.full((1, n_bands), 1 / n_bands), np.eye(n_bands), *drawn])
    rows = np.maximum(rows, SMALLEST_SHARE)  # himalaya divides by them
    result: Array = rows / rows.sum(axis=1, keepdims=True)
    return result


def _fit_kernels(
    problem: Problem, responses: Array, inner: Folds, alphas: Array, shares: Array, backend: Any
) -> tuple[Array, Array, Array]:
    kernel_ridge = require("himalaya").kernel_ridge
    numbers = [backend.asarray(np.asarray(item)) for item in (alphas, shares, responses)]
    kernels = backend.asarray(np.stack(problem.train))
    deltas, dual, scores, _ = kernel_ridge.solve_multiple_kernel_ridge_random_search(
        kernels, numbers[2], n_iter=numbers[1], alphas=numbers[0], cv=inner, fit_intercept=True,
        return_weights="dual", progress_bar=False,
        **_at_once(problem, len(alphas), responses.shape[1]),
    )  # fmt: skip
    deltas, dual, scores = (backend.to_numpy(item) for item in (deltas, dual, scores))
    predicted = sum(
        np.exp(delta) * (rows @ dual) for rows, delta in zip(problem.test, deltas, strict=True)
    )
    return np.asarray(predicted), deltas, -scores.max(axis=0)


def _fit_features(
    problem: Problem, responses: Array, inner: Folds, alphas: Array, shares: Array, backend: Any
) -> tuple[Array, Array, Array]:
    ridge = require("himalaya").ridge
    numbers = [backend.asarray(np.asarray(item)) for item in (alphas, shares, responses)]
    bands = [backend.asarray(rows) for rows in problem.train]
    deltas, coefficients, scores, _ = ridge.solve_group_ridge_random_search(
        bands, numbers[2], n_iter=numbers[1], alphas=numbers[0], cv=inner, fit_intercept=True,
        return_weights=True, progress_bar=False, warn=False,
        **_at_once(problem, len(alphas), responses.shape[1]),
    )  # fmt: skip
    deltas, coefficients, scores = (
        backend.to_numpy(item) for item in (deltas, coefficients, scores)
    )
    predicted = np.concatenate(problem.test, axis=1) @ coefficients
    return predicted, deltas, -scores.max(axis=0)


def _at_once(problem: Problem, n_alphas: int, n_targets: int) -> dict[str, int]:
    """Say for how many penalties, and of them for how many targets, there is room at once.

    Penalties come first: himalaya copies the responses anew for each lot of them.
    """
    rows, width = len(problem.train[0]), sum(part.shape[1] for part in problem.train)
    alphas = min(n_alphas, max(1, ROOM // (rows * max(rows, width))))
    return {
        "n_alphas_batch": alphas,
        "n_targets_batch": min(n_targets, max(1, ROOM // (alphas * rows))),
    }


def _threads(problem: Problem) -> AbstractContextManager[Any]:
    """Let small decompositions run in one thread: several are many times slower at them."""
    rows, columns = len(problem.train[0]), sum(part.shape[1] for part in problem.train)
    if rows * columns > SMALL:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


@contextmanager
def _backend(name: str) -> Iterator[Any]:
    """Let himalaya compute with a library, and leave its global setting as it was."""
    if name not in BACKENDS:
        raise unknown("backend of himalaya", name, BACKENDS)
    himalaya = require("himalaya").backend
    before = himalaya.get_backend().name
    try:
        yield himalaya.set_backend(name)
    finally:
        himalaya.set_backend(before)
