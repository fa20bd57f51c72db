"""A network of a few NumPy lines, with all that is awkward in real ones; for tests and docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from ..errors import ModuleError, listing
from ..provenance import digest
from ..reduction import Reduce
from .survey import Capture, Module, Output, Survey

TYPES = {
    "thin": "Thin", "double": "Double", "split": "Split", "fc": "Linear", "noise": "Noise",
    "table": "Table", "unused": "Identity",
}  # fmt: skip
AXES = {1: ("feature",), 2: ("row", "column"), 3: ("height", "width", "channel")}


class Call(NamedTuple):
    """One call of a module, at the moment it returns."""

    module: str
    given: Any
    output: Any


@dataclass
class ToyNetwork:
    """Weights of the toy network.

    ``thin`` keeps every other pixel; ``double`` is called twice and works in place;
    ``split`` returns the means and the maxima of the channels; ``fc`` is a linear classifier of
    the means; ``noise`` is random; ``table`` has no rows for stimuli; ``unused`` is never called.

    Parameters
    ----------
    seed : int
        Of the weights of ``fc``, shape ``(3, 5)``.
    """

    seed: int = 0
    weights: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.weights = np.random.default_rng(self.seed).standard_normal((3, 5), np.float32)

    def calls(self, batch: Float32[np.ndarray, "n h w 3"], seed: int) -> Iterator[Call]:
        """Run a forward pass, one call at a time."""
        halves = batch[:, ::2, ::2].copy()
        yield Call("thin", batch, halves)
        for _ in range(2):
            halves *= 2
            yield Call("double", halves, halves)
        # Row by row: sums over several rows at once may differ in the last bits.
        parts = (np.stack([row.mean((0, 1)) for row in halves]), halves.max((1, 2)))
        yield Call("split", halves, parts)
        scores = np.stack([row @ self.weights for row in parts[0]])
        yield Call("fc", parts[0], scores)
        noise = np.random.default_rng(seed).standard_normal(parts[0].shape, np.float32)
        yield Call("noise", parts[0], parts[0] + noise)
        yield Call("table", None, self.weights)
        yield Call("", batch, scores)


@dataclass(frozen=True)
class ToyBackend:
    """Runs `ToyNetwork`; see `thingsvision.backends.base.Backend`."""

    name = "toy"
    device = "cpu"

    def modules(self, model: ToyNetwork, size: tuple[int, ...]) -> Survey:
        """Find names, types, calls and output shapes, from batches of two sizes."""
        two, three = (list(model.calls(np.zeros((n, *size, 3), np.float32), 0)) for n in (2, 3))
        outputs: dict[str, list[Output]] = {name: [] for name in ("", *TYPES)}
        calls: Counter[str] = Counter()
        for order, (a, b) in enumerate(zip(two, three, strict=True)):
            for (path, x), (_, y) in zip(_leaves(a.output), _leaves(b.output), strict=True):
                shape, axis = (x.shape, None) if x.shape == y.shape else (x.shape[1:], 0)
                output = Output(calls[a.module], path, shape, AXES[len(shape)], axis, order)
                outputs[a.module].append(output)
            calls[a.module] += 1
        types = {"": "ToyNetwork", **TYPES}
        root, *modules = (Module(n, types[n], calls[n], tuple(o)) for n, o in outputs.items())
        given = Output(0, (), (3,), AXES[1], 0, [call.module for call in two].index("fc"))
        return Survey(tuple(modules), root, "fc", given, method="forward pass")

    def run(
        self,
        model: ToyNetwork,
        batch: Float32[np.ndarray, "n h w 3"],
        captures: Sequence[Capture],
        reductions: Mapping[str, Reduce],
        *,
        seed: int = 0,
        full: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch and return the captures by address, one row per stimulus."""
        found: dict[str, NDArray[Any]] = {}
        seen: Counter[str] = Counter()
        last = max(capture.order for capture in captures)
        for order, call in enumerate(model.calls(batch, seed)):
            for capture in captures:
                if (capture.module, capture.call) == (call.module, seen[call.module]):
                    value = call.given if capture.is_input else call.output
                    copy = dict(_leaves(value))[capture.path].copy()  # the next works in place
                    reduce = reductions.get(capture.address)
                    found[capture.address] = reduce(copy) if reduce else copy
            seen[call.module] += 1
            if order == last and not full:
                break
        missing = [capture.address for capture in captures if capture.address not in found]
        if missing:
            raise ModuleError(f"{listing(missing)}: returned no output in the forward pass.")
        return {capture.address: found[capture.address] for capture in captures}

    def digest(self, model: ToyNetwork) -> str:
        """Compute the SHA-256 of the weights."""
        return digest(model.weights.tobytes())

    def structure(self, model: ToyNetwork) -> str:
        """Describe the modules, which are the same for every network of this kind."""
        return str(TYPES)


def _leaves(value: Any) -> list[tuple[tuple[int | str, ...], NDArray[Any]]]:
    if isinstance(value, tuple):
        return [((index,), item) for index, item in enumerate(value)]
    return [((), value)]
