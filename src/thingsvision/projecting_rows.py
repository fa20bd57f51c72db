"""Projections in the place of features whose dissimilarities are wanted, with their error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import e, sqrt
from typing import Any

import numpy as np

from .errors import InvalidArgument
from .plans import Plan
from .projection import Projection, bind_projections
from .reduction import Reduce, flatten

# Dissimilarity → standard deviation of its error with k features, and of what.
ERRORS: dict[str, tuple[Callable[[int], float], str]] = {
    # Of unit vectors (1 − r²) / √k.
    "correlation": (lambda k: 1 / sqrt(k), "error (s.d., at most)"),
    "cosine": (lambda k: 1 / sqrt(k), "error (s.d., at most)"),
    "euclidean": (lambda k: 1 / sqrt(2 * k), "relative error (s.d.)"),
    "squared_euclidean": (lambda k: sqrt(2 / k), "relative error (s.d.)"),
    # The error of D² / mean times the largest slope: q exp(−q) is at most 1 / e.
    "gaussian": (lambda k: sqrt(2 / k) / e, "error (s.d., at most)"),
}


@dataclass(frozen=True)
class Projected:
    """A plan whose activations are projected where that is asked for.

    Parameters
    ----------
    work : Plan
        What to extract.
    wanted : str
        The dissimilarity.
    """

    work: Plan
    wanted: str
    _needed: Mapping[str, int] = field(default_factory=dict)

    def dissimilarity(self, module: str, wanted: str) -> str:
        """Name what is computed of the rows: of centred ones, the cosine is the correlation."""
        return "cosine" if wanted == "correlation" and module in self._needed else wanted

    def explained(self, module: str, error: InvalidArgument) -> InvalidArgument:
        """Say of the wanted dissimilarity what an error says of the one that was computed."""
        problem = getattr(error, "problem", "")
        if problem.startswith("The cosine") and self.dissimilarity(module, self.wanted) != (
            self.wanted
        ):
            return InvalidArgument(
                str(error).replace(
                    problem,
                    "Correlation is undefined for features that are all equal. They are so for",
                )
            )
        return error

    def record(self, module: str) -> dict[str, Any]:
        """Give what the provenance of an RDM says of its projection."""
        if module not in self._needed:
            return {}
        k = self._needed[module]
        error, of_what = ERRORS[self.wanted]
        return {
            "projected": {
                "features": self.work.projections[module].n_features,
                "components": k,
                of_what: round(error(k), 6),
            }
        }


def projected(work: Plan, project: int | Mapping[str, int] | None, dissimilarity: str) -> Projected:
    """Let projections follow the reductions of a plan.

    The projection of a row has a mean of about zero whatever the mean of the row was, so the
    correlation of projections would be nearly the cosine of the rows. For correlations, rows are
    centred before.

    Parameters
    ----------
    work : Plan
        Without projections.
    project : int, dict of pattern to int, or None
        Number of features that are left.
    dissimilarity : str
        What is computed of the rows.

    Returns
    -------
    Projected

    Raises
    ------
    InvalidArgument
        If a number is less than 1, or a pattern matches no module.
    """
    reductions, projections = bind_projections(work.reductions, project, work.seed)
    needed = {name: one.n_components for name, one in projections.items() if one.is_needed}
    if dissimilarity == "correlation":
        for name in needed:
            apply = _centring(work.reductions[name].apply, projections[name])
            reductions[name] = replace(reductions[name], apply=apply)
    return Projected(
        replace(work, reductions=reductions, projections=projections), dissimilarity, needed
    )


def _centring(first: Reduce | None, last: Projection) -> Reduce:
    return lambda batch: last(centred(batch if first is None else first(batch)))


def centred(batch: Any) -> Any:
    """Subtract each row's mean; rows that are all equal become exactly zero.

    Parameters
    ----------
    batch : array or tensor, shape (n_stimuli, ...)
        Tensors of PyTorch stay on their device.

    Returns
    -------
    array or tensor, shape (n_stimuli, n_features)
        float32.

    Examples
    --------
    >>> centred(np.array([[1.0, 3.0], [0.1, 0.1]]))
    array([[-1.,  1.],
           [ 0.,  0.]], dtype=float32)
    """
    rows = flatten(batch)
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(rows, torch.Tensor):
        rows = np.asarray(rows, np.float32)
        varies = rows.max(axis=1, keepdims=True) != rows.min(axis=1, keepdims=True)
        found: Any = (rows - rows.mean(axis=1, keepdims=True, dtype=np.float64)) * varies
        return found.astype(np.float32)
    rows = rows.float()
    varies = rows.amax(dim=1, keepdim=True) != rows.amin(dim=1, keepdim=True)
    return (rows - rows.mean(dim=1, keepdim=True)) * varies
