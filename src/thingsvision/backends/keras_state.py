"""The state of a Keras model, and of random numbers, put back as it was found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

import numpy as np

from ..optional import require
from .keras_engine import engine, keras, weights_of


@contextmanager
def left_as_found(model: Any) -> Iterator[None]:
    """Put back what a pass in inference may change: counters, statistics, losses."""
    states = [variable for variable in model.variables if not variable.trainable]
    values = [weights_of(variable) for variable in states]
    layers = model._flatten_layers()
    losses = [(list(layer._losses), set(layer._loss_ids)) for layer in layers]
    try:
        yield
    finally:
        for variable, value in zip(states, values, strict=True):
            if not np.array_equal(weights_of(variable), value):
                variable.assign(value)
        for layer, (found, ids) in zip(layers, losses, strict=True):
            layer._losses[:] = found
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)


@contextmanager
def seeded(seed: int, model: Any) -> Iterator[None]:
    """Seed all generators that a network may draw from, then put their states back.

    Those of the model's own layers are put back by `left_as_found`, to be entered before.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        with _ENGINES.get(engine(), _unchanged)(seed), _keras(seed):
            # Each generator another stretch of numbers: its state is a seed and a counter.
            for number, variable in enumerate(_generators(model)):
                variable.assign(np.array([seed, number << 16], variable.dtype))
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def drawn() -> str:
    """Tell how far the generators of Python and NumPy have come; a graph would fix numbers."""
    return repr((random.getstate(), np.random.get_state(legacy=False)))  # noqa: NPY002


def _generators(model: Any) -> list[Any]:
    known = {id(weight) for weight in model.weights}
    return [
        variable
        for variable in model.variables
        if id(variable) not in known and variable.name == "seed_generator_state"
    ]


@contextmanager
def _keras(seed: int) -> Iterator[None]:
    """Seed the generator that ``keras.random`` uses where none is named."""
    state = import_module("keras.src.backend.common.global_state")
    name = "global_seed_generator"
    found = state.get_global_attribute(name)
    state.set_global_attribute(name, keras.random.SeedGenerator(seed, name="thingsvision"))
    try:
        yield
    finally:
        state.set_global_attribute(name, found)


@contextmanager
def _tensorflow(seed: int) -> Iterator[None]:
    # TensorFlow has no public way to read the global seed.
    context = import_module("tensorflow.python.eager.context").context()
    found, stream = context._seed, getattr(context, "_rng", None)
    context._set_global_seed(seed)
    try:
        yield
    finally:
        context._set_global_seed(found)
        if stream is not None:
            context._rng = stream


@contextmanager
def _torch(seed: int) -> Iterator[None]:
    torch: Any = require("torch")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        yield


def _unchanged(seed: int) -> AbstractContextManager[None]:
    return nullcontext()  # JAX has no global state


_ENGINES: dict[str, Callable[[int], AbstractContextManager[None]]] = {
    "tensorflow": _tensorflow,
    "torch": _torch,
}
