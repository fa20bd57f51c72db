"""Plans: what they say of bytes, time and memory, and what they propose; batch_size="auto"."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import thingsvision as tv
import thingsvision.estimate as estimate
import thingsvision.trial as trial
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import InvalidArgument, StoreError, UnknownName
from thingsvision.estimate import estimate_cost
from thingsvision.extraction import extract_features
from thingsvision.planning import plan
from thingsvision.store import STORES
from thingsvision.testing import toy_network
from thingsvision.trial import choose_batch_size, try_batch

CLOCK = SimpleNamespace(seconds=0.0)
IMAGES = np.random.default_rng(0).integers(0, 255, (50, 8, 6, 3), np.uint8)


class Slow(ToyBackend):
    """Takes a time for each call and for each row, and has room for some rows."""

    call, row, room = 0.0, 0.0, 10**6
    seen: list[int] = []  # noqa: RUF012

    def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
        type(self).seen.append(len(batch))
        if len(batch) > self.room:
            raise MemoryError
        CLOCK.seconds += self.call + self.row * len(batch)
        return super().run(model, batch, *args, **options)


def slow(**values: Any) -> Slow:
    backend: Slow = type("Slower", (Slow,), {"seen": [], **values})()
    return backend


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass but that of slow networks: how busy the machine is must not matter."""
    monkeypatch.setattr(trial, "perf_counter", lambda: CLOCK.seconds)


def test_bytes_are_those_that_are_written(tmp_path: Path) -> None:
    modules = ["thin", "fc"]
    work = plan(toy_network(), IMAGES, modules)
    found = estimate_cost(work, tmp_path / "out")
    features = extract_features(toy_network(), IMAGES, modules, out=tmp_path / "out")
    assert work.n_bytes == sum(np.asarray(item).nbytes for item in features.values())
    written = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert written - 8192 < found.n_bytes < written * 1.5  # meta.json takes some KB
    assert found.images == 50 and found.advice == ()
    assert found.free_disk is not None and found.free_disk > 10**6


@pytest.mark.parametrize("format", STORES)
def test_formats_that_are_made_in_the_end_need_one_array_twice(tmp_path: Path, format: str) -> None:
    work = plan(toy_network(), IMAGES, ["thin", "fc"])
    twice = format in ("mat", "txt", "pt", "csv", "parquet")
    found = estimate_cost(work, tmp_path, format=format, measure=False)
    plain = estimate_cost(work, tmp_path, measure=False)
    assert found.n_bytes - plain.n_bytes == (4 * 50 * 4 * 3 * 3 if twice else 0)


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="npz"):
        estimate_cost(plan(toy_network(), IMAGES, "fc"), tmp_path, format="npz", measure=False)


def test_a_small_disk_is_told_with_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tv.load_model("torchvision/squeezenet1_1", pretrained=False)
    images, modules = np.zeros((30, 224, 224, 3), np.uint8), ["features.3", "features.6"]
    work = plan(network, images, modules)
    free = 30 * 4 * 2500
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    found = estimate_cost(work, tmp_path / "new" / "folder", measure=False)
    assert found.free_disk == free
    large, mean, projected = found.advice
    assert f"{found.n_bytes / 1e9:.3g} GB are to be written" in large and "too small" in large
    pooled = plan(network, images, modules, reduction="mean").n_bytes
    assert f"reduction='mean'" in mean and f"{pooled / 1e9:.3g} GB" in mean  # noqa: F541
    fewer = plan(network, images, modules, project=1000).n_bytes
    assert projected.startswith("project=1000 ") and f"{fewer / 1e9:.3g} GB" in projected
    assert fewer <= free < plan(network, images, modules, project=2000).n_bytes
    assert "2.2 %" in projected  # 1 / sqrt(2 · 1000)


def test_room_that_an_unfinished_run_reserved_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    work = plan(toy_network(), IMAGES, "thin")
    assert estimate_cost(work, tmp_path, measure=False).advice
    (tmp_path / "thin.npy.part").write_bytes(bytes(10**5))
    assert estimate_cost(work, tmp_path, measure=False).advice == ()


def test_memory_that_features_would_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "free_on", lambda device: 1000)
    found = estimate_cost(plan(toy_network(), IMAGES, "thin"), measure=False)
    assert "Write them to a folder with out=." in found.advice[0]


def test_time_is_that_of_the_first_batch_for_all() -> None:
    network = toy_network(backend=slow(row=0.01))
    found = estimate_cost(plan(network, IMAGES, "fc", batch_size=5))
    assert found.seconds is not None and found.seconds >= 0.01 * 50
    assert found.images_per_second == pytest.approx(50 / found.seconds)
    assert found.trial is not None and found.trial.rows == 5
    assert found.trial.forward >= 0.05
    assert 1 < len(network.backend.seen) <= 5  # a trial, not the work  # type: ignore[attr-defined]


