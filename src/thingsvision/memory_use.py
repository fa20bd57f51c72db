"""Memory while networks run: how much is free, how much is taken, and what its end looks like."""

from __future__ import annotations

import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from .memory import free_memory

STATUS = Path("/proc/self/status")
# Seconds between two readings of what a process takes.
EVERY = 0.005

# Errors by the names of their classes, since their libraries need not be here, and by what the
# others say: PyTorch on the processor and on Metal, JAX.
NAMES = {"MemoryError", "OutOfMemoryError", "ResourceExhaustedError"}
WORDS = re.compile(
    r"not enough memory|out of memory|can't allocate memory|cannot allocate memory"
    r"|RESOURCE_EXHAUSTED|failed to allocate memory", re.IGNORECASE,
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an error that says that memory does not suffice, in any framework.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if any(kind.__name__ in NAMES for kind in type(error).__mro__):
        return True
    return isinstance(error, (RuntimeError, OSError)) and bool(WORDS.search(str(error)))


def free_on(device: str = "cpu") -> int:
    """Count the bytes that can be had: of the system, its container, or a CUDA device."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None:
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def used_memory(device: str = "cpu") -> int | None:
    """Count the bytes that this process takes now; None where it cannot be told."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None:
        return int(torch.cuda.memory_reserved(device))
    with suppress(OSError, TypeError):
        match = re.search(r"VmRSS:\s+(\d+) kB", STATUS.read_text())
        return int(match[1]) * 1024  # type: ignore[index]
    return None


class PeakMemory:
    """Watches what this process takes while something runs.

    Parameters
    ----------
    device : str
        Where it computes.

    Attributes
    ----------
    before, peak : int or None
        Bytes; None where it cannot be told.

    Examples
    --------
    >>> with PeakMemory() as memory:
    ...     data = bytes(10**7)
    >>> memory.peak is None or memory.peak >= memory.before
    True
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._stop = threading.Event()
        self.before: int | None = None
        self.peak: int | None = None

    def __enter__(self) -> PeakMemory:
        self.before = self.peak = used_memory(self._device)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self._look()

    def _look(self) -> None:
        now = used_memory(self._device)
        if now is not None:
            self.peak = max(now, self.peak or 0)
