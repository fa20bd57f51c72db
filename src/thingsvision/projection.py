"""Sparse random projection: few features whose distances are nearly those of many."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
from scipy import sparse

from .errors import InvalidArgument
from .reduction import BoundReduction, Reduce, chosen_for, flatten


@dataclass(frozen=True)
class Projection:
    r"""A sparse random projection.

    Each new feature is a sum of few old ones with random signs, :math:`y = R x` with entries
    :math:`\pm\sqrt{s / k}`, each with probability :math:`1 / 2s`, else 0, and
    :math:`s = \sqrt d`. Squared distances keep their expectation; their relative error has a
    standard deviation of about :math:`\sqrt{2 / k}`, that of distances about
    :math:`1 / \sqrt{2 k}`. Both hold while no few features make up most of a difference
    (Achlioptas 2003, doi:10.1016/S0022-0000(03)00025-4; Li, Hastie & Church 2006,
    doi:10.1145/1150402.1150436).

    Parameters
    ----------
    n_features : int
        What an activation has, laid out in one row: ``d``.
    n_components : int
        What it gets: ``k``.
    seed : int
        Of the matrix, which depends on nothing but these three numbers.

    Examples
    --------
    >>> Projection(10_000, 100, 0)(np.ones((2, 10_000), np.float32)).shape
    (2, 100)
    """

    n_features: int
    n_components: int
    seed: int

    @property
    def distance_error(self) -> float:
        """Expected standard deviation of the relative error of distances."""
        return 1 / sqrt(2 * self.n_components)

    @property
    def matrix(self) -> Any:
        """The matrix, sparse, shape ``(n_components, n_features)``."""
        return _matrix(self.n_features, self.n_components, self.seed)

    def __call__(self, batch: Any) -> Any:
        """Project a batch, shape ``(n_stimuli, ...)``; tensors of PyTorch on their device.

        The same numbers come out whatever other rows are in the batch.
        """
        rows = flatten(batch)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(rows, torch.Tensor):
            if rows.device.type == "mps":  # which has no sparse products
                return torch.from_numpy(self(rows.cpu().numpy()))
            return _on_device(self, rows.device, torch).matmul(rows.float().T).T.contiguous()
        rows = np.asarray(rows, np.float32)
        return np.ascontiguousarray((self.matrix @ rows.T).T)

    def to_dict(self) -> dict[str, Any]:
        """Give the values as they are written to ``meta.json``."""
        return {
            "features": self.n_features,
            "components": self.n_components,
            "seed": self.seed,
            "relative error of distances (s.d.)": round(self.distance_error, 6),
        }


def bind_projections(
    bound: Mapping[str, BoundReduction], project: int | Mapping[str, int] | None, seed: int
) -> tuple[dict[str, BoundReduction], dict[str, Projection]]:
    """Let projections follow the reductions of modules.

    Parameters
    ----------
    bound : dict of str to BoundReduction
        By module address.
    project : int, dict of pattern to int, or None
        Number of features that are left, for all modules or for each pattern. Activations that
        have no more than that are laid out in one row and kept as they are.
    seed : int
        Of the projections.

    Returns
    -------
    reductions : dict of str to BoundReduction
        Reductions with what follows them.
    projections : dict of str to Projection
        Those that are applied.

    Raises
    ------
    InvalidArgument
        If a number is less than 1, or a pattern matches no module.
    """
    reductions, projections = {}, {}
    for address, count in chosen_for("project", list(bound), project).items():
        if count is None:
            reductions[address] = bound[address]
            continue
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidArgument(f"project is {count!r}; it is a number of features, at least 1.")
        first = bound[address]
        n_features = int(np.prod(first.shape, dtype=np.int64))
        last: Reduce = flatten
        if n_features > count:
            last = projections[address] = Projection(n_features, count, seed)
        reductions[address] = BoundReduction(
            first.name, _one_after_the_other(first.apply, last), ("stimulus", "feature"),
            (min(n_features, count),),
        )  # fmt: skip
    return reductions, projections


def _one_after_the_other(first: Reduce | None, then: Reduce) -> Reduce:
    return then if first is None else lambda batch: then(first(batch))


@lru_cache(maxsize=32)
def _matrix(n_features: int, n_components: int, seed: int) -> Any:
    from sklearn.random_projection import SparseRandomProjection

    # Fitting looks at the shape alone; this needs no memory.
    shape = np.broadcast_to(np.float32(0), (1, n_features))
    drawn = SparseRandomProjection(n_components, random_state=seed).fit(shape)
    return sparse.csr_matrix(drawn.components_, dtype=np.float32)


@lru_cache(maxsize=32)
def _on_device(projection: Projection, device: Any, torch: Any) -> Any:
    matrix = projection.matrix
    parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on the state of torch's sparse tensors
        return torch.sparse_csr_tensor(*parts, matrix.shape).to(device)
