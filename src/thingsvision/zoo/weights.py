"""PyTorch weights: read from a file, fitted to an architecture, or drawn from a seed."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..backends.neighbours import settle
from ..errors import InvalidArgument, WeightsError, listing
from .downloads import cache_folder as cache_folder
from .downloads import download as download
from .downloads import is_published as is_published
from .downloads import keep as keep
from .source import Choice
from .weight_files import read_weights as read_weights
from .weight_files import versioned

Build = Callable[..., nn.Module]

# What training scripts put before the names of weights.
PREFIXES = ("module.", "_orig_mod.", "model.")


def fitted(
    build: Build, state: Mapping[str, Any], what: str, variants: Sequence[dict[str, Any]] = ({},)
) -> nn.Module:
    """Build the variant of an architecture that a state dict fits, and load it.

    Parameters
    ----------
    build : callable
        Gives the architecture; takes ``num_classes`` and what the variants hold.
    state : dict of str to torch.Tensor
        The weights; common prefixes are taken off.
    what : str
        Name of the weights, for errors.
    variants : sequence of dict
        Arguments of `build` to try, in this order.

    Returns
    -------
    torch.nn.Module
        With the weights, all keys used.

    Raises
    ------
    WeightsError
        If no variant fits; names what is missing, unexpected and of another shape.
    """
    first_problem = None
    for options in variants:
        try:
            expected = skeleton(build, **options).state_dict()
        except TypeError:  # the architecture does not know the option
            continue
        named = _without_prefix(state, expected)
        classes = _number_of_classes(build, options, named, expected)
        if classes is not None:
            options = {**options, "num_classes": classes}
            expected = skeleton(build, **options).state_dict()
        problem = _misfit(named, expected)
        if not problem:
            model = quiet(build, **options)
            if getattr(named, "_metadata", None) is None:
                named = versioned(named, getattr(expected, "_metadata", None))
            model.load_state_dict(named, strict=False)
            return model
        first_problem = first_problem or problem + _prefix(named, expected)
    raise WeightsError(f"The weights {what} do not fit the architecture.\n{first_problem}")


def _without_prefix(state: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    named = dict(state)
    versions = getattr(state, "_metadata", None)
    while True:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in named) and not any(
                name in expected for name in named
            ):
                named = {name[len(prefix) :]: value for name, value in named.items()}
                versions = versions and {
                    f"{name}."[len(prefix) : -1]: value
                    for name, value in versions.items()
                    if f"{name}.".startswith(prefix)
                }
                break
        else:
            return versioned(named, versions)


def _number_of_classes(
    build: Build,
    options: Mapping[str, Any],
    state: Mapping[str, Any],
    expected: Mapping[str, Any],
) -> int | None:
    """Find the number of classes with which all shapes agree, where the usual one does not."""
    differing = [n for n in state if n in expected and _shape(state[n]) != _shape(expected[n])]
    for name in reversed(differing):
        if not _shape(state[name]):
            continue
        classes: int = _shape(state[name])[0]
        try:
            other = skeleton(build, **{**options, "num_classes": classes}).state_dict()
        except (TypeError, ValueError):
            continue
        if all(n in other and _shape(state[n]) == _shape(other[n]) for n in differing):
            return classes
    return None


def _misfit(state: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    # Checkpoints of old versions lack the counter, which evaluation does not use.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in expected]
    shapes = [
        f"{n} {_shape(state[n])} in place of {_shape(expected[n])}"
        for n in state
        if n in expected and _shape(state[n]) != _shape(expected[n])
    ]
    types = [
        f"{n} {state[n].dtype} in place of {expected[n].dtype}"
        for n in state
        if n in expected and _is_another_type(state[n], expected[n])
    ]
    kinds = {
        "missing": missing, "unexpected": unexpected, "of another shape": shapes,
        "of another type": types,
    }  # fmt: skip
    return "\n".join(
        f"{len(names)} {kind}: {listing(names)}." for kind, names in kinds.items() if names
    )


def _is_another_type(have: Any, want: Any) -> bool:
    """Tell numbers that lose their meaning when they are cast, such as whole for real ones."""
    if not (isinstance(have, Tensor) and isinstance(want, Tensor)):
        return False
    return want.is_floating_point() and not have.is_floating_point()


def _prefix(state: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Name the beginning of keys without which most of the expected ones are there."""
    if any(name in expected for name in state):
        return ""
    fitting = Counter(
        name[: dot.end()]
        for name in state
        for dot in re.finditer(r"\.", name)
        if name[dot.end() :] in expected
    )
    prefix, hits = max(fitting.items(), key=lambda item: item[1], default=("", 0))
    if 2 * hits <= len(expected):
        return ""
    begin = sum(name.startswith(prefix) for name in state)
    which = "All keys begin" if begin == len(state) else f"{begin} of {len(state)} keys begin"
    return (
        f"\n{which} with {prefix!r}; strip it and keep only those: "
        f"{{k.removeprefix({prefix!r}): v for k, v in state.items() if k.startswith({prefix!r})}}"
    )


