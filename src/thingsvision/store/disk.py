"""Space on the disk, reserved before it is needed, and bytes put into their place."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .remote import is_remote

# What file systems answer that cannot reserve space; a full disk is then noticed later.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def reserve(descriptor: int, size: int) -> None:
    """Reserve the blocks of an open file, so that a full disk is an error now.

    Raises
    ------
    OSError
        If there is no room.
    """
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise


def write_at(handle: io.RawIOBase, start: int, data: bytes | memoryview) -> None:
    """Write bytes into an open file, from a place on.

    Raises
    ------
    OSError
        If there is no room.
    """
    handle.seek(start)
    rest = memoryview(data)
    while rest:  # the system may take less than it was given
        rest = rest[handle.write(rest) :]


def let_go(descriptor: int) -> None:
    """Tell the system that what was written to an open file will not be read soon.

    It begins to write it to the disk, without waiting, and uses its memory for what comes next:
    new features do not drive the images out of it, and no new memory has to be found for them.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice only; not all file systems take it
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, onto the disk: it then survives a power failure.

    Raises
    ------
    OSError
        If the disk cannot be written.
    """
    if is_remote(path):  # an object is safe once it is there
        return
    if not path.is_dir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folder
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:  # some file systems sync no folder
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Force a folder and all below it onto the disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


class FileImage(io.RawIOBase):
    """A file in memory of which only what was written takes space.

    The HDF5 library lays its files out in one: on a full disk it could neither close a file nor
    open it again.
    """

    def __init__(self) -> None:
        self._written: list[tuple[int, bytes]] = []
        self._size = self._place = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Give the place."""
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        self._size = self._place if size is None else size
        return self._size

    def write(self, data: Any) -> int:
        """Take bytes."""
        self._written.append((self._place, bytes(data)))
        self._place += len(data)
        self._size = max(self._size, self._place)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Give bytes."""
        first, last = self._place, min(self._place + len(buffer), self._size)
        found = bytearray(max(0, last - first))
        for start, data in self._written:
            low, high = max(first, start), min(last, start + len(data))
            if low < high:
                found[low - first : high - first] = data[low - start : high - start]
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def save(self, path: Path) -> None:
        """Write this file to the disk."""
        with io.FileIO(path, "w") as handle:
            for start, data in self._written:
                write_at(handle, start, data)
            handle.truncate(self._size)


@contextmanager
def without_empty_folders(*folders: Path) -> Iterator[None]:
    """Remove at the end, of the folders given and those around them, which are new and empty."""
    new = {one for path in folders for one in (path, *path.parents) if not one.exists()}
    try:
        yield
    finally:
        for folder in sorted(new, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):  # it was never made, or is not empty, or is a file
                folder.rmdir()
