"""What a Keras model calls in a forward pass, and what each call returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .axes import axis_names
from .keras_calls import Unbuilt, leaves, watched
from .keras_engine import keras
from .keras_layers import Layers, is_graph, unbuilt
from .keras_state import left_as_found, seeded
from .survey import Module, Output, Path, Survey

# While a course is traced, a length may be None; no survey is made of such.
Shape = tuple[int, ...]


class Trace:
    """What was called in one pass, in the order of return."""

    def __init__(self) -> None:
        self.shapes: dict[tuple[str, int], dict[Path, Shape]] = {}
        self.calls: Counter[str] = Counter()
        self.classifier: tuple[str, int] | None = None
        self.classifier_input: Shape = ()
        self._scores: Any = None

    def watch(self, layers: Layers, action: Callable[[], Any]) -> Any:
        """Run the model in `action` and note its calls."""

        def after(name: str, given: Any, output: Any) -> None:
            call = self.calls[name]
            self.calls[name] += 1
            self.shapes[name, call] = {path: tuple(t.shape) for path, t in leaves(output)}
            layer = layers.by_name[name]
            if isinstance(layer, keras.layers.Dense):
                self._scores = output
                self.classifier, self.classifier_input = (name, call), tuple(given.shape)
            elif isinstance(layer, _ACTIVATIONS) and given is self._scores:
                self._scores = output

        try:
            with watched(layers, lambda name, given: None, after):
                result = action()
        except Unbuilt as layer:
            raise unbuilt(str(layer)) from None
        if self._scores is None or result is not self._scores:
            self.classifier = None
        self._scores = None  # lets go of the tensor
        return result

    @property
    def is_complete(self) -> bool:
        """Whether all lengths are known, which tracing cannot always tell."""
        shapes = (shape for call in self.shapes.values() for shape in call.values())
        return bool(self.shapes) and all(None not in shape for shape in shapes)


class _Course(keras.layers.Layer):  # type: ignore[misc]
    """Stands for a model, so that Keras finds out the model's course without its numbers."""

    def __init__(self, action: Callable[[Any], Any]) -> None:
        super().__init__(name="course")
        self._action = action

    def call(self, images: Any) -> Any:
        self._action(images)
        return images


def survey(model: Any, layers: Layers, shape: tuple[int, ...]) -> Survey:
    """Find names, types, calls and output shapes.

    Parameters
    ----------
    model : keras.Model
        Left as it is.
    layers : Layers
        Of this model.
    shape : tuple of int
        Of one image, as the model takes it.
    """
    method = "symbolic shapes"
    try:
        passes = [_symbolic(model, layers, (n, *shape)) for n in (2, 3)]
        is_complete = all(trace.is_complete for trace in passes)
    except Exception:  # the model's own code, which may need numbers
        is_complete = False
    trace = _symbolic
    if not is_complete:
        method, trace = "small forward pass", _real
        passes = [_real(model, layers, (n, *shape)) for n in (2, 3)]
    return _compared(layers, [*passes, _larger(model, layers, shape, trace)], method)


def _symbolic(
    model: Any, layers: Layers, shape: tuple[int, ...], found: list[Trace] | None = None
) -> Trace:
    # Of several attempts that an engine makes, the last one counts.
    traces = [] if found is None else found

    def action(images: Any) -> None:
        traces.append(Trace())
        traces[-1].watch(layers, lambda: _enter(model, shape)(images, training=False))

    with left_as_found(model), seeded(0, model):
        _Course(action).compute_output_spec(keras.KerasTensor(shape, "float32"))
    return traces[-1]


def _real(
    model: Any, layers: Layers, shape: tuple[int, ...], found: list[Trace] | None = None
) -> Trace:
    trace = Trace()
    if found is not None:
        found.append(trace)
    noise = np.random.default_rng(0).random(shape, np.float32)
    with left_as_found(model), seeded(0, model):
        images = keras.ops.convert_to_tensor(noise)
        trace.watch(layers, lambda: _enter(model, shape)(images, training=False))
    return trace