def _shape(value: Any) -> tuple[Any, ...]:
    """Give the shape of a tensor, or those of all tensors in the tuple of a quantized layer."""
    if isinstance(value, tuple):
        return tuple(_shape(part) for part in value)
    return tuple(value.shape) if isinstance(value, Tensor) else ()


class _EmptyOnMeta(TorchFunctionMode):
    """Give memory to nothing but what an architecture computes with while it is built."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = {"device": "meta"} if func is torch.empty else {}
        return func(*args, **{**(kwargs or {}), **device})


def skeleton(build: Build, **options: Any) -> nn.Module:
    """Build an architecture without weights or memory; really, where that is not possible."""
    for place in (torch.device("meta"), _EmptyOnMeta()):
        try:
            with place:
                return quiet(build, **options)
        except (NotImplementedError, RuntimeError):
            continue
    return quiet(build, **options)


def random(build: Build, seed: int, init: str | None = None) -> nn.Module:
    """Build a network with random weights, reproducibly.

    Parameters
    ----------
    build : callable
        Gives the architecture.
    seed : int
        The same seed gives the same weights, to the bit on one machine.
    init : str, optional
        One of `INITIALISATIONS`, the function of ``torch.nn.init`` of that name; by default
        the library's own initialisation.
    """
    if init is None:
        return quiet(build, seed=seed)

    def drawn() -> nn.Module:
        model = build()
        torch.default_generator.manual_seed(seed)
        draw, count = getattr(nn.init, f"{init}_"), 0
        with torch.no_grad():
            for module in model.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    if sum(side > 1 for side in parameter.shape) >= 2:
                        draw(parameter)
                        count += 1
                    elif "bias" in name:
                        nn.init.zeros_(parameter)
        if not count:
            raise InvalidArgument(
                f"init={init!r} changes nothing: this network has no weights that can be drawn "
                "anew, as those of quantized networks."
            )
        return model

    return quiet(drawn)


def loaded(
    build: Build,
    choice: Choice,
    pretrained: Callable[[], tuple[nn.Module, dict[str, Any]]],
    assumed: str,
    variants: Sequence[dict[str, Any]] = ({},),
    read: Callable[[str], Mapping[str, Any]] = read_weights,
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a network with the weights that were chosen, on the CPU.

    Parameters
    ----------
    build : callable
        Gives the architecture without trained weights.
    choice : Choice
        Which weights; ``device="meta"`` asks for none.
    pretrained : callable
        Gives the network with the source's weights, and what goes into the provenance.
    assumed : str
        Whose preprocessing is used for weights that bring none, e.g. ``"that of IMAGENET1K_V1"``.
    variants : sequence of dict
        Arguments of `build` to try for a file of weights.
    read : callable
        Gives the state dict in a file of the user's.

    Returns
    -------
    model : torch.nn.Module
        The network.
    record : dict
        Where its weights come from; ``"kind"`` is none, file, random or pretrained.
    """
    note = {"preprocessing": f"assumed: {assumed}"}
    if choice.device == "meta":
        return skeleton(build), {"kind": "none"}
    if choice.file is not None:
        model = fitted(build, read(choice.file), repr(choice.file), variants)
        return model, {"kind": "file", "file": choice.file, **note}
    if not choice.pretrained:
        record = {"kind": "random", "seed": choice.seed, **note}
        if choice.init is not None:
            record["init"] = choice.init
        return random(build, choice.seed, choice.init), record
    model, record = pretrained()
    return model, {"kind": "pretrained", **record}


def quiet(build: Build, seed: int = 0, **options: Any) -> nn.Module:
    """Build without touching torch's random state, and without the library's warnings."""
    settle()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", FutureWarning)  # on initialisation
        warnings.simplefilter("ignore", UserWarning)  # and deprecation
        torch.default_generator.manual_seed(seed)
        return build(**options)
