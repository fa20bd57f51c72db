"""What happens to an activation before it leaves the device.

A reduction takes a batch of activations, shape ``(n_stimuli, ...)``, of any framework, and gives a
smaller one; it treats every row alone. Which axes it works on is told by their names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import einops
import numpy as np

from .errors import InvalidArgument, listing, unknown
from .registry import matching

# Takes the activations of a batch, rows the stimuli, of any framework; gives fewer numbers.
Reduce = Callable[[Any], Any]
Axes = tuple[str, ...]
Reduction = str | Mapping[str, str] | None

SPACE = ("height", "width")
CLS = "cls"


@dataclass(frozen=True)
class TokenLayout:
    """How the tokens of a vision transformer follow each other.

    Parameters
    ----------
    prefix : tuple of str
        What comes before the patches, e.g. ``("cls", "register", "register")``.
    patches : int
        Number of patches of the image.
    """

    prefix: tuple[str, ...]
    patches: int

    @property
    def count(self) -> int:
        """Number of all tokens."""
        return len(self.prefix) + self.patches


@dataclass(frozen=True)
class Activation:
    """What is known of a module's activation before it is computed.

    Parameters
    ----------
    axes : tuple of str
        Names of its axes, the first ``"stimulus"``.
    shape : tuple of int
        Without the axis of stimuli.
    tokens : TokenLayout or None
        Of the network, if it is known.
    """

    axes: Axes
    shape: tuple[int, ...]
    tokens: TokenLayout | None = None

    @property
    def n_tokens(self) -> int | None:
        """Number of tokens, if it is a sequence of them."""
        if sorted(self.axes[1:]) != ["channel", "token"]:
            return None
        return self.shape[self.axes.index("token") - 1]


class Refusal(Exception):
    """Says why a reduction cannot be applied to an activation."""


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
    return einops.rearrange(batch, "stimulus ... -> stimulus (...)")


def _flat(activation: Activation) -> tuple[Reduce, Axes]:
    return flatten, ("stimulus", "feature")


def _over_space(how: str) -> Callable[[Activation], tuple[Reduce, Axes]]:
    def bind(activation: Activation) -> tuple[Reduce, Axes]:
        if not set(SPACE) <= set(activation.axes):
            hint = " For tokens: mean-of-patches." if activation.n_tokens is not None else ""
            raise Refusal(f"it has no height and width.{hint}")
        kept = tuple(axis for axis in activation.axes if axis not in SPACE)
        pattern = f"{' '.join(activation.axes)} -> {' '.join(kept)}"
        return (lambda batch: einops.reduce(_with_fractions(batch), pattern, how)), kept

    return bind


def _with_fractions(batch: Any) -> Any:
    """Give whole numbers and truth values as float32, in whatever way the framework spells it."""
    if "float" in str(batch.dtype) or "complex" in str(batch.dtype):
        return batch
    if hasattr(batch, "astype"):  # NumPy, JAX
        return batch.astype("float32")
    if hasattr(batch, "float"):  # PyTorch
        return batch.float()
    return sys.modules["tensorflow"].cast(batch, "float32")


def _cls(activation: Activation) -> tuple[Reduce, Axes]:
    layout = _layout(activation)
    if activation.n_tokens != layout.count or CLS not in layout.prefix:
        raise Refusal(
            f"its {activation.n_tokens} tokens are patches alone, without a CLS token."
            if activation.n_tokens == layout.patches
            else f"the network has no CLS token (before its patches: {_spelled(layout)})."
        )
    place = layout.prefix.index(CLS)
    by_token = _tokens_first(activation)
    return (lambda batch: by_token(batch)[:, place]), ("stimulus", "channel")


def _mean_of_patches(activation: Activation) -> tuple[Reduce, Axes]:
    layout = _layout(activation)
    # Some modules, such as the one that cuts the image up, give patches only.
    start = len(layout.prefix) if activation.n_tokens == layout.count else 0
    by_token = _tokens_first(activation)

    def mean(batch: Any) -> Any:
        patches = _with_fractions(by_token(batch))[:, start:]
        return einops.reduce(patches, "stimulus token channel -> stimulus channel", "mean")

    return mean, ("stimulus", "channel")


def _cls_and_mean(activation: Activation) -> tuple[Reduce, Axes]:
    (cls, _), (mean, _) = _cls(activation), _mean_of_patches(activation)
    return (lambda batch: einops.pack([cls(batch), mean(batch)], "stimulus *")[0]), (
        "stimulus",
        "feature",
    )


def _layout(activation: Activation) -> TokenLayout:
    if activation.n_tokens is None:
        raise Refusal("it is no sequence of tokens.")
    layout = activation.tokens
    if layout is None:
        raise Refusal("which of its tokens come before those of the patches is not known.")
    if activation.n_tokens not in (layout.count, layout.patches):
        raise Refusal(
            f"it has {activation.n_tokens} tokens, where the image has {layout.patches} patches "
            f"and {len(layout.prefix)} tokens before them ({_spelled(layout)})."
        )
    return layout


def _spelled(layout: TokenLayout) -> str:
    return ", ".join(layout.prefix) or "nothing"


def _tokens_first(activation: Activation) -> Reduce:
    pattern = f"{' '.join(activation.axes)} -> stimulus token channel"
    return lambda batch: einops.rearrange(batch, pattern)


@dataclass(frozen=True)
class Rule:
    """A reduction before it knows what it is applied to.

    Parameters
    ----------
    bind : callable
        Takes an `Activation`; gives the function and the axes that it leaves, or raises
        `Refusal`.
    does : str
        What it does, in a few words.
    """

    bind: Callable[[Activation], tuple[Reduce, Axes]]
    does: str


REDUCTIONS: dict[str, Rule] = {
    "flatten": Rule(_flat, "lay all numbers of a stimulus out in one row"),
    "mean": Rule(_over_space("mean"), "average over height and width"),
    "max": Rule(_over_space("max"), "take the largest over height and width"),
    "cls": Rule(_cls, "take the CLS token"),
    "mean-of-patches": Rule(_mean_of_patches, "average over the tokens of patches"),
    "cls+mean": Rule(_cls_and_mean, "join the CLS token and the mean of patches"),
}


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
    if reduction is not None and not isinstance(reduction, str | Mapping):
        raise InvalidArgument(
            f"reduction is {reduction!r}; allowed are None, a name, or {{pattern: name}}."
        )
    chosen = chosen_for("reduction", modules, reduction)
    for name in chosen.values():
        if name is not None and name not in REDUCTIONS:
            raise unknown("reduction", str(name), REDUCTIONS)
    return chosen


def chosen_for(what: str, modules: Sequence[str], choice: Any) -> dict[str, Any]:
    """Spread a choice over modules: one value for all, or the first pattern's that matches.

    Raises
    ------
    InvalidArgument
        If a pattern matches no module.
    """
    rules = dict(choice) if isinstance(choice, Mapping) else {"*": choice}
    for pattern in rules:
        if not matching(pattern, list(modules)):
            raise InvalidArgument(
                f"{what} names {pattern!r}, which matches none of the modules: "
                f"{listing(list(modules))}."
            )
    return {
        module: next((value for p, value in rules.items() if matching(p, [module])), None)
        for module in modules
    }


@dataclass(frozen=True, eq=False)
class BoundReduction:
    """What happens to the activation of one module.

    Parameters
    ----------
    name : str or None
        In `REDUCTIONS`; None if the shape is kept.
    apply : callable or None
        Takes and gives a batch; None if there is nothing to do.
    axes : tuple of str
        Names of the axes of the result, the first ``"stimulus"``.
    shape : tuple of int
        Of the result, without the axis of stimuli.
    """

    name: str | None
    apply: Reduce | None
    axes: Axes
    shape: tuple[int, ...]


def bind_reductions(
    activations: Mapping[str, Activation], names: Mapping[str, str | None]
) -> dict[str, BoundReduction]:
    """Fit reductions to the activations of modules.

    Parameters
    ----------
    activations : dict of str to Activation
        By module address.
    names : dict of str to str or None
        By module address, from `reductions_for`.

    Returns
    -------
    dict of str to BoundReduction

    Raises
    ------
    InvalidArgument
        If activations lack the axes that their reduction works on; all are named.
    """
    bound, problems = {}, []
    for address, activation in activations.items():
        name = names[address]
        if name is None:
            bound[address] = BoundReduction(None, None, activation.axes, activation.shape)
            continue
        try:
            apply, axes = REDUCTIONS[name].bind(activation)
            shape = apply(np.zeros((1, *activation.shape), np.float32)).shape[1:]
            bound[address] = BoundReduction(name, apply, axes, shape)
        except Refusal as refusal:
            shape = "×".join(map(str, activation.shape)) or "one number"
            about = f"{shape}: {', '.join(activation.axes[1:])}"
            problems.append(f"{address} ({about}) cannot be reduced by {name!r}: {refusal}")
    if problems:
        raise InvalidArgument("\n".join(problems))
    return bound
