"""Batteries that prove a new backend, store or source; ours pass the same ones.

Each is called from a test and raises an AssertionError that says what is wrong::

    def test_my_store(tmp_path):
        check_store(MyStore, tmp_path)
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from .backends.base import Backend, FastBackend
from .backends.survey import Capture, Survey
from .backends.toy import ToyBackend, ToyNetwork
from .errors import ModuleError, StoreError, UnknownName
from .preprocessing import Preprocessing
from .reduction import flatten
from .stimuli import StimulusSet
from .store import Store
from .zoo import Network
from .zoo.card import ModelCard
from .zoo.source import Choice, Source

# Sums in another order differ in the last digits of float32.
TOLERANCE = 1e-5

Batch = Float32[np.ndarray, "n_stimuli height width 3"]


def toy_network(seed: int = 0, backend: Backend | None = None, **preprocessing: Any) -> Network:
    """Make a network that needs no deep-learning framework.

    Parameters
    ----------
    seed : int
        Of its weights.
    backend : Backend, optional
        A `ToyBackend` by default.
    **preprocessing
        Fields of `Preprocessing`; by default images go in as they are, in grey levels 0…255.

    Returns
    -------
    Network
        Of `thingsvision.backends.toy.ToyNetwork`.

    Examples
    --------
    >>> toy_network().modules((8, 6)).resolve(["double"])[0].shape
    (4, 3, 3)
    """
    record = Preprocessing(**{"divisor": 1.0, "origin": "the toy network", **preprocessing})
    card = ModelCard("local/toy", task="counting", preprocessing=record)
    weights = {"kind": "random", "seed": seed}
    return Network(card.name, ToyNetwork(seed), backend or ToyBackend(), record, card, weights)


def check_backend(backend: Backend, model: Any, size: tuple[int, int]) -> None:
    """Check a backend's promises on one model.

    Every array that the survey promises is captured alone, together with all others, twice, and
    in smaller batches; errors must leave the model usable.

    Parameters
    ----------
    backend : Backend
        The backend.
    model : object
        A model of its framework.
    size : (int, int)
        Height and width of images that the model takes.

    Raises
    ------
    AssertionError
        If a promise is broken.
    """
    weights = backend.digest(model)
    survey = backend.modules(model, size)
    captures = _all_captures(survey)
    batch = np.random.default_rng(0).random((3, *size, 3), np.float32)

    def run(wanted: list[Capture], images: Batch = batch, **options: Any) -> dict[str, Any]:
        # A copy, since a network may work in place on its input.
        return backend.run(model, images.copy(), wanted, options.pop("reductions", {}), **options)

    states = _random_states()
    together = run(captures, full=True)
    assert list(together) == [c.address for c in captures], (
        "run() must return the captures in the order in which they were asked for."
    )
    for capture in captures:
        _check_array(capture, together[capture.address], len(batch))
    _same(together, run(captures), 0, "stopping after the deepest module")
    _same(together, run(captures), 0, "running twice with the same seed")
    other_seed = run(captures, seed=1)
    singly = [run(captures, row[None]) for row in batch]
    for capture in captures:
        address = capture.address
        alone = run([capture])[address]
        _same({address: together[address]}, {address: alone}, 0, f"capturing {address} alone")
        assert not np.shares_memory(alone, together[address]), (
            f"{address}: the arrays of two runs share memory; each must be a private copy."
        )
        if np.array_equal(other_seed[address], together[address], equal_nan=True):  # not random
            one = np.concatenate([found[address] for found in singly])
            what = f"computing the rows of {address} one by one"
            _same({address: together[address]}, {address: one}, TOLERANCE, what)
    flat = run(captures, reductions={c.address: flatten for c in captures})
    flattened = {address: array.reshape(len(batch), -1) for address, array in together.items()}
    _same(flattened, flat, 0, "the reduction 'flatten'")
    _check_refusal(lambda: run([_impossible(captures[0])], full=True))
    _same(together, run(captures), 0, "an error in the run before")
    if isinstance(backend, FastBackend):
        way = backend.faster(model, batch[:1].copy(), captures)
        _same(together, run(captures, way=way), TOLERANCE, "the faster way")
        _same(together, run(captures), 0, "a run on the faster way before")
    assert backend.digest(model) == weights, "The weights have changed."
    assert backend.modules(model, size) == survey, "A second survey differs from the first."
    assert _random_states() == states, "The global random state has changed."


def check_source(source: Source, name: str, *, device: str = "cpu") -> None:
    """Check a model source's promises on one of its models, with random weights only.

    Parameters
    ----------
    source : Source
        The source.
    name : str
        One of its names; a small model makes a quick test.
    device : str
        Where to compute.

    Raises
    ------
    AssertionError
        If a promise is broken.
    """
    names = source.names()
    assert isinstance(names, list) and all(isinstance(item, str) for item in names), (
        "names() must return a list of strings."
    )
    assert len(set(names)) == len(names), "names() lists a model twice."
    assert name in names, f"names() does not list {name!r}."
    card = source.card(name)
    assert card.name.partition("/")[2].partition(".")[0] == name.partition(".")[0], (
        f"The card's name {card.name!r} is not spelled source/{name}."
    )
    assert card.weights is None or card.weights in card.all_weights, (
        f"The card's weights {card.weights!r} are not among all_weights {card.all_weights}."
    )
    assert not card.all_weights or card.weights == card.all_weights[0], (
        "Of all_weights the default must come first."
    )
    try:
        source.card("no-such-model")
    except UnknownName:
        pass
    else:
        raise AssertionError("card() must refuse an unknown model with UnknownName.")
    try:
        source.card(name, "no-such-weights")
    except UnknownName:
        pass
    else:
        raise AssertionError("card() must refuse unknown weights with UnknownName.")
    states = _random_states()
    first, again, other = (
        source.load(name, Choice(pretrained=False, seed=seed, device=device)) for seed in (0, 0, 1)
    )
    assert first.digest == again.digest, "The same seed must give the same random weights."
    assert first.digest != other.digest, "Another seed must give other random weights."
    assert _random_states() == states, "load() has changed the global random state."
    assert first.weights.get("kind") == "random", "The weights' record must say kind 'random'."
    survey = first.modules()
    captures = _all_captures(survey)
    bare = source.load(name, Choice(pretrained=False, device="meta"))
    assert _names(bare.modules()) == _names(survey), (
        "Without weights (device 'meta') the network has other modules."
    )
    batch = np.zeros((1, *first.example_size, 3), np.float32)
    found = first.backend.run(first.model, batch, captures[-1:], {})
    _check_array(captures[-1], found[captures[-1].address], 1)


def check_store(store_class: Callable[[Path], Store], tmp_path: Path) -> None:
    """Check a store's promises.

    Parameters
    ----------
    store_class : callable
        Takes a folder.
    tmp_path : pathlib.Path
        An empty folder to work in.

    Raises
    ------
    AssertionError
        If a promise is broken.
    """
    for count in (1, 5):
        stimuli, arrays = _sample_stimuli(count), _sample_arrays(count)
        whole = tmp_path / f"of {count}"
        _fill(store_class(whole), stimuli, arrays, range(0, count, 2))
        store_class(whole).close()  # twice, or unused, must do no harm
        _check_read(store_class(whole), arrays, stimuli)
    parts, request = tmp_path / "parts", _request(arrays)
    assert store_class(whole).begin(request, {}, stimuli), (
        "begin() does not see that the store is complete."
    )
    _fill(store_class(parts), stimuli, arrays, [4], finish=False)
    _refuses(lambda: store_class(parts).read(), "reading an unfinished store")
    _fill(store_class(parts), stimuli, arrays, [0], finish=False)
    with closing(store_class(parts)) as resumed:
        assert not resumed.begin(request, {"versions": {}}, stimuli)
        assert [resumed.has(start) for start in (0, 2, 4)] == [True, False, True], (
            "A store that was opened again does not know what it holds."
        )
        _refuses(resumed.finish, "finishing with rows missing")
    _fill(store_class(parts), stimuli, arrays, [2])
    _check_read(store_class(parts), arrays, stimuli)
    assert _files(parts) == _files(whole), (
        "A store that was interrupted differs from one that was not."
    )
    other = {**request, "model": "n"}
    _refuses(lambda: store_class(parts).begin(other, {}, stimuli), "another request")
    changed = replace(stimuli, sources=(*stimuli.sources[:-1], stimuli.sources[0]))
    _refuses(lambda: store_class(parts).begin(request, {}, changed), "a changed image")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("do not touch", encoding="utf-8")
    _refuses(lambda: store_class(foreign).begin(request, {}, stimuli), "a folder of other files")
    _refuses(lambda: store_class(foreign).read(), "reading a folder of other files")


def _sample_stimuli(count: int) -> StimulusSet:
    pictures = tuple(np.arange(count * 12, dtype=np.uint8).reshape(count, 2, 2, 3))
    ids = tuple(f'class/{n} ü犬𝄞\n,".png' for n in range(count))
    return StimulusSet(ids, pictures, np.arange(count) % 2, ("käse, 😀", "犬"))


def _sample_arrays(count: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    shapes = {"features.10": (3, 2, 2), "a/b:0": (), "Same": (4,), "same": (4,), "none[0]": (0, 3)}
    arrays = {n: random.standard_normal((count, *s)).astype("f4") for n, s in shapes.items()}
    arrays["x" * 300] = random.integers(0, 9, (count, 2))
    for dtype in ("uint8", "bool"):
        arrays[f"type *{dtype}?"] = random.integers(0, 2, (count, 3)).astype(dtype)
    for dtype in ("float16", "float32", "float64"):
        limits = np.finfo(dtype)
        numbers = [np.nan, np.inf, -np.inf, -0.0, limits.smallest_subnormal, limits.max, 1 / 3]
        arrays[f"limits of {dtype}"] = np.array([numbers] * count, dtype)
        for axes in range(6):
            array = random.standard_normal((count, *(2, 3, 1, 2, 2)[:axes]))
            arrays[f"{axes} axes of {dtype}"] = array.astype(dtype)
    return arrays


def _request(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {"model": "m", "modules": dict.fromkeys(arrays), "batch_size": 2}


def _fill(
    store: Store,
    stimuli: StimulusSet,
    arrays: Mapping[str, NDArray[Any]],
    starts: Iterable[int],
    finish: bool = True,
) -> None:
    """Write some batches of two."""
    axes = {name: tuple(f"axis_{k}" for k in range(a.ndim)) for name, a in arrays.items()}
    with closing(store):
        done = store.begin(_request(arrays), {"versions": {}}, stimuli)
        assert not done, "begin() says that an unfinished store is complete."
        for start in starts:
            assert not store.has(start), f"has({start}) before that batch was written."
            rows = {name: array[start : start + 2] for name, array in arrays.items()}
            digests = [stimuli.digest(row) for row in range(len(stimuli))[start : start + 2]]
            store.write(start, rows, axes, digests)
            assert store.has(start), f"has({start}) denies a batch that was written."
        if finish:
            store.finish()
        store.close()  # twice must do no harm


def _check_read(store: Store, arrays: Mapping[str, NDArray[Any]], stimuli: StimulusSet) -> None:
    features = store.read()
    assert list(features) == list(arrays), "Modules are not read in the order they were written."
    for address, array in arrays.items():
        found = features[address]
        assert found.dtype == array.dtype, f"{address}: the type has changed."
        assert found.shape == array.shape, f"{address}: the shape has changed."
        # Bits, since NaN equals nothing and -0.0 equals 0.0.
        assert np.asarray(found).tobytes() == array.tobytes(), f"{address}: numbers have changed."
        assert found.ids == stimuli.ids, "Ids have changed."
        assert np.array_equal(found.targets, stimuli.targets), "Targets have changed."  # type: ignore[arg-type]


def _files(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _refuses(action: Callable[[], Any], what: str) -> None:
    try:
        action()
    except StoreError:
        return
    raise AssertionError(f"Not refused with a StoreError: {what}.")


def _all_captures(survey: Survey) -> list[Capture]:
    names = _names(survey)
    assert len(set(names)) == len(names), "The survey lists a module twice."
    for module in survey.modules:
        calls = {output.call for output in module.outputs}
        assert calls <= set(range(module.calls)), f"{module.name}: outputs of calls it never had."
    addresses = [
        module.address(output)
        for module in (*survey.modules, survey.root)
        for output in module.outputs
        if output.batch_axis is not None and module.name
    ]
    assert addresses, "The survey finds nothing that could be captured."
    return survey.resolve(addresses)


def _names(survey: Survey) -> list[str]:
    return [module.name for module in survey.modules]


def _check_array(capture: Capture, array: Any, count: int) -> None:
    address = capture.address
    assert isinstance(array, np.ndarray), f"{address}: {type(array).__name__} is no NumPy array."
    assert array.shape == (count, *capture.shape), (
        f"{address}: the shape is {array.shape}, the survey promised {(count, *capture.shape)}."
    )
    assert len(capture.axes) == array.ndim and capture.axes[0] == "stimulus", (
        f"{address}: the axes {capture.axes} do not name {array.ndim} axes, 'stimulus' first."
    )


def _same(
    wanted: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]], tolerance: float,
    what: str,
) -> None:  # fmt: skip
    for address, array in wanted.items():
        scale = float(np.abs(array).max(initial=0)) if array.size else 0.0
        close = np.allclose(found[address], array, rtol=0, atol=tolerance * scale, equal_nan=True)
        assert close, f"{address}: {what} changes the numbers."


def _impossible(capture: Capture) -> Capture:
    return replace(capture, call=capture.calls + 7, order=capture.order + 10**6)


def _check_refusal(action: Callable[[], Any]) -> None:
    try:
        action()
    except ModuleError:
        return
    raise AssertionError("A call that never happens must be refused with a ModuleError.")


def _random_states() -> list[bytes]:
    """Take the global random states of Python, NumPy and, where in use, PyTorch and TensorFlow."""
    states = [np.random.get_state(legacy=False)["state"]["key"].tobytes()]  # noqa: NPY002
    states.append(repr(random.getstate()).encode())
    if torch := sys.modules.get("torch"):
        states.append(torch.get_rng_state().numpy().tobytes())
    if tensorflow := sys.modules.get("tensorflow.python.eager.context"):
        context = tensorflow.context()  # a seed, and the stream of numbers that it has begun
        stream = getattr(context, "_rng", None)
        states.append(repr((context._seed, stream and stream.getstate())).encode())
    return states
