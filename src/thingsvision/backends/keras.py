"""Keras 3, with any of its engines: a graph that ends at the deepest wanted layer, or step by step.

Functional and sequential models run as a compiled graph where the engine is
TensorFlow. Others, and other engines, run step by step: calls of layers are
watched, and the pass ends after the last that is wanted. The numbers are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from ..errors import InvalidArgument, ModuleError
from ..reduction import Reduce
from .found import check_found, check_shape
from .keras_calls import Stop, Taker, Unbuilt, place, to_numpy, watched
from .keras_engine import choose_device, computing_on, engine, keras
from .keras_graph import Found, graph_of
from .keras_layers import Layers, check_model, digest, find_layers, is_graph, structure, unbuilt
from .keras_state import left_as_found, seeded
from .keras_survey import survey
from .survey import Capture, Survey


@dataclass(frozen=True)
class KerasBackend:
    """Runs models of Keras 3.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"gpu:0"`` (or ``"cuda:0"``) or ``"auto"``, the fastest that the engine has;
        ``"meta"`` for a model that is only to be looked at. Weights stay where Keras put them.
    """

    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", choose_device(self.device))

    @property
    def name(self) -> str:
        """Name Keras and its engine, e.g. ``"keras (tensorflow)"``."""
        return f"keras ({engine()})"

    def modules(self, model: Any, size: tuple[int, ...]) -> Survey:
        """Find names, types, calls and output shapes.

        Shapes are computed symbolically; models whose course depends on numbers are run on
        small batches of noise.

        Parameters
        ----------
        model : keras.Model
            Its weights are not touched.
        size : tuple of int
            Height and width of the input.

        Returns
        -------
        Survey

        Raises
        ------
        ModuleError
            If the model is not built, takes several inputs, or cannot be run on images of this
            size.
        """
        check_model(model)
        layers = find_layers(model)
        shape = (3, *size) if _is_channels_first(model, layers) else (*size, 3)
        _check_size(model, shape)
        try:
            with self._scope():
                return survey(model, layers, shape)
        except ModuleError:
            raise
        except Exception as error:  # of any kind: it is the network's code that runs
            raise ModuleError(
                "The shapes of the network's layers cannot be found: for an input of "
                f"{' × '.join(map(str, size))} it says: {_reason(error)}"
            ) from error

    def run(
        self,
        model: Any,
        batch: Float32[np.ndarray, "n_stimuli height width 3"],
        captures: Sequence[Capture],
        reductions: Mapping[str, Reduce],
        *,
        seed: int = 0,
        full: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch and return the captures by address.

        Parameters
        ----------
        model : keras.Model
            Run in inference mode; left as it was.
        batch : array of float32, shape (n_stimuli, height, width, 3)
            Preprocessed images; transposed for models that want channels first.
        captures : sequence of Capture
            From ``Survey.resolve``.
        reductions : dict of str to callable
            Applied to each copy, as a NumPy array; a missing one keeps the shape.
        seed : int
            For models that are random in inference.
        full : bool
            Run to the end, and check that every layer is called as often as surveyed.

        Returns
        -------
        dict of str to array, shape (n_stimuli, ...)
            A private copy of each output as it was when its layer returned.

        Raises
        ------
        ModuleError
            If a layer gave nothing, or was called more or less often than surveyed.
        """
        check_model(model)
        if self.device == "meta":
            raise InvalidArgument(
                "The model was loaded to show its layers (device='meta'); it cannot be run. "
                "Load it with another device."
            )
        if not captures:
            return {}
        layers = find_layers(model)
        if _is_channels_first(model, layers):
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        with self._scope():
            found, calls = _pass(model, layers, batch, captures, seed, full)
            arrays = {
                capture.address: found[place(capture), capture.path]
                for capture in captures
                if (place(capture), capture.path) in found
            }
            check_found(captures, arrays, calls if full else None)
            for capture in captures:
                array = to_numpy(arrays[capture.address])
                check_shape(capture, array.shape, len(batch))
                reduce = reductions.get(capture.address)
                arrays[capture.address] = to_numpy(reduce(array)) if reduce else array
        return arrays

    def digest(self, model: Any) -> str:
        """Compute the SHA-256 of all weights, with their names, types and shapes."""
        check_model(model)
        if self.device == "meta":
            raise InvalidArgument("The model has no weights (device='meta'), so no digest.")
        return digest(model)

    def structure(self, model: Any) -> str:
        """Describe the layers and their settings, in the same words in every process."""
        return structure(model)

    def _scope(self) -> AbstractContextManager[None]:
        return computing_on("cpu" if self.device == "meta" else self.device)


def _reason(error: Exception) -> str:
    """Take the line of an error that says what is wrong, from those Keras puts around it."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception encountered")]
    return (telling or lines or [type(error).__name__])[0]


def _pass(
    model: Any,
    layers: Layers,
    batch: NDArray[Any],
    captures: Sequence[Capture],
    seed: int,
    full: bool,
) -> tuple[Found, Counter[str]]:
    """Run a graph where there is one, and else step by step; give calls of full passes."""
    images = keras.ops.convert_to_tensor(batch.copy())
    taker = Taker(captures, stop=not full, copy=to_numpy)
    try:
        graph = None if full else graph_of(model, layers, captures, batch.shape[1:])
        if graph is not None:
            return graph(images), Counter()
        with (
            left_as_found(model),
            seeded(seed, model),
            suppress(Stop),
            watched(layers, taker.before, taker.after),
        ):
            model(images, training=False)
    except Unbuilt as layer:
        raise unbuilt(str(layer)) from None
    return taker.found, taker.calls


def _check_size(model: Any, shape: tuple[int, ...]) -> None:
    """Refuse images of another size than the one a model was made for."""
    declared = tuple(model.inputs[0].shape[1:]) if is_graph(model) else shape
    if len(declared) != len(shape) or any(
        d not in (None, s) for d, s in zip(declared, shape, strict=True)
    ):
        wanted, given = (" × ".join(str(n or "any") for n in sides) for sides in (declared, shape))
        raise ModuleError(
            f"The model takes inputs of {wanted}, but the preprocessing gives {given}. Give it the "
            "model's size: resize= and crop=."
        )


def _is_channels_first(model: Any, layers: Layers) -> bool:
    """Say whether images go in as (channel, height, width)."""
    shape = tuple(model.inputs[0].shape) if is_graph(model) else ()
    if len(shape) == 4 and 3 in (shape[1], shape[3]) and shape[1] != shape[3]:
        return bool(shape[1] == 3)
    formats = (getattr(layer, "data_format", None) for layer in layers.by_name.values())
    first = next((item for item in formats if item), keras.config.image_data_format())
    return bool(first == "channels_first")
