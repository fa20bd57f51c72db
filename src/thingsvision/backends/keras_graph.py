"""A pass to the deepest wanted layer as one TensorFlow graph, where a model allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary, ref

from ..optional import require
from .keras_calls import Place, Stop, Taker, place, watched
from .keras_engine import engine
from .keras_layers import Layers, is_graph
from .keras_state import drawn, left_as_found, seeded
from .survey import Capture, Path

Found = dict[tuple[Place, Path], Any]
Graph = Callable[[Any], Found]

# Graphs of each model, as long as the model lives, with the settings they were made for; None
# where it cannot have one.
_GRAPHS: WeakKeyDictionary[Any, dict[Any, tuple[list[Any], Graph | None]]] = WeakKeyDictionary()
KEPT = 8

# Operations with a state that give the same for the same input. Random numbers and
# assignments are others, and a network with them runs without a graph.
_REPEATABLE = frozenset({
    "ReadVariableOp", "ResourceGather", "VarHandleOp", "Placeholder", "PartitionedCall",
    "StatefulPartitionedCall", "While", "If", "Case", "Assert",
    "LookupTableFindV2", "LookupTableSizeV2",
})  # fmt: skip


def graph_of(
    model: Any, layers: Layers, captures: Sequence[Capture], shape: tuple[int, ...]
) -> Graph | None:
    """Find or make the graph of a pass that stops after the deepest capture.

    It is made once for each model, captures and size, for batches of any number of images.

    Parameters
    ----------
    model : keras.Model
        Its weights are read whenever the graph runs.
    layers : Layers
        Of this model.
    captures : sequence of Capture
        What to take.
    shape : tuple of int
        Of one image, as the model takes it.

    Returns
    -------
    callable or None
        Takes images, gives the tensors; None where the engine has no graphs, where the course
        of the model may change from pass to pass, or where passes are random.
    """
    if engine() != "tensorflow" or not is_graph(model):
        return None
    wanted = tuple((place(capture), capture.path, capture.order) for capture in captures)
    graphs = _GRAPHS.setdefault(model, {})
    settings = _settings(layers)
    made = graphs.get((wanted, shape))
    if made is None or not _is_unchanged(made[0], settings):
        while len(graphs) >= KEPT:
            del graphs[next(iter(graphs))]
        made = graphs[wanted, shape] = settings, _traced(model, layers, captures, shape)
    return made[1]


def _traced(
    model: Any, layers: Layers, captures: Sequence[Capture], shape: tuple[int, ...]
) -> Graph | None:
    tf: Any = require("tensorflow")
    alive: Any = ref(model)  # else the graph would keep alive what it is kept for
    found: dict[str, Any] = {}

    def forward(images: Any) -> list[Any]:
        taker = Taker(captures, stop=True, copy=lambda tensor: tensor)
        with suppress(Stop), watched(layers, taker.before, taker.after):
            alive()(images, training=False)
        found["keys"] = list(taker.found)
        return list(taker.found.values())

    signature = [tf.TensorSpec((None, *shape), tf.float32)]
    function = tf.function(forward, input_signature=signature, autograph=False, jit_compile=False)
    try:
        with left_as_found(model), seeded(0, model):
            before = drawn()
            concrete = function.get_concrete_function()
            is_random = drawn() != before
    except Exception:  # of the network's own code, which may work only step by step
        return None
    if is_random or not _is_repeatable(concrete.graph.as_graph_def()):
        return None

    def run(images: Any) -> Found:
        with _as_written(tf):
            return dict(zip(found["keys"], concrete(images), strict=True))

    return run


def _is_repeatable(graph: Any) -> bool:
    operations = {node.op for node in graph.node}
    operations |= {node.op for function in graph.library.function for node in function.node_def}
    return not any(_is_stateful(name) for name in operations - _REPEATABLE)


def _is_stateful(name: str) -> bool:
    registry: Any = require("tensorflow.python.framework.op_def_registry")
    definition = registry.get(name)
    return definition is None or bool(definition.is_stateful)


@contextmanager
def _as_written(tf: Any) -> Iterator[None]:
    """Let TensorFlow compute what is written.

    It would join operations otherwise, others whenever other layers are asked for, and the last
    digits would depend on what else is extracted.
    """
    options = tf.config.optimizer
    name = "disable_meta_optimizer"
    found = options.get_experimental_options().get(name, False)
    options.set_experimental_options({name: True})
    try:
        yield
    finally:
        options.set_experimental_options({name: found})


def _settings(layers: Layers) -> list[Any]:
    """List what a graph has fixed, to tell whether it was changed since."""
    found: list[Any] = []
    for name, layer in layers.by_name.items():
        found += [name, ref(layer), layer.compute_dtype]
        for attribute, value in vars(layer).items():
            if attribute not in _USE:
                found += [attribute, _kept(value)]
    return found


def _kept(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple) and all(isinstance(item, _PLAIN) for item in value):
        return value
    try:
        return ref(value)  # an activation, a weight: one object has one reference
    except TypeError:
        return id(value)


def _is_unchanged(old: Sequence[Any], new: Sequence[Any]) -> bool:
    return len(old) == len(new) and all(
        a is b or (isinstance(a, (*_PLAIN, tuple)) and a == b)
        for a, b in zip(old, new, strict=True)
    )


_PLAIN = (bool, int, float, str, type(None))
_USE = frozenset({"_called", "predict_function", "train_function", "test_function"})
