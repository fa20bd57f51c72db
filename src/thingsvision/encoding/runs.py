"""Runs: one model fitted to all targets in all folds, a block of targets at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted, listing
from ..folds import Splitting
from .inputs import Inputs
from .preparation import Preparation
from .ridge import Problem, kernel_of, problem_of_features, problem_of_kernels, solve
from .scores import Sums


@dataclass(frozen=True)
class Run:
    """What one model gave in each fold."""

    sums: Sequence[Sums]
    alphas: NDArray[np.float64]  # (n_folds, n_targets)
    skill: NDArray[np.float64]  # 1 - loss in the inner folds / variance, (n_folds, n_targets)
    shares: NDArray[np.float64]  # (n_folds, n_bands, n_targets)
    n_features: int


@dataclass(frozen=True)
class Fit:
    """Fits models to all targets, block by block."""

    inputs: Inputs
    folds: Splitting
    alphas: NDArray[np.float64] | None
    prepare: Preparation
    block: int
    missing: str
    backend: str

    def run(self, names: Sequence[str], shares: NDArray[np.float64] | None) -> Run:
        """Fit one model, of one module or of several bands, in all folds."""
        bands = [self.inputs.features[name] for name in names]
        width, count = sum(band.shape[1] for band in bands), self.inputs.responses.shape[1]
        kernels = None
        if self.prepare.is_plain and width > min(len(train) for train, _ in self.folds.outer):
            kernels = [kernel_of(band) for band in bands]
        shape = (len(self.folds.outer), count)
        alphas, skill = np.full(shape, np.nan), np.full(shape, np.nan)
        weights = np.full((shape[0], len(bands), count), np.nan)
        sums = []
        for number, (train, test) in enumerate(self.folds.outer):
            problem = self._problem(bands, kernels, train, test)
            parts = []
            for start in range(0, count, self.block):
                here = slice(start, start + self.block)
                answers = np.array(self.inputs.responses[:, here], np.float64)
                present = self._present(answers, start)
                shift = np.where(present, answers.mean(axis=0), 0)
                predicted = np.full((len(test), answers.shape[1]), np.nan)
                mean = answers[train].mean(axis=0)
                centred = (answers[train] - mean)[:, present]
                if present.any():
                    found = solve(
                        problem, centred, self.folds.inner[number], self.alphas, shares,
                        self.backend,
                    )  # fmt: skip
                    predicted[:, present] = found.predicted + mean[present]
                    at = np.flatnonzero(present) + start
                    alphas[number, at], weights[number][:, at] = found.alphas, found.shares
                    variance = np.square(centred).mean(axis=0)
                    share = np.full(len(at), np.nan)
                    np.divide(found.loss, variance, out=share, where=variance > 0)
                    skill[number, at] = 1 - share
                parts.append(Sums.of(answers[test], predicted, shift))
            sums.append(Sums.joined(parts))
        return Run(sums, alphas, skill, weights, width)

    def _problem(
        self, bands: Sequence[NDArray[Any]], kernels: Sequence[NDArray[Any]] | None,
        train: NDArray[np.intp], test: NDArray[np.intp],
    ) -> Problem:  # fmt: skip
        if kernels is not None:
            return problem_of_kernels(kernels, train, test)
        pairs = [self.prepare(band, train, test) for band in bands]
        return problem_of_features([fitted for fitted, _ in pairs], [given for _, given in pairs])

    def _present(self, answers: NDArray[Any], start: int) -> NDArray[np.bool_]:
        """Say which targets of a block are finite."""
        finite = np.isfinite(answers).all(axis=0)
        if self.missing == "refuse" and not finite.all():
            names = self.inputs.target_names
            lost = [
                number + start if names is None else names[number + start]
                for number in np.flatnonzero(~finite)
            ]
            raise InvalidArgument(
                f"NaN or infinity in {counted(len(lost), 'target')} of the responses (of those "
                f"from {start} on): {listing(lost)}. Leave them without a score by "
                'missing="skip", or choose others by responses.select_targets(…).'
            )
        return np.asarray(finite)


def choose(runs: Sequence[Run], per_target: bool) -> NDArray[np.intp]:
    """Say which model did best in the inner folds, shape (n_folds, n_targets)."""
    skill = np.stack([run.skill for run in runs])
    known = np.where(np.isnan(skill), -np.inf, skill)
    if per_target:
        return np.asarray(known.argmax(axis=0))
    defined = np.isfinite(known).all(axis=0)
    mean = np.where(defined, known, 0).sum(axis=2)
    return np.broadcast_to(mean.argmax(axis=0)[:, None], skill.shape[1:])


def taken(runs: Sequence[Run], best: NDArray[np.intp]) -> Run:
    """Take from each fold what the model that was chosen there gave."""
    sums = [Sums.taken([run.sums[fold] for run in runs], which) for fold, which in enumerate(best)]
    alphas = np.take_along_axis(np.stack([run.alphas for run in runs]), best[None], axis=0)[0]
    skill = np.take_along_axis(np.stack([run.skill for run in runs]), best[None], axis=0)[0]
    return Run(sums, alphas, skill, runs[0].shares, max(run.n_features for run in runs))
