"""What all tests share."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
