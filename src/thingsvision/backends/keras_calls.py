"""The calls of Keras layers, watched while a model runs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import RLock, get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .keras_engine import keras
from .keras_layers import Layers
from .survey import Capture, Path

# A layer's address, which call of it, and whether its input is meant in place of its output.
Place = tuple[str, int, bool]

# Two threads that watch at once would each put back what the other had put in place.
_ONE_AT_A_TIME = RLock()


class Stop(BaseException):
    """Ends a forward pass; not an Exception, so that no model can swallow it."""


class Unbuilt(BaseException):
    """Ends a forward pass in which a layer would get its weights; its argument is its address."""


@contextmanager
def watched(
    layers: Layers, before: Callable[[str, Any], None], after: Callable[[str, Any, Any], None]
) -> Iterator[None]:
    """Be told of the calls of layers in this thread.

    Parameters
    ----------
    layers : Layers
        Calls of others pass unnoticed.
    before : callable
        Gets the address and the first input when a layer is called.
    after : callable
        Gets the address, the first input and the output when it returns.
    """
    names = {id(layer): name for name, layer in layers.by_name.items()}
    thread = get_ident()
    base = keras.layers.Layer
    plain = base.__call__

    @functools.wraps(plain)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = names.get(id(self)) if get_ident() == thread else None
        if name is None:
            return plain(self, *args, **kwargs)
        if _lacks_weights(self):
            raise Unbuilt(name)
        given = args[0] if args else next(iter(kwargs.values()), None)
        before(name, given)
        output = plain(self, *args, **kwargs)
        after(name, given, output)
        return output

    with _ONE_AT_A_TIME:
        base.__call__ = call
        try:
            yield
        finally:
            base.__call__ = plain


def _lacks_weights(layer: Any) -> bool:
    """Say whether a call would make weights; sums and the like only check their inputs then."""
    makes_none = (keras.layers.Layer.build, _MERGE.build)
    return not layer.built and type(layer).build not in makes_none


_MERGE = keras.layers.Add.__mro__[1]


class Taker:
    """Takes what captures ask for out of one forward pass.

    Parameters
    ----------
    captures : sequence of Capture
        What to take.
    stop : bool
        End the pass with the deepest.
    copy : callable
        Makes a private copy of a tensor.

    Attributes
    ----------
    found : dict of (Place, Path) to what `copy` gave
    calls : Counter
        How often each layer has returned.
    """

    def __init__(
        self, captures: Sequence[Capture], *, stop: bool, copy: Callable[[Any], Any]
    ) -> None:
        self.found: dict[tuple[Place, Path], Any] = {}
        self.calls: Counter[str] = Counter()
        self._entered: Counter[str] = Counter()
        self._copy = copy
        self._wanted: dict[Place, set[Path]] = {}
        for capture in captures:
            self._wanted.setdefault(place(capture), set()).add(capture.path)
        deepest = max(captures, key=lambda capture: (capture.order, not capture.is_input))
        self._last = place(deepest) if stop else None

    def before(self, name: str, given: Any) -> None:
        """Note that a layer is called."""
        self._take((name, self._entered[name], True), given)
        self._entered[name] += 1

    def after(self, name: str, given: Any, output: Any) -> None:
        """Note that a layer returns."""
        self.calls[name] += 1
        self._take((name, self.calls[name] - 1, False), output)

    def _take(self, where: Place, value: Any) -> None:
        paths = self._wanted.get(where, ())
        for path, tensor in leaves(value) if paths else ():
            if path in paths:
                # Inside a loop of the engine a tensor has no numbers, and cannot be had.
                with suppress(NotImplementedError, TypeError):
                    # Now: with PyTorch as the engine, the next layer may work in place.
                    self.found[where, path] = self._copy(tensor)
        if where == self._last:
            raise Stop


def place(capture: Capture) -> Place:
    """Say where in a pass a capture is taken."""
    return capture.module, capture.call, capture.is_input


def leaves(output: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Walk through tuples, lists and dictionaries to the tensors in them."""
    if isinstance(output, Mapping):
        for key, value in output.items():
            yield from leaves(value, (*path, key))
    elif isinstance(output, (tuple, list)):
        for index, value in enumerate(output):
            yield from leaves(value, (*path, index))
    elif keras.ops.is_tensor(output):
        yield path, output


def to_numpy(tensor: Any) -> NDArray[Any]:
    """Copy a tensor of any engine; NumPy has no bfloat16, which becomes float32."""
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    is_native = array.dtype.kind in "biufcSU"
    return np.array(array if is_native else array.astype(np.float32), order="C")
