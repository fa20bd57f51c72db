"""PyTorch weights: read without running code, fitted to an architecture, or drawn from a seed."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from ..errors import WeightsError, listing

Build = Callable[..., nn.Module]

# Where training scripts put the state dict inside a checkpoint, and what they put before names.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.")


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a state dict from a file, without executing anything in it.

    Parameters
    ----------
    path : path
        ``.safetensors``, or any file that ``torch.save`` wrote.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU.

    Raises
    ------
    WeightsError
        If the file is missing or broken, holds no state dict, or would need unpickling.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"There is no weights file {str(path)!r}.")
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"The weights file {str(path)!r} holds more than tensors, and reading it could run "
            "code, so it was not read. If you trust it, convert it once: "
            "torch.save(torch.load(file, weights_only=False).state_dict(), 'weights.pth'). "
            f"({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:  # each reader has errors of its own for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"The weights file {str(path)!r} cannot be read: {reason}") from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    keys = listing(list(content)) if isinstance(content, Mapping) else type(content).__name__
    raise WeightsError(
        f"The weights file {str(path)!r} holds no state dict (name → tensor), but: {keys}."
    )


def fitted(
    build: Build, state: Mapping[str, Tensor], what: str, variants: Sequence[dict[str, Any]] = ({},)
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
            with torch.random.fork_rng(devices=[]):
                model = quiet(build, **options)
            model.load_state_dict(named, strict=False)
            return model
        first_problem = first_problem or problem
    raise WeightsError(f"The weights {what} do not fit the architecture.\n{first_problem}")


def _without_prefix(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    named = dict(state)
    while True:
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in named) and not any(
                name in expected for name in named
            ):
                named = {name[len(prefix) :]: value for name, value in named.items()}
                break
        else:
            return named


def _number_of_classes(
    build: Build,
    options: Mapping[str, Any],
    state: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> int | None:
    """Find the number of classes with which all shapes agree, where the usual one does not."""
    differing = [n for n, v in state.items() if n in expected and v.shape != expected[n].shape]
    for name in reversed(differing):
        if not state[name].ndim:
            continue
        classes = state[name].shape[0]
        try:
            other = skeleton(build, **{**options, "num_classes": classes}).state_dict()
        except (TypeError, ValueError):
            continue
        if all(n in other and state[n].shape == other[n].shape for n in differing):
            return classes
    return None


def _misfit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    # Checkpoints of old versions lack the counter, which evaluation does not use.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in expected]
    shapes = [
        f"{n} {tuple(state[n].shape)} in place of {tuple(expected[n].shape)}"
        for n in state
        if n in expected and state[n].shape != expected[n].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    return "\n".join(
        f"{len(names)} {kind}: {listing(names)}." for kind, names in kinds.items() if names
    )


def skeleton(build: Build, **options: Any) -> nn.Module:
    """Build an architecture without weights or memory; really, where that is not possible."""
    try:
        with torch.device("meta"):
            return quiet(build, **options)
    except NotImplementedError:
        with torch.random.fork_rng(devices=[]):
            return quiet(build, **options)


def random(build: Build, seed: int) -> nn.Module:
    """Build a network with the library's own random initialisation, reproducibly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return quiet(build)


def quiet(build: Build, **options: Any) -> nn.Module:
    """Build without the library's warnings on initialisation and deprecation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (FutureWarning))
        warnings.simplefilter("ignore", (UserWarning))
        return build(**options)


def downloaded(fetch: Callable[[], Any], url: str) -> Any:
    """Fetch trained weights, or say what to do where the hub cannot be reached.

    Parameters
    ----------
    fetch : callable
        Downloads and returns; keeps what it downloads in ``torch.hub``'s cache folder.
    url : str
        Where it downloads from.

    Returns
    -------
    object
        What `fetch` returns.

    Raises
    ------
    WeightsError
        If nothing could be downloaded, or it is not what was expected.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / url.rpartition("/")[2]
    try:
        return fetch()
    except (URLError, OSError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"The weights cannot be downloaded from {url} ({reason}). On a machine with a "
            f"connection, download the file and put it at {str(file)!r}, or give any weights "
            "file of yours with weights=. pretrained=False needs no download."
        ) from error
    except RuntimeError as error:
        if "hash" not in str(error):
            raise
        raise WeightsError(
            f"What {url} gave is not what was expected: {error}. Delete {str(file)!r} if it is "
            "there, and try again."
        ) from error
