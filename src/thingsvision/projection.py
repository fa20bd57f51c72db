"""Sparse random projection: few features whose distances are nearly those of many."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from operator import index
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
    :math:`s = \sqrt d`. Squared distances keep their expectation; for a difference :math:`u`
    the variance of their relative error is :math:`(2 + (s - 3) \sum u_j^4 / (\sum u_j^2)^2) / k`
    (Li, Hastie & Church 2006, doi:10.1145/1150402.1150436, lemma 1; after Achlioptas 2003,
    doi:10.1016/S0022-0000(03)00025-4). Where the difference is spread over many more than
    :math:`s / 2` features, the second term vanishes, and the standard deviation is about
    :math:`\sqrt{2 / k}`, that of distances half of it, :math:`1 / \sqrt{2 k}`. Where fewer
    features make up the difference, the error is larger than that.

    It draws about :math:`k \sqrt d` entries of eight bytes once, and a batch costs as many
    multiplications for each stimulus and a copy of itself in memory.

    Parameters
    ----------
    n_features : int
        What an activation has, laid out in one row: ``d``.
    n_components : int
        What is left: ``k``. If ``d`` is no larger, rows are kept as they are.
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
    def is_needed(self) -> bool:
        """Whether there are more features than shall be left."""
        return self.n_features > self.n_components

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result for one stimulus."""
        return (min(self.n_features, self.n_components),)

    @property
    def distance_error(self) -> float:
        """Expected standard deviation of the relative error of distances."""
        return 1 / sqrt(2 * self.n_components) if self.is_needed else 0.0

    @cached_property
    def matrix(self) -> Any:
        """The matrix, sparse, float32, shape ``(n_components, n_features)``."""
        from sklearn.random_projection import SparseRandomProjection

        # Fitting looks at the shape alone; this needs no memory.
        shape = np.broadcast_to(np.float32(0), (1, self.n_features))
        drawn = SparseRandomProjection(self.n_components, random_state=self.seed).fit(shape)
        return sparse.csr_matrix(drawn.components_, dtype=np.float32)

    def __call__(self, batch: Any) -> Any:
        """Project a batch, shape ``(n_stimuli, ...)``; tensors of PyTorch on their device.

        The processor adds up each number in one fixed order, so that the same come out to the
        bit whatever other rows are in the batch. CUDA adds in float64, in an order of its own,
        and rounds to float32.
        """
        rows = flatten(batch)
        if not self.is_needed:
            return rows
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(rows, torch.Tensor):
            rows = np.asarray(rows, np.float32)
            return np.ascontiguousarray((self.matrix @ rows.T).T)
        if rows.device.type in ("cpu", "mps"):  # the latter has no sparse products
            return torch.from_numpy(self(rows.float().cpu().numpy()))
        return self._on_device(rows, torch)

    def _on_device(self, rows: Any, torch: Any) -> Any:
        if rows.device not in self._placed:
            matrix = self.matrix.astype(np.float64)
            parts = (
                torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # on the state of sparse tensors
                made = torch.sparse_csr_tensor(*parts, matrix.shape)
            self._placed[rows.device] = made.to(rows.device)
        return self._placed[rows.device].matmul(rows.double().T).T.float().contiguous()

    @cached_property
    def _placed(self) -> dict[Any, Any]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Give the values as they are written to ``meta.json``."""
        return {
            "features": self.n_features,
            "components": self.n_components,
            "seed": self.seed,
            "projected": self.is_needed,
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
        Of all modules that were asked to have fewer features, those that have few already too.
        Modules of equal size share one.

    Raises
    ------
    InvalidArgument
        If a number is less than 1, or a pattern matches no module.
    """
    reductions, projections = dict(bound), {}
    shared: dict[Projection, Projection] = {}
    for address, count in chosen_for("project", list(bound), project).items():
        if count is None:
            continue
        first = bound[address]
        wanted = Projection(int(np.prod(first.shape, dtype=np.int64)), _components(count), seed)
        last = projections[address] = shared.setdefault(wanted, wanted)
        reductions[address] = BoundReduction(
            first.name, _one_after_the_other(first.apply, last), ("stimulus", "feature"),
            last.shape,
        )  # fmt: skip
    return reductions, projections


def _components(count: Any) -> int:
    with suppress(TypeError):
        if not isinstance(count, bool) and index(count) >= 1:
            return index(count)
    raise InvalidArgument(f"project is {count!r}; it is a number of features, at least 1.")


def _one_after_the_other(first: Reduce | None, then: Reduce) -> Reduce:
    return then if first is None else lambda batch: then(first(batch))
