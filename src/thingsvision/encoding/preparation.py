"""What happens to features inside a fold: all of it is learnt from the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, unknown
from ..projection import Projection

REDUCTIONS = ("pca", "projection")


@dataclass(frozen=True)
class Preparation:
    """How features are brought before a regression.

    Parameters
    ----------
    reduction : {None, "pca", "projection"}
        Principal components of the training rows, or a sparse random projection.
    n_components : int
        What is left, if there are more.
    standardise : bool
        Whether each feature is brought to mean 0 and variance 1 in the training rows; features
        that are constant there are left out.
    seed : int
        Of the projection, and of PCA where it is computed by random directions.
    """

    reduction: str | None = None
    n_components: int = 100
    standardise: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.reduction is not None and self.reduction not in REDUCTIONS:
            raise unknown("reduction", self.reduction, REDUCTIONS, "None keeps all features.")
        if self.n_components < 1:
            raise InvalidArgument(f"n_components is {self.n_components}; at least 1 is needed.")

    @property
    def is_plain(self) -> bool:
        """Whether features stay as they are."""
        return self.reduction is None and not self.standardise

    def __call__(
        self, features: NDArray[Any], train: NDArray[np.intp], test: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Prepare training and test rows, centred by the mean of the training rows.

        Parameters
        ----------
        features : array, shape (n_stimuli, n_features)
        train, test : array of int
            Rows.

        Returns
        -------
        array, shape (n_train, n_left)
        array, shape (n_test, n_left)
        """
        fitted = np.asarray(features[train], np.float64)
        applied = np.asarray(features[test], np.float64)
        mean = fitted.mean(axis=0)
        fitted, applied = fitted - mean, applied - mean
        if self.standardise:
            deviation = fitted.std(axis=0)
            varying = deviation > 1e-7 * np.abs(mean) + np.finfo(float).tiny
            fitted = fitted[:, varying] / deviation[varying]
            applied = applied[:, varying] / deviation[varying]
        if self.reduction == "projection":
            matrix = Projection(fitted.shape[1], self.n_components, self.seed)
            if matrix.is_needed:
                fitted, applied = (np.asarray(matrix(x), np.float64) for x in (fitted, applied))
                mean = fitted.mean(axis=0)  # zero up to rounding
                fitted, applied = fitted - mean, applied - mean
        elif self.reduction == "pca":
            fitted, applied = self._components(fitted, applied)
        if not fitted.shape[1]:  # nothing varies: a feature that says nothing stands for all
            return np.zeros((len(fitted), 1)), np.zeros((len(applied), 1))
        return fitted, applied

    def _components(
        self, fitted: NDArray[np.float64], applied: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        from sklearn.decomposition import PCA

        count = min(self.n_components, len(fitted) - 1, fitted.shape[1])
        if count == 0 or not np.abs(fitted).max() > 0:
            return fitted[:, :0], applied[:, :0]
        pca = PCA(count, random_state=self.seed).fit(fitted)
        return pca.transform(fitted), pca.transform(applied)
