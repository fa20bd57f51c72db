"""Space on the disk, reserved before it is needed."""

from __future__ import annotations

import errno
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
