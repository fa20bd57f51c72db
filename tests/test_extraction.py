from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import thingsvision.batches as batches
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import (
    InvalidArgument,
    ModuleError,
    StimulusError,
    StoreError,
    ThingsvisionWarning,
    UnknownName,
)
from thingsvision.extraction import AHEAD, extract_features
from thingsvision.features import FeatureSet
from thingsvision.planning import plan
from thingsvision.preprocessing import Preprocessing
from thingsvision.provenance import digest_items
from thingsvision.stimuli import StimulusSet, load_stimuli
from thingsvision.store import STORES, open_features
from thingsvision.testing import toy_network
from thingsvision.zoo import wrap_model

Numbered = Callable[[int], np.ndarray]
EXACT = ["thin", "double:0", "double", "split[0]", "split[1]", "fc"]


class CountingBackend(ToyBackend):
    """Counts forward passes, and does something before one of them."""

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        object.__setattr__(self, "sizes", [])
        object.__setattr__(self, "before", before)

    def run(self, model: Any, batch: np.ndarray, *args: Any, **options: Any) -> dict[str, Any]:
        if not options.get("full"):
            self.before(len(self.sizes))
            self.sizes.append(len(batch))
        return super().run(model, batch, *args, **options)


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[key], other[key]) for key in one)


# Rows and batches


@given(count=st.integers(1, 40), batch_size=st.integers(1, 45))
@settings(max_examples=30)
def test_rows_match_images(count: int, batch_size: int) -> None:
    levels = np.arange(count, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (count, 4, 4, 3)).copy()
    backend = CountingBackend()
    features = extract_features(
        toy_network(backend=backend), images, ["split[1]", "thin"], batch_size=batch_size
    )
    assert features["split[1]"].array[:, 0].tolist() == [4.0 * level for level in levels]
    assert (features["thin"].array == levels[:, None, None, None]).all()
    assert sum(backend.sizes) == count and max(backend.sizes) <= batch_size


def test_threads_do_not_permute_rows(numbered: Numbered, monkeypatch: pytest.MonkeyPatch) -> None:
    read = StimulusSet.read

    def uneven(self: StimulusSet, row: int, *rest: Any) -> Any:
        time.sleep(0.01 if row % 3 == 0 else 0)
        return read(self, row, *rest)

    monkeypatch.setattr(StimulusSet, "read", uneven)
    features = extract_features(toy_network(), numbered(30), "split[1]", batch_size=7)
    assert features.only.array[:, 2].tolist() == [4.0 * row for row in range(30)]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 17, 100])
def test_batch_size_changes_nothing(batch_size: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (17, 9, 7, 3), np.uint8)
    wanted = extract_features(toy_network(), images, EXACT, batch_size=17)
    assert same(extract_features(toy_network(), images, EXACT, batch_size=batch_size), wanted)


