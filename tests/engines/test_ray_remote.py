"""Workers of Ray that write to an object store; one of them is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thingsvision.backends.toy import ToyBackend
from thingsvision.engines.ray import extract_with_ray
from thingsvision.errors import InvalidArgument
from thingsvision.extraction import extract_features
from thingsvision.optional import is_installed
from thingsvision.testing import toy_network

pytestmark = [
    pytest.mark.skipif(
        not (is_installed("ray") and is_installed("zarr")), reason="ray or zarr is not installed"
    ),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def cluster(s3: str) -> Iterator[None]:
    """Start two workers' worth of Ray, with the credentials of the server."""
    import ray
    import torch

    names = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    ray.init(num_cpus=2 * torch.get_num_threads(), log_to_driver=False, include_dashboard=False,
             logging_level="ERROR", runtime_env={"env_vars": names})  # fmt: skip
    yield
    ray.shutdown()


def test_a_killed_worker_on_an_object_store(
    s3: str, cluster: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import fsspec

    marks = tmp_path / "marks"
    marks.mkdir()

    class DyingBackend(ToyBackend):
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> Any:
            if int(batch.max()) > 250 and not any(marks.iterdir()):
                (marks / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().run(model, batch, *args, **options)

    images = np.random.default_rng(0).integers(0, 200, (12, 8, 6, 3), np.uint8)
    images[6] = 255
    whole = tmp_path / "whole"
    extract_features(toy_network(), images, "fc", out=whole, batch_size=2, format="zarr")
    network = toy_network(backend=DyingBackend())
    extract_with_ray(network, images, "fc", out=s3, batch_size=2, shards=6)
    assert list(marks.iterdir())
    assert "A worker died; shard 4/6" in caplog.text
    system, root = fsspec.url_to_fs(s3)
    system.invalidate_cache()
    found = {path[len(root) + 1 :]: system.cat_file(path) for path in system.find(root)}
    files = (path for path in whole.rglob("*") if path.is_file())
    wanted = {path.relative_to(whole).as_posix(): path.read_bytes() for path in files}
    assert wanted.pop("meta.json") and found.pop("meta.json")  # the networks' names differ
    assert found == wanted


def test_the_memory_of_one_process_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="memory of this process"):
        extract_with_ray(toy_network(), np.zeros((2, 8, 6, 3), "u1"), "fc", out="memory://out")
