"""Ray: workers give what one process gives, and one that dies costs its shard only."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thingsvision as tv
from thingsvision.backends.toy import ToyBackend
from thingsvision.engines.ray import extract_with_ray
from thingsvision.errors import InvalidArgument, StoreError, ThingsvisionWarning
from thingsvision.extraction import extract_features
from thingsvision.optional import is_installed
from thingsvision.testing import toy_network

pytestmark = pytest.mark.skipif(not is_installed("ray"), reason="ray is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start two workers' worth of Ray on this machine."""
    import ray
    import torch

    ray.init(num_cpus=2 * torch.get_num_threads(), log_to_driver=False, include_dashboard=False,
             logging_level="ERROR")  # fmt: skip
    yield ray
    ray.shutdown()


def pictures(count: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 255, (count, size, size, 3), np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def dying_network(marks: Path, deaths: int) -> Any:
    """Give a network whose worker is killed in a batch, that many times in all."""

    class DyingBackend(ToyBackend):
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> Any:
            if int(batch.max()) > 250 and len(list(marks.iterdir())) < deaths:
                (marks / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(model, batch, *args, **options)

    return toy_network(backend=DyingBackend())


def test_the_bytes_are_those_of_one_process(cluster: Any, tmp_path: Path) -> None:
    network = tv.load_model("torchvision/squeezenet1_1", pretrained=False, seed=3)
    options: dict[str, Any] = {"batch_size": 4}
    images, modules = pictures(26, 232), ["features.3", "output"]
    extract_features(network, images, modules, out=tmp_path / "whole", **options)
    found = extract_with_ray(network, images, modules, out=tmp_path / "out", workers=2, **options)
    assert found["output"].shape == (26, 1000)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.skipif(not is_installed("zarr"), reason="zarr is not installed")
def test_zarr(cluster: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 2, "format": "zarr"}
    extract_features(toy_network(), pictures(9), "fc", out=tmp_path / "whole", **options)
    extract_with_ray(toy_network(), pictures(9), "fc", out=tmp_path / "out", **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_killed_worker_costs_its_shard_only(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "marks").mkdir()
    images = np.zeros((12, 8, 6, 3), np.uint8)
    images[6] = 255
    extract_features(toy_network(), images, "fc", out=tmp_path / "whole", batch_size=2)
    extract_with_ray(dying_network(tmp_path / "marks", 1), images, "fc", out=tmp_path / "out",
                     batch_size=2, shards=6)  # fmt: skip
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert "A worker died; shard 4/6" in caplog.text
    wanted, found = contents(tmp_path / "whole"), contents(tmp_path / "out")
    assert wanted.pop("meta.json") and found.pop("meta.json")  # the networks' names differ
    assert found == wanted


def test_workers_that_always_die(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    images = np.zeros((8, 8, 6, 3), np.uint8)
    images[6] = 255
    out = tmp_path / "out"
    with pytest.raises(StoreError, match="shard 4/4 died 4 times.*What was finished is kept"):
        extract_with_ray(dying_network(tmp_path / "marks", 99), images, "fc", out=out, batch_size=2,
                         shards=4)  # fmt: skip
    assert list(out.glob("progress-*-of-4.txt"))


def test_errors_and_warnings_of_workers_are_ours(cluster: Any, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    from PIL import Image

    for row in range(6):
        Image.fromarray(pictures(1)[0]).save(folder / f"{row}.png")
    broken = folder / "3.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.warns(ThingsvisionWarning, match="1 of 2 images could not be decoded"):
        found = extract_with_ray(toy_network(), folder, "fc", out=tmp_path / "out", batch_size=2)
    assert list(found.failures) == ["3.png"]
    for file in folder.iterdir():
        file.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(StoreError, match="5 images changed"):
        extract_with_ray(toy_network(), folder, "fc", out=tmp_path / "out", batch_size=2)


def test_what_cannot_be_sent_is_refused_with_the_way_out(cluster: Any, tmp_path: Path) -> None:
    class Locked(ToyBackend):
        def __reduce__(self) -> Any:
            return threading.Lock(), ()

    with pytest.raises(InvalidArgument, match="cannot be sent to workers.*--shard k/n"):
        extract_with_ray(toy_network(backend=Locked()), pictures(4), "fc", out=tmp_path)


def test_too_small_a_cluster(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "cluster_resources", lambda: {"CPU": 0.0})
    with pytest.raises(InvalidArgument, match="has 0 CPU, 0 GPU, but a worker takes"):
        extract_with_ray(toy_network(), pictures(4), "fc", out=tmp_path)


def test_workers_agree_on_the_batch_size(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="must agree on the batch size"):
        extract_with_ray(toy_network(), pictures(4), "fc", out=tmp_path, batch_size="auto")