def test_random_modules_are_reproducible(numbered: Numbered) -> None:
    one, again, other = (
        extract_features(toy_network(), numbered(5), "noise", batch_size=2, seed=seed).only.array
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    noise = one - 4 * np.arange(5)[:, None]
    assert not np.allclose(noise[:2], noise[2:4]), "batches have noise of their own"


def test_networks_that_work_in_place_get_fresh_images(numbered: Numbered) -> None:
    class Greedy(ToyBackend):
        def run(self, model: Any, batch: np.ndarray, *args: Any, **options: Any) -> Any:
            result = super().run(model, batch, *args, **options)
            batch[:] = -1
            return result

    features = extract_features(toy_network(backend=Greedy()), numbered(3), "thin")
    assert features.only.array[:, 0, 0, 0].tolist() == [0, 1, 2]


# What is asked for


def test_order_of_modules_is_that_of_the_request(numbered: Numbered, tmp_path: Path) -> None:
    wanted = ["fc", "thin", "penultimate", "double:0", "split[0]"]
    assert list(extract_features(toy_network(), numbered(2), wanted)) == wanted
    for modules in (wanted, wanted[::-1]):  # the second finds the first one's store
        features = extract_features(toy_network(), numbered(2), modules, out=tmp_path / "out")
        assert list(features) == modules
    assert list(open_features(tmp_path / "out")) == wanted


def test_calls_elements_and_inputs(numbered: Numbered) -> None:
    features = extract_features(
        toy_network(), numbered(3), ["thin", "double:*", "double", "penultimate", "output"]
    )
    assert [float(array[2].max()) for array in (features["thin"].array, features["double:0"].array,
            features["double:1"].array, features["double"].array)] == [2, 4, 8, 8]  # fmt: skip
    assert features["penultimate"].array[2].tolist() == [8, 8, 8]
    assert features["output"].shape == (3, 5)


def test_wildcards_say_what_they_leave_out_in_one_line(numbered: Numbered) -> None:
    with pytest.warns(UserWarning) as caught:
        features = extract_features(toy_network(), numbered(2), "*")
    message = str(caught[0].message)
    assert len(caught) == 1 and "\n" not in message and "table, unused" in message
    assert list(features) == ["thin", "double", "split[0]", "split[1]", "fc", "noise"]


def test_modules_that_cannot_be_captured_are_named_together(numbered: Numbered) -> None:
    with pytest.raises(ModuleError) as caught:
        extract_features(toy_network(), numbered(2), ["fc", "unused", "table", "split", "fcc"])
    for text in ("'unused'", "'table'", "split[0], split[1]", "no module 'fcc'. Nearest: fc"):
        assert text in str(caught.value)


def test_targets_and_ids(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(["b/1.png", "a/1.png", "a/2.png"])
    features = extract_features(toy_network(), folder, "fc").only
    assert features.ids == ("a/1.png", "a/2.png", "b/1.png")
    assert features.targets.tolist() == [0, 0, 1]
    assert features.module == "fc" and features.axes == ("stimulus", "feature")


def test_reductions(numbered: Numbered) -> None:
    def shapes(**options: Any) -> dict[str, tuple[int, ...]]:
        work = plan(toy_network(), numbered(2), ["thin", "double", "fc"], **options)
        features = extract_features(work.network, work.stimuli, ["thin", "double", "fc"], **options)
        found = {name: item.shape for name, item in features.items()}
        assert work.shapes == found
        assert work.n_bytes == sum(item.array.nbytes for item in features.values())
        assert {name: len(axes) for name, axes in work.axes.items()} == {
            name: len(shape) for name, shape in found.items()
        }
        return found

    assert shapes() == {"thin": (2, 4, 3, 3), "double": (2, 4, 3, 3), "fc": (2, 5)}
    assert shapes(flatten=True) == {"thin": (2, 36), "double": (2, 36), "fc": (2, 5)}
    assert shapes(flatten=True) == shapes(reduction="flatten") == shapes(reduction={"*": "flatten"})
    assert shapes(reduction={"th*": "flatten"})["double"] == (2, 4, 3, 3)
    assert shapes(reduction={"th*": "flatten"})["thin"] == (2, 36)
    with pytest.raises(UnknownName, match="no reduction 'flat'"):
        shapes(reduction="flat")
    with pytest.raises(InvalidArgument, match="flatten=True is short"):
        shapes(flatten=True, reduction={"fc": "flatten"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it is at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5; it is a whole number"),
        ({"seed": "x"}, "seed is 'x'; it is a whole number"),
        ({"format": "nyp", "out": "x"}, "no format 'nyp'. Nearest: npy"),
    ],
)
def test_faulty_arguments(numbered: Numbered, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        extract_features(toy_network(), numbered(2), "fc", **options)


def test_numpy_integers_are_whole_numbers(numbered: Numbered, tmp_path: Path) -> None:
    options = {"batch_size": np.int64(2), "seed": np.int32(3), "out": tmp_path / "out"}
    assert extract_features(toy_network(), numbered(3), "fc", **options).only.shape == (3, 5)


# Images


def test_differing_sizes_are_refused_with_the_remedy() -> None:
    images = [np.zeros((8, 6, 3), np.uint8), np.zeros((6, 8, 3), np.uint8)]
    with pytest.raises(StimulusError, match=r"000000: 8 × 6, 000001: 6 × 8.*--resize 256 --crop"):
        extract_features(toy_network(), images, "fc")
    network = toy_network().preprocessed(resize=6, crop=4)
    assert extract_features(network, images, "thin").only.shape == (2, 2, 2, 3)


def test_bad_headers_stop_it_before_the_first_pass(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(["a.png", "b.png", "c.png"])
    for name in ("b.png", "c.png"):
        (folder / name).write_bytes(b"broken")
    backend = CountingBackend()
    with pytest.raises(StimulusError, match=r"(?s)2 of 3 images.*b\.png.*c\.png"):
        extract_features(toy_network(backend=backend), folder, "fc", batch_size=1)
    assert backend.sizes == []


def noisy_folder(tmp_path: Path, count: int) -> Path:
    folder = tmp_path / "noisy"
    folder.mkdir()
    for row in range(count):
        noise = np.random.default_rng(row).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{row}.png")
    return folder


def test_images_that_fail_while_decoding(tmp_path: Path) -> None:
    """More of this in tests/reliability/test_broken_images.py."""
    folder = noisy_folder(tmp_path, 9)
    whole = extract_features(toy_network(), folder, "fc", batch_size=3)["fc"]
    for name in ("3.png", "5.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:2000])
    with pytest.warns(ThingsvisionWarning, match=r"(?s)2 of 9 images.*3\.png.*5\.png") as caught:
        features = extract_features(toy_network(), folder, "fc", batch_size=3)["fc"]
    assert len(caught) == 1 and "4.png" not in str(caught[0].message)
    assert list(features.failures) == ["3.png", "5.png"]
    assert np.isnan(features[[3, 5]]).all()
    others = [0, 1, 2, 4, 6, 7, 8]
    assert np.array_equal(features[others], whole[others])


def test_an_image_that_changes_its_size_meanwhile(
    image_folder: Callable[..., Path],
) -> None:
    stimuli = load_stimuli(image_folder(["a.png", "b.png"]))
    _ = stimuli.sizes
    Image.new("RGB", (20, 20)).save(stimuli.sources[1])
    with pytest.warns(ThingsvisionWarning, match=r"b\.png: is 20 × 20 pixels.* changed while"):
        features = extract_features(toy_network(), stimuli, "fc")
    assert list(features.failures) == ["b.png"]


# Interruptions


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_interruptions_leave_a_store_that_goes_on(
    numbered: Numbered, tmp_path: Path, error: type[BaseException]
) -> None:
    def strike(number: int) -> None:
        if number == 2:
            raise error

    struck, counting = CountingBackend(strike), CountingBackend()
    options = {"batch_size": 2, "out": tmp_path / "out"}
    with pytest.raises(error) as caught:
        extract_features(toy_network(backend=struck), numbered(9), EXACT, **options)
    # The traceback is still alive, and keeps the frames of the run alive.
    assert caught.tb is not None
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
    features = extract_features(toy_network(backend=counting), numbered(9), EXACT, **options)
    assert counting.sizes == [2, 2, 1]
    assert same(features, extract_features(toy_network(), numbered(9), EXACT, batch_size=2))


@pytest.mark.parametrize(("device", "bounds"), [("cpu", (0, 0)), ("accelerator", (1, 2 * AHEAD))])
def test_reading_ahead_is_bounded(
    numbered: Numbered, monkeypatch: pytest.MonkeyPatch, device: str, bounds: tuple[int, int]
) -> None:
    decoded = []
    read = StimulusSet.read
    monkeypatch.setattr(
        StimulusSet, "read", lambda self, row, *rest: decoded.append(row) or read(self, row, *rest)
    )
    monkeypatch.setattr(ToyBackend, "device", device)
    ahead = []

    def look(number: int) -> None:
        time.sleep(0.03)
        ahead.append(len(decoded) - 2 * (number + 1))

    extract_features(toy_network(backend=CountingBackend(look)), numbered(30), "fc", batch_size=2)
    assert bounds[0] <= max(ahead) <= bounds[1]


# Progress


def test_progress_goes_to_standard_error(
    numbered: Numbered, capsys: pytest.CaptureFixture[str]
) -> None:
    extract_features(toy_network(), numbered(3), "fc", progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "3/3" in shown.err and "images/s" in shown.err
    for progress in (False, None):  # None: standard error is no terminal here
        extract_features(toy_network(), numbered(3), "fc", progress=progress)
        assert capsys.readouterr() == ("", "")


def test_progress_counts_what_was_there(
    numbered: Numbered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def strike(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    options = {"batch_size": 2, "out": tmp_path / "out"}
    with pytest.raises(KeyboardInterrupt):
        extract_features(toy_network(backend=CountingBackend(strike)), numbered(6), "fc", **options)
    extract_features(toy_network(), numbered(6), "fc", progress=True, **options)
    assert "4/6" in capsys.readouterr().err


# Plan and provenance


def test_a_plan_takes_no_forward_pass_and_writes_nothing(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backend = CountingBackend()
    work = plan(toy_network(backend=backend), numbered(5), "fc", batch_size=2)
    assert list(work.starts) == [0, 2, 4] and work.size == (8, 6) and backend.sizes == []
    assert list(tmp_path.iterdir()) == []


def test_provenance_says_what_made_the_features(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    stimuli = load_stimuli(image_folder(["a/1.png", "b/1.png"]))
    network = toy_network(seed=7).preprocessed(crop=4)
    for out in (None, tmp_path / "out"):
        features = extract_features(
            network, stimuli, ["thin", "fc"], reduction={"thin": "flatten"}, out=out, seed=3
        )
        found = features.provenance
        assert found["model"] == "local/toy" and found["framework"] == "toy"
        assert found["weights"] == {"kind": "random", "seed": 7, "digest": network.digest}
        assert found["preprocessing"]["crop"] == 4
        assert "overridden: crop=4" in found["preprocessing"]["origin"]
        assert found["modules"] == {"thin": "flatten", "fc": None}
        assert found["batch_size"] == 32 and found["seed"] == 3 and found["device"] == "cpu"
        assert found["input_size"] == [4, 4] and "numpy" in found["versions"]
        assert found["stimuli"]["count"] == 2
        assert found["stimuli"]["ids"] == digest_items(stimuli.ids)
        assert found["stimuli"]["content"] == digest_items([stimuli.digest(r) for r in (0, 1)])
        assert found["training_data"] == ""
    in_memory = extract_features(
        network, stimuli, ["thin", "fc"], reduction={"thin": "flatten"}, seed=3
    )
    assert in_memory.provenance == found, "the same from memory and from a file"


def test_requests_differ_where_features_would(numbered: Numbered) -> None:
    stimuli = load_stimuli(numbered(3))

    def request(network: Any = None, stimuli: Any = stimuli, modules: str = "fc", **o: Any) -> Any:
        return plan(network or toy_network(), stimuli, modules, **o).request

    classes = StimulusSet(stimuli.ids, stimuli.sources, np.array([0, 0, 1]), ("a", "b"))
    others = [
        request(toy_network(seed=1)),
        request(toy_network(divisor=255.0)),
        request(stimuli=stimuli[::-1]),
        request(stimuli=stimuli[:2]),
        request(stimuli=classes),
        request(modules="thin"),
        request(flatten=True),
        request(batch_size=3),
        request(seed=1),
    ]
    assert request() == request()
    assert all(other != request() for other in others)


def test_features_of_several_modules_share_their_rows(numbered: Numbered) -> None:
    features = extract_features(toy_network(), numbered(4), ["thin", "fc"])
    assert isinstance(features, FeatureSet)
    assert features["thin"].ids == features["fc"].ids == ("000000", "000001", "000002", "000003")


@pytest.mark.skipif(sys.platform == "win32", reason="needs an affinity")
def test_one_decoding_thread_per_core(numbered: Numbered, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    pool = batches.ThreadPoolExecutor

    def counted(workers: int, **options: Any) -> Any:
        made.append(workers)
        return pool(workers, **options)

    monkeypatch.setattr(batches, "ThreadPoolExecutor", counted)
    monkeypatch.setattr(batches.os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    extract_features(toy_network(), numbered(4), "fc")
    assert made == [3]


# What a newcomer tripped over


def test_a_changed_structure_is_another_request(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    preprocessing = Preprocessing(resize=8, crop=8)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.ReLU())
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    extract_features(wrap_model(model, preprocessing), images, "1", out=tmp_path / "out")
    model[1] = torch.nn.Tanh()  # no parameters: the weights are the same
    with pytest.raises(StoreError, match="structure"):
        extract_features(wrap_model(model, preprocessing), images, "1", out=tmp_path / "out")


def test_weights_changed_behind_torchs_back_are_another_request(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))
    network = wrap_model(model, Preprocessing(resize=8, crop=8))
    images = np.zeros((2, 8, 8, 3), np.uint8)
    extract_features(network, images, "0", out=tmp_path / "out")
    model[0].weight.data[0] = 0  # how a network is lesioned
    with pytest.raises(StoreError, match="digest"):
        extract_features(network, images, "0", out=tmp_path / "out")


def test_a_network_that_was_changed_is_surveyed_again() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))
    network = wrap_model(model, Preprocessing(resize=8, crop=8))
    images = np.zeros((2, 8, 8, 3), np.uint8)
    assert extract_features(network, images, "0")["0"].shape == (2, 2, 8, 8)
    model[0].stride = (2, 2)
    model.append(torch.nn.ReLU())
    assert extract_features(network, images, "1")["1"].shape == (2, 2, 4, 4)


def test_padding_is_said(tmp_path: Path) -> None:
    network = toy_network().preprocessed(Preprocessing(resize=8, crop=16))
    with pytest.warns(ThingsvisionWarning, match="2 images are smaller than the crop 16"):
        plan(network, np.zeros((2, 8, 8, 3), np.uint8), "fc")


@pytest.mark.parametrize("modules", [None, 5, [1], ["fc", None]])
def test_modules_are_names(modules: Any) -> None:
    with pytest.raises(InvalidArgument, match="modules is"):
        plan(toy_network(), np.zeros((2, 8, 8, 3), np.uint8), modules)


@pytest.mark.parametrize("seed", [-1, 2**32, 99999999999999999999])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InvalidArgument, match="seed is"):
        plan(toy_network(), np.zeros((2, 8, 8, 3), np.uint8), "fc", seed=seed)


def test_a_table_that_was_sorted_is_noticed(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    extract_features(toy_network(), images, "fc", out=tmp_path / "out")
    table = tmp_path / "out" / "stimuli.csv"
    head, first, second, third = table.read_text().splitlines()
    table.write_text("\n".join([head, second, first, third]) + "\n")
    with pytest.raises(StoreError, match=r"stimuli\.csv .* was changed"):
        open_features(tmp_path / "out")


def test_meta_that_was_edited_is_noticed(tmp_path: Path) -> None:
    extract_features(toy_network(), np.zeros((2, 8, 8, 3), np.uint8), "fc", out=tmp_path / "out")
    meta = tmp_path / "out" / "meta.json"
    meta.write_text(meta.read_text().replace('"shape"', '"form"'))
    with pytest.raises(StoreError, match="changed by hand"):
        open_features(tmp_path / "out")


class Odd(ToyBackend):
    """Gives numbers that are none for images of some levels; ``fc`` counts beyond float32."""

    def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> Any:
        found = super().run(model, batch, *args, **options)
        level = batch[:, 0, 0, 0]
        for address, array in found.items():
            if address == "thin":
                array[level == 2, 0, 0, 0] = np.nan
            if address in ("thin", "fc"):
                array[level == 5] = -np.inf
            if address == "noise":
                array[:] = np.finfo(np.float32).max  # whose sum is not finite
        return found


@pytest.mark.parametrize(
    ("format", "batch_size"), [(None, 1), (None, 7), *((format, 2) for format in (None, *STORES))]
)
def test_nan_and_infinity_are_kept_and_said_once(
    format: str | None, batch_size: int, numbered: Any, tmp_path: Path
) -> None:
    if format in STORES.missing():
        pytest.skip(f"{format} needs a package that is absent")
    options = {} if format is None else {"out": tmp_path / "out", "format": format}
    with pytest.warns(ThingsvisionWarning) as caught:
        found = extract_features(
            toy_network(backend=Odd()), numbered(7), ["thin", "fc", "noise"],
            batch_size=batch_size, **options,
        )  # fmt: skip
    assert [str(one.message).split(". Leave")[0] for one in caught] == [
        "2 of 7 stimuli gave NaN or infinity, kept as they are: 000002, 000005. "
        "By module: thin (2), fc (1)"
    ]
    assert np.isnan(found["thin"][2]).sum() == 1 and np.all(found["fc"][5] == -np.inf)
    assert np.isfinite(found["noise"]).all()


def test_nan_is_said_also_when_an_extraction_fails(numbered: Any, tmp_path: Path) -> None:
    class Failing(Odd):
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> Any:
            if batch[0, 0, 0, 0] == 4:
                raise KeyboardInterrupt
            return super().run(model, batch, *args, **options)

    with (
        pytest.warns(ThingsvisionWarning, match="1 of 7 stimuli"),
        pytest.raises(KeyboardInterrupt),
    ):
        extract_features(toy_network(backend=Failing()), numbered(7), "thin", batch_size=2)
