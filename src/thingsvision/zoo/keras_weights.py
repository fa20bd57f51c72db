"""Keras weights: built with a seed, or as published, without a trace in the rest of the process."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from ..backends.keras_engine import keras
from ..errors import WeightsError

Application = Callable[..., Any]

# The formulas of torch.nn.init; Keras' own classes of similar names truncate the normal one.
INITIALISERS: dict[str, tuple[str, dict[str, Any]]] = {
    "kaiming_normal": (
        "VarianceScaling", {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal"}
    ),
    "kaiming_uniform": (
        "VarianceScaling", {"scale": 2.0, "mode": "fan_in", "distribution": "uniform"}
    ),
    "orthogonal": ("Orthogonal", {}),
    "xavier_normal": (
        "VarianceScaling", {"scale": 1.0, "mode": "fan_avg", "distribution": "untruncated_normal"}
    ),
    "xavier_uniform": (
        "VarianceScaling", {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform"}
    ),
}  # fmt: skip


@contextmanager
def _as_in_a_new_process(seed: int = 0) -> Iterator[None]:
    """Count layer names from the start, and draw initialisations from a seed; then put all back.

    Keras numbers layers through the whole process, so that the second network would have other
    names than the first, and takes the seeds of its initialisers from Python's generator.
    """
    state: Any = import_module(keras.utils.clear_session.__module__)
    names, generator = state.get_global_attribute("object_name_uids"), random.getstate()
    state.set_global_attribute("object_name_uids", None)
    random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on arguments that were left to it
            yield
    finally:
        random.setstate(generator)
        state.set_global_attribute("object_name_uids", names)


def _files() -> Any:
    """Give the module of Keras through which the applications download."""
    return import_module(keras.utils.get_file.__module__)


@contextmanager
def _fetching(fetch: Callable[..., str]) -> Iterator[None]:
    """Let a function of ours answer when an application asks for its trained weights."""
    files = _files()
    original = files.get_file
    files.get_file = fetch
    try:
        yield
    finally:
        files.get_file = original


@contextmanager
def without_download() -> Iterator[None]:
    """Refuse whatever an application wants to download."""

    def refuse(fname: str = "", origin: str = "", **_: Any) -> str:
        raise WeightsError(f"{origin} is not downloaded here.")

    with _fetching(refuse):
        yield


def drawn(application: Application, seed: int, init: str | None = None, **options: Any) -> Any:
    """Build an application with random weights, reproducibly.

    Parameters
    ----------
    application : callable
        A function of ``keras.applications``.
    seed : int
        The same seed gives the same weights, to the bit on one machine.
    init : str, optional
        One of `INITIALISERS`; by default the application's own.
    **options
        Further arguments of the application.
    """
    with _as_in_a_new_process(seed):
        model = application(weights=None, **options)
        if init is not None:
            random.seed(seed)
            _redraw(model, init)
    return model


def _redraw(model: Any, init: str) -> None:
    kind, options = INITIALISERS[init]
    for layer in _layers(model):
        for variable in layer.trainable_variables:
            shape = tuple(variable.shape)
            if len(shape) >= 2:
                # Each filter of a depthwise convolution sees one channel, which its shape
                # (height, width, channels, multiplier) does not tell.
                is_depthwise = "depthwise" in type(layer).__name__.lower() + variable.name
                *sides, channels, multiplier = shape
                seen = (*sides, 1, channels * multiplier) if is_depthwise else shape
                values = getattr(keras.initializers, kind)(**options)(seen)
                variable.assign(keras.ops.reshape(values, shape))
            elif "bias" in variable.name:
                variable.assign(keras.ops.zeros(shape))


def _layers(model: Any) -> Iterator[Any]:
    """Give the layers that hold no others."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


def cache_folder() -> Path:
    """Name the folder in which Keras keeps what it downloads."""
    return Path(_files().config.keras_home()).expanduser() / "models"


def published(application: Application, weights: str) -> tuple[Any, str]:
    """Build an application with its trained weights, downloaded and kept by Keras itself.

    Returns
    -------
    model : keras.Model
    url : str
        Where the weights are published.

    Raises
    ------
    WeightsError
        If they cannot be downloaded, or what is kept is broken.
    """
    get_file, urls = _files().get_file, []

    def fetch(fname: str, origin: str, **options: Any) -> str:
        urls.append(origin)
        kept = cache_folder() / fname
        try:
            with redirect_stdout(sys.stderr):  # of its progress
                path: str = get_file(fname, origin, **options)
        except ValueError as error:  # another digest than expected
            kept.unlink(missing_ok=True)
            raise WeightsError(
                f"What {origin} gave is not what was expected: {error} It was not kept; try again."
            ) from error
        except Exception as error:  # Keras wraps what the connection raised
            reason = getattr(error.__context__, "reason", None) or first_line(error)
            raise WeightsError(
                f"The weights cannot be downloaded from {origin} ({reason}). On a machine with a "
                f"connection, download the file and put it at {str(kept)!r}, or give any weights "
                "file of yours with weights=. pretrained=False needs no download."
            ) from error
        return path

    try:
        with _as_in_a_new_process(), _fetching(fetch):
            model = application(weights=weights)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"The weights from {urls[-1] if urls else 'Keras'} that are kept in "
            f"{str(cache_folder())!r} cannot be read ({first_line(error)}). Delete the file; it is "
            "then downloaded again."
        ) from error
    return model, urls[-1]


def as_trained(application: Application, file: Path) -> tuple[Any, str]:
    """Build an application as for its trained weights, with those of a file in their place.

    Returns the published file's digest besides. EfficientNet has one more layer then.
    """
    digests = []

    def fetch(fname: str, origin: str, file_hash: str | None = None, **_: Any) -> str:
        digests.append(file_hash or "")
        return str(file)

    with _as_in_a_new_process(), _fetching(fetch):
        return application(weights="imagenet"), digests[-1]


def first_line(error: BaseException) -> str:
    """Shorten what Keras says, which goes on for many lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
