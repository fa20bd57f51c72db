"""Shards: any number of them, in any order and at the same time, give what one run gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thingsvision.backends.toy import ToyBackend
from thingsvision.engines.shard import Shard, extract_shard, read_shard
from thingsvision.errors import InvalidArgument, StoreError, ThingsvisionWarning
from thingsvision.extraction import extract_features
from thingsvision.store import STORES, open_features
from thingsvision.store.lock import hold
from thingsvision.testing import toy_network

FORMATS = [name for name in STORES if name not in STORES.missing()]
Numbered = Callable[[int], np.ndarray]
ImageFolder = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 255, (count, 8, 6, 3), np.uint8)


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 60))
def test_every_batch_is_in_one_shard(count: int, step: int, shards: int) -> None:
    starts = range(0, count, step)
    parts = [Shard(number, shards).of(starts) for number in range(1, shards + 1)]
    assert [start for part in parts for start in part] == list(starts)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=10)
@given(
    count=st.integers(1, 9), batch_size=st.integers(1, 4),
    order=st.integers(1, 5).flatmap(lambda shards: st.permutations(range(1, shards + 1))),
)  # fmt: skip
def test_any_partition_gives_the_same_bytes(
    format: str, count: int, batch_size: int, order: list[int]
) -> None:
    options: dict[str, Any] = {"format": format, "batch_size": batch_size}
    with TemporaryDirectory() as folder:
        out, whole = Path(folder) / "out", Path(folder) / "whole"
        extract_features(toy_network(), pictures(count), ["thin", "fc"], out=whole, **options)
        n_batches, done = len(range(0, count, batch_size)), 0
        for number in order:
            found = extract_shard(
                toy_network(), pictures(count), ["thin", "fc"], (number, len(order)), out=out,
                **options,
            )  # fmt: skip
            done += len(Shard(number, len(order)).of(range(n_batches)))
            assert found.missing == n_batches - done
            assert (found.features is None) == (found.missing > 0)
        assert contents(out) == contents(whole)


def work(out: str, number: int, barrier: Any) -> None:
    barrier.wait()
    extract_shard(toy_network(), pictures(40), ["thin", "fc"], (number, 4), out=out, batch_size=2)


@pytest.mark.parametrize("format", ["npy", "zarr"])
def test_shards_that_start_at_the_same_moment(format: str, tmp_path: Path) -> None:
    extract_features(toy_network(), pictures(40), ["thin", "fc"], out=tmp_path / "whole",
                     batch_size=2)  # fmt: skip
    context = get_context("spawn")
    barrier = context.Barrier(4)
    processes = [
        context.Process(target=work, args=(str(tmp_path / "out"), number, barrier))
        for number in range(1, 5)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_unfinished_folder_cannot_be_opened_and_a_plain_run_finishes_it(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(toy_network(), numbered(9), "fc", out=tmp_path / "whole", batch_size=2)
    extract_shard(toy_network(), numbered(9), "fc", "2/3", out=tmp_path / "out", batch_size=2)
    with pytest.raises(StoreError, match="unfinished"):
        open_features(tmp_path / "out")
    seen = []
    run = ToyBackend.run

    def counting(self: Any, model: Any, batch: Any, *args: Any, **options: Any) -> Any:
        seen.append(len(batch))
        return run(self, model, batch, *args, **options)

    monkeypatch.setattr(ToyBackend, "run", counting)
    extract_features(toy_network(), numbered(9), "fc", out=tmp_path / "out", batch_size=2)
    assert len(seen) == 1 + 3, "the first image to the end, and the batches that were missing"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_shard_of_a_finished_folder_computes_nothing(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(toy_network(), numbered(5), "fc", out=tmp_path, batch_size=2)
    monkeypatch.setattr(ToyBackend, "run", None)
    found = extract_shard(toy_network(), numbered(5), "fc", "3/3", out=tmp_path, batch_size=2)
    assert (found.missing, found.n_stimuli) == (0, 1)
    assert found.features is not None and found.features["fc"].shape == (5, 5)


def test_broken_images_of_all_shards_are_recorded_and_mended(
    image_folder: ImageFolder, tmp_path: Path
) -> None:
    images = image_folder([f"{row}.png" for row in range(7)])
    sound = {name: (images / name).read_bytes() for name in ("1.png", "5.png")}
    whole, out = tmp_path / "whole", tmp_path / "out"
    extract_features(toy_network(), images, "fc", out=whole, batch_size=2)
    for name, data in sound.items():
        (images / name).write_bytes(data[:-30])

    def shard(number: int) -> Any:
        return extract_shard(
            toy_network(), images, "fc", (number, 2), out=out, batch_size=2
        )  # fmt: skip

    with pytest.warns(ThingsvisionWarning, match="1 of 4 images could not"):
        assert list(shard(1).failures) == ["1.png"]
    with pytest.warns(ThingsvisionWarning, match="1 of 3 images could not"):
        found = shard(2)
    assert list(found.failures) == ["5.png"]
    assert list(found.features.failures) == ["1.png", "5.png"]
    for name, data in sound.items():
        (images / name).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ThingsvisionWarning)
        assert shard(2).missing == 1
        assert shard(1).features.failures == {}
    assert contents(out) == contents(whole)


def test_the_same_shard_or_the_whole_at_the_same_time_is_refused(
    numbered: Numbered, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"out": tmp_path / "out", "batch_size": 2}
    with hold(tmp_path / "out", "1-of-2"):
        with pytest.raises(StoreError, match="Shard 1/2 of .*another process"):
            extract_shard(toy_network(), numbered(4), "fc", "1/2", **options)
        with pytest.raises(StoreError, match="Shard 1/2 of .*another process"):
            extract_features(toy_network(), numbered(4), "fc", **options)
        extract_shard(toy_network(), numbered(4), "fc", "2/2", **options)
    with hold(tmp_path / "out"), pytest.raises(StoreError, match="another process"):
        extract_shard(toy_network(), numbered(4), "fc", "1/2", **options)


def test_another_request_is_refused(numbered: Numbered, tmp_path: Path) -> None:
    extract_shard(toy_network(), numbered(4), "fc", "1/2", out=tmp_path, batch_size=2)
    with pytest.raises(StoreError, match="batch_size was 2, is now 1"):
        extract_shard(toy_network(), numbered(4), "fc", "2/2", out=tmp_path, batch_size=1)


def test_the_gpus_of_one_machine_share_a_folder(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, device in enumerate(["cuda:0", "cuda:1"], 1):
        monkeypatch.setattr(ToyBackend, "device", device)
        found = extract_shard(toy_network(), numbered(4), "fc", (number, 3), out=tmp_path,
                              batch_size=1)  # fmt: skip
    assert found.missing == 2
    monkeypatch.setattr(ToyBackend, "device", "cpu")
    with pytest.raises(StoreError, match="begun elsewhere.*device"):
        extract_shard(toy_network(), numbered(4), "fc", "3/3", out=tmp_path, batch_size=1)


def test_shards_agree_on_the_batch_size(numbered: Numbered, tmp_path: Path) -> None:
    options: dict[str, Any] = {"out": tmp_path / "out", "batch_size": "auto"}
    with pytest.raises(InvalidArgument, match="must agree on the batch size"):
        extract_shard(toy_network(), numbered(4), "fc", "1/2", **options)
    extract_shard(toy_network(), numbered(4), "fc", "1/2", out=tmp_path / "out", batch_size=2)
    assert extract_shard(toy_network(), numbered(4), "fc", "2/2", **options).missing == 0


@pytest.mark.parametrize("value", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", (1,), None, ""])
def test_what_is_no_shard(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="is no shard.*'1/8' to '8/8'"):
        read_shard(value)
