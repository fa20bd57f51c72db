"""One process at a time writes to a folder, or to a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from filelock import FileLock, Timeout

from ..errors import StoreError
from ..text_files import reason_of
from .lease import Lease
from .remote import LOOK, is_remote, location

# Seconds for which the beginning and the finish of another shard are waited for.
PATIENCE = 600


@contextmanager
def hold(folder: str | os.PathLike[str], part: str = "") -> Iterator[None]:
    """Hold the right to write to a folder; a second process is refused at once.

    In an object store, the lock is an object, see `thingsvision.store.lease.Lease`. In a folder,
    the operating system keeps the lock (``flock``, on Windows ``msvcrt``) and lets go of it when
    the process ends, however it ends. The file that is left after ``kill -9`` blocks nobody.

    Parameters
    ----------
    folder : path
        Made if it is missing.
    part : str
        Such as ``"2-of-5"``. Processes that write to different parts of the same number do not
        exclude each other; one that writes to the whole folder excludes all of them.

    Raises
    ------
    StoreError
        If another process holds it, or the folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with hold(folder, "1-of-2"), hold(folder, "2-of-2"):
    ...     pass
    """
    folder = location(folder)
    mine = None
    try:
        with alone(folder):
            mine = _claimed(folder, part)
    except PermissionError:
        # Nobody with these rights writes here, and finished features may still be read.
        yield
        return
    except OSError as error:
        if not is_remote(folder) and folder.is_dir() and not os.access(folder, os.W_OK):
            yield  # a file system that is read-only
            return
        mend = LOOK if is_remote(folder) else "Make room, make the folder writable"
        raise StoreError(
            f"Writing to {str(folder)!r} failed: {reason_of(error)}. {mend}, or choose "
            "another folder, and run the same command again."
        ) from error
    except BaseException:  # an interrupt just after it was taken
        if mine is not None:
            _let_go(mine)
        raise
    try:
        yield
    finally:
        _let_go(mine)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait for the right to do what takes a moment and must not be done by two at once.

    Raises
    ------
    StoreError
        If another process has been at it for `PATIENCE` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guard = _lock(folder / ".moment.lock")
    try:
        guard.acquire(timeout=PATIENCE)
    except Timeout:
        raise StoreError(
            f"Another process has been beginning or finishing {str(folder)!r} for {PATIENCE} "
            "seconds. See whether it still runs, and run the same command again."
        ) from None
    try:
        yield
    finally:
        _let_go(guard)


def _lock(file: Path) -> FileLock | Lease:
    return Lease(file) if is_remote(file) else FileLock(file)


def _claimed(folder: Path, part: str) -> FileLock | Lease:
    """Take the lock of a part, or of the whole, unless it is in the way of another's."""
    mine = _lock(folder / (f".{part}.lock" if part else ".lock"))
    others = sorted(folder.glob(".*-of-*.lock"), key=str)
    if part:
        number = part.rpartition("-")[2]
        others = [file for file in others if not file.stem.endswith(f"-of-{number}")]
        others.append(folder / ".lock")
    for file in others:
        other = _lock(file)
        try:
            other.acquire(timeout=0)
        except Timeout:
            raise _taken(folder, os.fspath(file)) from None
        _let_go(other)
    try:
        mine.acquire(timeout=0)
    except Timeout:
        raise _taken(folder, os.fspath(mine.lock_file)) from None
    return mine


def _taken(folder: Path, file: str) -> StoreError:
    part = PurePath(file).name.removeprefix(".").removesuffix(".lock").removesuffix("lock")
    what = f"Shard {part.replace('-of-', '/')} of {str(folder)!r}" if part else repr(str(folder))
    return StoreError(
        f"{what} is being written by another process. Wait until that has ended, or choose "
        "another folder."
    )


def _let_go(lock: FileLock | Lease) -> None:
    """Remove a lock's file while it is held, so that nobody else's is removed."""
    if isinstance(lock, Lease):
        lock.release()
        return
    with suppress(OSError):  # Windows deletes no open file
        Path(lock.lock_file).unlink()
    lock.release()
