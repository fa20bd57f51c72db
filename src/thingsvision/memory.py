"""How much memory work may take: what the user says, or half of what is free."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import InvalidArgument

UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B?)\s*", re.IGNORECASE)
_MEMINFO = Path("/proc/meminfo")
# What a container may take, and takes: of version 2, and of version 1.
_CONTAINERS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
UNKNOWN = 2 * UNITS["GB"]  # where the system does not tell


def read_memory(memory: int | str | None) -> int:
    """Read an amount of memory.

    Parameters
    ----------
    memory : int, str or None
        Bytes, or ``"2GB"``, ``"500 MB"`` (1 GB is 2³⁰ bytes). None is half of what is free now.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    InvalidArgument
        If it is no amount of memory.

    Examples
    --------
    >>> read_memory("1.5GB"), read_memory(1000)
    (1610612736, 1000)
    """
    if memory is None:
        return free_memory() // 2
    match = _SIZE.fullmatch(str(memory))
    unit = match[2].upper().replace("I", "") if match else "?"
    unit = f"{unit}B" if unit in ("K", "M", "G", "T") else unit
    if isinstance(memory, bool) or match is None or unit not in UNITS or not float(match[1]):
        raise InvalidArgument(
            f"memory={memory!r} is no amount of memory. Give bytes, or a number with its unit, "
            "such as '2GB' or '500MB'."
        )
    return int(float(match[1]) * UNITS[unit])


def free_memory() -> int:
    """Find the bytes of memory that are free, in the container if there is one."""
    found = [_of_system(), *(_of_container(Path(most), Path(now)) for most, now in _CONTAINERS)]
    return max(2**20, min((n for n in found if n is not None), default=UNKNOWN))


def _of_system() -> int | None:
    try:
        match = re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(encoding="ascii"))
        if match:
            return int(match[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        pass
    try:  # macOS: what is free is not told; half of all is a guess on the safe side
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (OSError, ValueError, AttributeError):
        return None


def _of_container(most: Path, now: Path) -> int | None:
    try:
        return int(most.read_text()) - int(now.read_text())
    except (OSError, ValueError):  # there is none, or its limit is "max"
        return None
