"""Which tokens of a vision transformer come before its patches, counted from the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch import nn

from ..reduction import CLS, TokenLayout

# Parameters that are tokens, as the libraries call them, in the order in which they are joined.
NAMES = {
    "cls_token": CLS,
    "class_token": CLS,
    "class_embedding": CLS,
    "dist_token": "distillation",
    "distillation_token": "distillation",
    "reg_token": "register",
    "register_tokens": "register",
}


def token_layout(
    model: nn.Module, sequences: Iterable[int], maps: Iterable[tuple[int, int]]
) -> TokenLayout | None:
    """Find the tokens before the patches, and how many patches there are.

    The tokens are parameters of the network; they are believed only where their number and that
    of the patches, the places of a convolution's map, add up to the length of sequences that
    modules gave back.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    sequences : iterable of int
        Length of each sequence of tokens that a module gave back.
    maps : iterable of (int, int)
        Height and width of each map that a convolution gave back.

    Returns
    -------
    TokenLayout or None
        None where there are no tokens, or they do not add up.
    """
    prefixes = set(filter(None, map(_prefix, model.modules()))) or {()}
    if len(prefixes) > 1:
        return None
    prefix = prefixes.pop()
    lengths = Counter(sequences)
    fitting = {
        height * width for height, width in maps if lengths[height * width + len(prefix)] > 0
    }
    if not fitting:
        return None
    return TokenLayout(prefix, max(fitting, key=lambda count: lengths[count + len(prefix)]))


def _prefix(module: nn.Module) -> tuple[str, ...]:
    own = dict(module.named_parameters(recurse=False))
    found: list[str] = []
    for name, meaning in NAMES.items():
        if name in own:
            count = own[name].shape[1] if own[name].ndim == 3 else 1
            found += [meaning] * count
    return tuple(found)
