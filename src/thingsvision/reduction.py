"""What happens to an activation before it leaves the device.

A reduction takes a batch of activations, shape ``(n_stimuli, ...)``, of any
framework, and gives a smaller one. It must treat every row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import InvalidArgument, unknown
from .registry import matching


def flatten(batch: Any) -> Any:
    """Lay the activations of each stimulus out in one row, in C order.

    Parameters
    ----------
    batch : array or tensor, shape (n_stimuli, ...)

    Returns
    -------
    array or tensor, shape (n_stimuli, n_features)

    Examples
    --------
    >>> import numpy as np
    >>> flatten(np.zeros((2, 3, 4))).shape
    (2, 12)
    """
    # The count is spelled out: -1 is ambiguous for an array without elements.
    size = 1
    for length in batch.shape[1:]:
        size *= length
    return batch.reshape((batch.shape[0], size))


# name -> (function, names of the axes that it leaves)
REDUCTIONS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "flatten": (flatten, ("stimulus", "feature")),
}

Reduction = str | Mapping[str, str] | None


def reduction_for(module: str, reduction: Reduction) -> str | None:
    """Find the reduction of one module.

    Parameters
    ----------
    module : str
        Address of the module.
    reduction : str, dict of pattern to str, or None
        One name for all modules, or a name for each pattern (the first that matches).

    Returns
    -------
    str or None
        A name in `REDUCTIONS`; None keeps the shape.

    Raises
    ------
    InvalidArgument
        If there is no reduction of that name.

    Examples
    --------
    >>> reduction_for("features.3", {"features.*": "flatten"})
    'flatten'
    """
    if isinstance(reduction, Mapping):
        name = next((n for p, n in reduction.items() if matching(p, [module])), None)
    elif reduction is None or isinstance(reduction, str):
        name = reduction
    else:
        raise InvalidArgument(
            f"reduction is {reduction!r}; allowed are None, a name, or {{pattern: name}}."
        )
    if name is not None and name not in REDUCTIONS:
        raise unknown("reduction", name, REDUCTIONS)
    return name