def test_an_accelerator_computes_while_others_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    found = trial.Trial(10, 2.0, 3.0, None, None)
    monkeypatch.setattr(estimate, "try_batch", lambda work: found)
    work = plan(toy_network(), IMAGES, "fc")
    assert estimate_cost(work).seconds == pytest.approx(5 * (2 + 3))
    monkeypatch.setattr(type(work.network.backend), "device", "cuda:0", raising=False)
    monkeypatch.setattr(estimate, "free_on", lambda device: None)
    assert estimate_cost(work).seconds == pytest.approx(5 * 3)


def test_a_batch_that_does_not_fit_is_told() -> None:
    work = plan(toy_network(backend=slow(room=4)), IMAGES, "fc", batch_size=16)
    found = estimate_cost(work)
    assert try_batch(work) is None and found.seconds is None
    assert "A batch of 16 does not fit into memory" in found.advice[0]


def test_a_batch_size_that_fits_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = trial.Trial(32, 0.1, 0.1, 0, 32 * 10**6)
    monkeypatch.setattr(estimate, "try_batch", lambda work: taken)
    monkeypatch.setattr(estimate, "free_on", lambda device: 18 * 10**6)
    [advice] = estimate_cost(plan(toy_network(), IMAGES, "fc")).advice
    assert advice.endswith("batch_size=8 fits.")  # takes 8 MB, less than half of what is free


def test_peak_memory_holds_what_a_batch_takes() -> None:
    class Hungry(ToyBackend):
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
            data = np.ones(len(batch) * 10**6)  # 8 MB a row
            time.sleep(0.05)
            found = super().run(model, batch, *args, **options)
            assert data[0]
            return found

    found = try_batch(plan(toy_network(backend=Hungry()), IMAGES, "fc", batch_size=20))
    assert found is not None
    if found.growth is None:
        pytest.skip("this system does not tell what a process takes")
    assert found.growth >= 0.8 * 160e6


def test_the_quickest_size_is_chosen() -> None:
    # Where calls cost and rows do not, all at once; where rows cost and calls do not, the smallest.
    assert choose_batch_size(plan(toy_network(backend=slow(call=0.05)), IMAGES, "fc")) == 50
    assert choose_batch_size(plan(toy_network(backend=slow(row=0.01)), IMAGES, "fc")) == 8


@pytest.mark.parametrize(("room", "chosen"), [(20, 16), (8, 8), (5, 4), (3, 2), (1, 1)])
def test_what_does_not_fit_is_not_chosen(room: int, chosen: int) -> None:
    backend = slow(call=0.05, room=room)
    assert choose_batch_size(plan(toy_network(backend=backend), IMAGES, "fc")) == chosen


def test_no_more_than_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "free_on", lambda device: 0)
    work = plan(toy_network(backend=slow(call=0.05)), IMAGES, "fc")
    timed = trial._timed

    def grown(*args: Any) -> Any:
        found = timed(*args)
        return trial.Trial(found.rows, 0.0, found.forward, 0, 1000)

    monkeypatch.setattr(trial, "_timed", grown)
    assert choose_batch_size(work) == 8


def test_patience_ends_the_search() -> None:
    backend = slow(call=0.2)
    assert choose_batch_size(plan(toy_network(backend=backend), IMAGES, "fc"), patience=0.5) == 8


def test_few_stimuli_are_one_batch() -> None:
    work = plan(toy_network(backend=slow(call=0.02)), IMAGES[:3], "fc", batch_size="auto")
    assert work.batch_size == 3 and list(work.starts) == [0]


def test_auto_is_recorded_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(backend: Slow, **options: Any) -> tv.FeatureSet:
        return extract_features(
            toy_network(backend=backend), IMAGES, "fc", out=tmp_path, batch_size="auto", **options
        )

    assert run(slow(row=0.01)).provenance["batch_size"] == 8
    again = slow(call=0.05)  # which would choose another
    assert run(again).provenance["batch_size"] == 8 and again.seen == []
    meta = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    assert meta["request"]["batch_size"] == 8
    with pytest.raises(StoreError, match="another request"):
        extract_features(toy_network(), IMAGES, "fc", out=tmp_path, batch_size=16)


def test_an_unfinished_run_keeps_its_grid(tmp_path: Path) -> None:
    class Interrupted(Slow):
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
            if len(self.seen) > 6:
                raise KeyboardInterrupt
            return super().run(model, batch, *args, **options)

    first = type("First", (Interrupted,), {"seen": [], "row": 0.01})()
    with pytest.raises(KeyboardInterrupt):
        extract_features(toy_network(backend=first), IMAGES, "fc", out=tmp_path, batch_size="auto")
    again = slow(call=0.05)
    found = extract_features(
        toy_network(backend=again), IMAGES, "fc", out=tmp_path, batch_size="auto"
    )
    assert found.provenance["batch_size"] == 8
    assert set(again.seen) <= {1, 8, 2} and sum(again.seen) < 50
    whole = extract_features(toy_network(), IMAGES, "fc", batch_size=8)
    np.testing.assert_array_equal(found["fc"], whole["fc"])


def test_other_words_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="batch_size is 'best'"):
        plan(toy_network(), IMAGES, "fc", batch_size="best")