def _enter(model: Any, shape: tuple[int, ...]) -> Callable[..., Any]:
    """Give the way into a model: past the check of its input's size, if that is another one."""
    declared = tuple(model.inputs[0].shape[1:]) if is_graph(model) else shape[1:]
    fits = len(declared) == len(shape) - 1 and all(
        length in (None, given) for length, given in zip(declared, shape[1:], strict=True)
    )
    way: Callable[..., Any] = model if fits else model.call
    return way


def _larger(
    model: Any, layers: Layers, shape: tuple[int, ...], trace: Callable[..., Trace]
) -> Trace:
    """Trace a larger image, of another shape, as far as the network goes along with it."""
    grow = (64, 128, 0) if shape[-1] == 3 else (0, 64, 128)
    found: list[Trace] = []
    bigger = (2, *(length + more for length, more in zip(shape, grow, strict=True)))
    with suppress(Exception):  # networks of one input size refuse another in ways of their own
        trace(model, layers, bigger, found)
    return found[-1] if found else Trace()


def _compared(layers: Layers, passes: Sequence[Trace], method: str) -> Survey:
    """Compare passes of two and three images, and of larger images, to tell the axes apart."""
    two, three, bigger = passes
    order = {key: position for position, key in enumerate(two.shapes)}
    tokens = _token_counts(layers, two)
    modules = []
    for name, layer in layers.by_name.items():
        outputs = []
        for call in range(two.calls[name]):
            other, big = three.shapes.get((name, call), {}), bigger.shapes.get((name, call), {})
            for path, shape in two.shapes[name, call].items():
                batch_axis = _batch_axis(shape, other.get(path))
                rest = shape if batch_axis is None else shape[1:]
                grown = big.get(path)
                if grown is not None and batch_axis is not None:
                    grown = grown[1:]
                axes = name_axes(layer, rest, grown, tokens)
                outputs.append(Output(call, path, rest, axes, batch_axis, order[name, call]))
        modules.append(Module(name, type(layer).__name__, two.calls[name], tuple(outputs)))
    root, *others = modules
    classifier, given = None, None
    if two.classifier is not None:
        classifier, call = two.classifier
        shape = two.classifier_input
        batch_axis = _batch_axis(shape, three.classifier_input)
        axes = name_axes(None, shape[1:], None, tokens)
        given = Output(call, (), shape[1:], axes, batch_axis, order[classifier, call])
    return Survey(tuple(others), root, classifier, given, layers.aliases, method)


def _batch_axis(two: Shape, three: Shape | None) -> int | None:
    """Find the axis that follows the number of images: 2 in one pass, 3 in the other."""
    if three is None or len(two) != len(three):
        return None
    changed = [axis for axis, pair in enumerate(zip(two, three, strict=True)) if pair[0] != pair[1]]
    return 0 if changed == [0] and (two[0], three[0]) == (2, 3) else None


def _token_counts(layers: Layers, trace: Trace) -> set[int]:
    """Find how many tokens there are, from layers that work on tokens."""
    return {
        shape[1]
        for (name, _), shapes in trace.shapes.items()
        for shape in shapes.values()
        if isinstance(layers.by_name[name], _TOKENS) and len(shape) == 3 and shape[0] == 2
    }


def name_axes(
    layer: Any, shape: Shape, grown: Shape | None, tokens: Collection[int] = ()
) -> tuple[str, ...]:
    """Name the axes of one stimulus's activation; see `axis_names`."""
    stated = _MAPS.get(getattr(layer, "data_format", None))
    return axis_names(shape, grown, stated, tokens)


_MAPS: dict[Any, tuple[str, ...]] = {
    "channels_last": ("height", "width", "channel"),
    "channels_first": ("channel", "height", "width"),
}
_TOKENS = (keras.layers.LayerNormalization, keras.layers.MultiHeadAttention)
_ACTIVATIONS = (keras.layers.Activation, keras.layers.Softmax)
