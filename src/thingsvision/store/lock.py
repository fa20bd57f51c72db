"""One process at a time writes to a folder, or to a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import StoreError


@contextmanager
def hold(folder: str | os.PathLike[str], part: str = "") -> Iterator[None]:
    """Hold the right to write to a folder; a second process is refused at once.

    The operating system keeps the lock (``flock``, on Windows ``msvcrt``) and lets go of it when
    the process ends, however it ends. The file that is left after ``kill -9`` blocks nobody.

    Parameters
    ----------
    folder : path
        Made if it is missing.
    part : str
        Letters, digits and ``-``. Processes that write to different parts do not exclude each
        other.

    Raises
    ------
    StoreError
        If another process holds it, or the folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with hold(folder), hold(folder, "1-of-2"):
    ...     pass
    """
    folder = Path(folder).expanduser()
    file = folder / (f".{part}.lock" if part else ".lock")
    lock = FileLock(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        what = f"Part {part} of {str(folder)!r}" if part else repr(str(folder))
        raise StoreError(
            f"{what} is being written by another process. Wait until that has ended, or choose "
            "another folder."
        ) from None
    except PermissionError:
        # Nobody with these rights writes here, and finished features may still be read.
        yield
        return
    except OSError as error:
        if folder.is_dir() and not os.access(folder, os.W_OK):  # a file system that is read-only
            yield
            return
        raise StoreError(
            f"Writing to {str(folder)!r} failed: {error}. Make room, make the folder writable, or "
            "choose another one, and run the same command again."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file
            file.unlink()
        lock.release()
