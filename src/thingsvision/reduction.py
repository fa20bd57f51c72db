"""What happens to an activation before it leaves the device.

A reduction takes a batch of activations, shape ``(n_stimuli, ...)``, of any
framework, and gives a smaller one. It must treat every row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import InvalidArgument, listing, unknown
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


# Takes the activations of a batch, rows the stimuli, of any framework; gives fewer numbers.
Reduce = Callable[[Any], Any]

# name -> (function, names of the axes that it leaves)
REDUCTIONS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "flatten": (flatten, ("stimulus", "feature")),
}

Reduction = str | Mapping[str, str] | None


def reductions_for(modules: Sequence[str], reduction: Reduction) -> dict[str, str | None]:
    """Find the reduction of each module.

    Parameters
    ----------
    modules : sequence of str
        Addresses of the modules.
    reduction : str, dict of pattern to str, or None
        One name for all modules, or a name for each pattern (the first that matches).

    Returns
    -------
    dict of str to str or None
        Address → a name in `REDUCTIONS`; None keeps the shape.

    Raises
    ------
    InvalidArgument
        If there is no reduction of that name, or a pattern matches no module.

    Examples
    --------
    >>> reductions_for(["features.3", "fc"], {"features.*": "flatten"})
    {'features.3': 'flatten', 'fc': None}
    """
    if reduction is None or isinstance(reduction, str):
        rules: dict[str, str | None] = {"*": reduction}
    elif isinstance(reduction, Mapping):
        rules = dict(reduction)
    else:
        raise InvalidArgument(
            f"reduction is {reduction!r}; allowed are None, a name, or {{pattern: name}}."
        )
    for pattern, name in rules.items():
        if name is not None and name not in REDUCTIONS:
            raise unknown("reduction", str(name), REDUCTIONS)
        if not matching(pattern, list(modules)):
            raise InvalidArgument(
                f"reduction names {pattern!r}, which matches none of the modules: "
                f"{listing(list(modules))}."
            )
    return {
        module: next((name for p, name in rules.items() if matching(p, [module])), None)
        for module in modules
    }
