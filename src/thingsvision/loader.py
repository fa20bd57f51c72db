"""Preprocessed images in batches, for loops that the user writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import input_size, load_batches, refuse_failures
from .errors import InvalidArgument
from .extraction import extract_features
from .preprocessing import Preprocessing
from .reduction import Activation, Reduction, bind_reductions, reductions_for
from .stimuli import StimulusSet
from .zoo import Network


@dataclass(frozen=True, eq=False)
class Loader:
    """Preprocessed images in batches, with their targets.

    Parameters
    ----------
    stimuli : StimulusSet
        In the order of extraction.
    transforms : Preprocessing or callable
        Applied to each image. A callable takes a Pillow image and gives a tensor or array,
        ``(3, height, width)`` for PyTorch, ``(height, width, 3)`` for Keras.
    batch_size : int
        Images in a batch.
    backend : {"pt", "tf"}
        Iteration gives tensors ``(n, 3, height, width)`` for ``"pt"``, arrays
        ``(n, height, width, 3)`` for ``"tf"``, each with its targets.

    Examples
    --------
    >>> from thingsvision.stimuli import load_stimuli
    >>> stimuli = load_stimuli(np.zeros((3, 8, 8, 3), np.uint8))
    >>> loader = Loader(stimuli, Preprocessing(), 2, "tf")
    >>> [(images.shape, targets) for images, targets in loader]
    [((2, 8, 8, 3), array([0, 1])), ((1, 8, 8, 3), array([2]))]
    """

    stimuli: StimulusSet
    transforms: Preprocessing | Callable[[Any], Any]
    batch_size: int
    backend: str

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InvalidArgument(f"batch_size is {self.batch_size!r}; it is a number from 1 on.")
        if not callable(self.transforms) and not isinstance(self.transforms, Preprocessing):
            raise InvalidArgument(
                f"transforms is {type(self.transforms).__name__}; give what get_transformations() "
                "returns, so that the network gets the images as it expects them."
            )

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class of each image, or its running number where there are no classes."""
        known = self.stimuli.targets
        return np.arange(len(self.stimuli)) if known is None else known

    def __len__(self) -> int:
        return -(-len(self.stimuli) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        start = 0
        for images in self._batches():
            yield images, self.targets[start : start + len(images)]
            start += len(images)

    def _batches(self) -> Iterator[Any]:
        if isinstance(self.transforms, Preprocessing):
            size = input_size(self.transforms, self.stimuli)
            for batch in load_batches(self.stimuli, self.transforms, size, self.batch_size):
                yield _for_framework(refuse_failures(batch).inputs, self.backend)
            return
        for start in range(0, len(self.stimuli), self.batch_size):
            rows = range(start, min(start + self.batch_size, len(self.stimuli)))
            images = np.stack([np.asarray(self.transforms(self.stimuli.image(k))) for k in rows])
            images = np.moveaxis(images, 1, -1) if self.backend == "pt" else images
            yield _for_framework(images.astype(np.float32, copy=False), self.backend)


def extract_batch(
    network: Network, batch: Any, modules: str | Sequence[str], *, reduction: Reduction = None
) -> dict[str, NDArray[Any]]:
    """Extract the activations of a batch of images that is preprocessed already.

    Parameters
    ----------
    network : Network
        The network.
    batch : tensor or array
        As the network's framework takes it: ``(n_stimuli, 3, height, width)`` for PyTorch,
        ``(n_stimuli, height, width, 3)`` for Keras.
    modules : str or sequence of str
        Addresses of modules.
    reduction : str or dict, optional
        As in `extract_features`, e.g. ``"flatten"``.

    Returns
    -------
    dict of str to array, shape (n_stimuli, ...)
        By address, in the order of the network's modules.

    Raises
    ------
    InvalidArgument
        If the batch has no such shape.
    ModuleError
        If there is no such module.

    Examples
    --------
    >>> from thingsvision.testing import toy_network
    >>> extract_batch(toy_network(), np.zeros((2, 8, 6, 3), np.float32), "fc")["fc"].shape
    (2, 5)
    """
    images = _channels_last(network, batch)
    survey = network.modules(images.shape[1:3])
    captures = survey.resolve([modules] if isinstance(modules, str) else list(modules))
    activations = {c.address: Activation(c.axes, c.shape, survey.tokens) for c in captures}
    names = reductions_for(list(activations), reduction)
    bound = bind_reductions(activations, names)
    functions = {address: one.apply for address, one in bound.items() if one.apply}
    return network.backend.run(network.model, images, captures, functions)


def extract_loaded(
    network: Network,
    batches: Loader | Iterable[Any],
    modules: str | Sequence[str],
    *,
    reduction: Reduction = None,
    batch_size: int | None = None,
) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """Extract the activations of what a loader gives, and its targets.

    Parameters
    ----------
    network : Network
        The network.
    batches : Loader or iterable
        A `Loader` goes the way of `extract_features`; any other gives batches as `extract_batch`
        takes them, alone or as the first of a tuple with targets.
    modules, reduction
        As in `extract_batch`.
    batch_size : int, optional
        In place of the loader's own.

    Returns
    -------
    features : dict of str to array, shape (n_stimuli, ...)
        By address.
    targets : array, shape (n_stimuli,)
        Those of the loader, or running numbers.

    Raises
    ------
    InvalidArgument
        If `batches` gives none, or nothing that can be iterated.

    Examples
    --------
    >>> from thingsvision.testing import toy_network
    >>> batches = [np.zeros((2, 8, 6, 3), np.float32), np.zeros((1, 8, 6, 3), np.float32)]
    >>> features, targets = extract_loaded(toy_network(), batches, "fc")
    >>> features["fc"].shape, targets
    ((3, 5), array([0, 1, 2]))
    """
    if isinstance(batches, Loader) and isinstance(batches.transforms, Preprocessing):
        found = extract_features(
            network.preprocessed(batches.transforms), batches.stimuli, modules, reduction=reduction,
            batch_size=batch_size or batches.batch_size,
        )  # fmt: skip
        return {name: np.asarray(one) for name, one in found.items()}, batches.targets
    if not isinstance(batches, Iterable):
        raise InvalidArgument(
            f"Batches were given as {type(batches).__name__}; allowed are a data loader of "
            "thingsvision, and anything that gives preprocessed batches in a loop."
        )
    arrays: dict[str, list[NDArray[Any]]] = {}
    targets: list[Any] = []
    for item in batches:
        images, *rest = item if isinstance(item, (tuple, list)) else (item,)
        for name, array in extract_batch(network, images, modules, reduction=reduction).items():
            arrays.setdefault(name, []).append(array)
        known = np.asarray(rest[0]) if rest else np.arange(len(images)) + len(targets)
        targets += known.reshape(len(images), -1)[:, 0].tolist()
    if not arrays:
        raise InvalidArgument("The data loader gave no batch, so there are no features.")
    return {name: np.concatenate(rows) for name, rows in arrays.items()}, np.array(targets)


def _for_framework(images: NDArray[np.float32], backend: str) -> Any:
    if backend == "tf":
        return images
    from .backends.torch import TorchBackend

    return TorchBackend().place(images)


def _channels_last(network: Network, batch: Any) -> NDArray[np.float32]:
    """Turn a framework's batch into the images that a backend takes."""
    detached = batch.detach().cpu() if hasattr(batch, "detach") else batch
    images = np.asarray(detached)
    is_torch = network.backend.name == "torch"
    if images.ndim != 4 or images.shape[1 if is_torch else -1] != 3:
        wanted = "(n, 3, height, width)" if is_torch else "(n, height, width, 3)"
        raise InvalidArgument(
            f"A batch has the shape {images.shape}; {network.name} takes {wanted}."
        )
    return np.ascontiguousarray(np.moveaxis(images, 1, -1) if is_torch else images, np.float32)
