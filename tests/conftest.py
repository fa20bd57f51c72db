"""What all tests share."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# Shapes in annotations are checked while tests run. Must come before thingsvision is imported.
if find_spec("jaxtyping") and find_spec("beartype"):
    from jaxtyping import install_import_hook

    install_import_hook("thingsvision", "shape_checks.shapes_only")

settings.register_profile(
    "default", max_examples=50, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("default")

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of real data beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared data are not beside the repository ({SHARED.name} is absent)")
    return SHARED


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep colours, progress bars and settings of the person at the keyboard out of the tests."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that would reach beyond this machine."""

    def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                pytest.fail(f"the test tried to connect to {address[0]}:{address[1]}")
            return connect(self, address)

        return call

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of small images whose grey level is the place of their name in the list."""

    def make(names: Sequence[str], folder: str = "images", size: tuple[int, int] = (8, 6)) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for level, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size[::-1], (level % 256,) * 3).save(path)
        return root

    return make


@pytest.fixture
def numbered() -> Callable[[int], np.ndarray]:
    """Make small pictures; the grey level of each is its row."""

    def make(count: int) -> np.ndarray:
        levels = np.arange(count, dtype=np.uint8)[:, None, None, None]
        return np.broadcast_to(levels, (count, 8, 6, 3)).copy()

    return make


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail a test that leaves decoding threads behind."""
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert not left, f"threads were left behind: {left}"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Start a server on this machine that answers as S3 does."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a URL in a new bucket."""
    settings = {
        "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "name", "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    system = pytest.importorskip("fsspec").filesystem("s3")
    name = f"bucket-{uuid4().hex[:12]}"
    system.mkdir(name)
    return f"s3://{name}/some features"
