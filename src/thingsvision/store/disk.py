"""Space on the disk, reserved before it is needed, and bytes put into their place."""

from __future__ import annotations

import errno
import io
import os

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
