"""A lock that is an object: created by one process only, and renewed while that lives."""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from filelock import Timeout

log = logging.getLogger("thingsvision")

# Seconds between two signs of life; and without any, after which a holder is taken for dead.
BEAT, LEASE = 10.0, 60.0
# Seconds between two looks at another's lock.
LOOK_AGAIN = 0.5
# Locks that this process holds.
_HELD: set[str] = set()


class Lease:
    """A lock on an object store; has what is used of `filelock.FileLock`.

    The object is made by a conditional put, which succeeds for one process only, and rewritten
    every `BEAT` seconds. Whoever finds it watches it by its own clock: it is another's if it
    changes, and left behind if it does not for `LEASE` seconds, or if its process was of this
    machine and is gone.

    Parameters
    ----------
    file : RemotePath
        Name of the object.

    Notes
    -----
    Two processes may both believe that they hold it if one of them was halted for longer than
    `LEASE`, or if the store knows no conditional put. Both then write the same bytes.
    """

    def __init__(self, file: Any) -> None:
        self.lock_file = file
        self._token = uuid4().hex
        self._end = Event()
        self._thread: Thread | None = None

    def acquire(self, timeout: float = 0) -> None:
        """Take the lock.

        Parameters
        ----------
        timeout : float
            Seconds for which a living process is waited for; one that left its lock behind is
            always found out.

        Raises
        ------
        filelock.Timeout
            If another process holds it.
        """
        began = monotonic()
        seen, since, is_told = b"", began, False
        while not self._created():
            found = self._read()
            now = monotonic()
            if found != seen:
                if seen and found and not timeout:  # a sign of life
                    raise Timeout(str(self.lock_file))
                seen, since = found, now
            record = _record(found)
            if found and (_is_gone(record) or now - since >= LEASE):
                if self._read() == found:
                    self.lock_file.unlink(missing_ok=True)
                continue
            if record.get("token") in _HELD and not timeout:
                raise Timeout(str(self.lock_file))
            if timeout and now - began >= timeout:
                raise Timeout(str(self.lock_file))
            if found and not timeout and not is_told:
                is_told = True
                log.info(
                    "%s is there: seeing whether its process lives, for at most %g seconds.",
                    self.lock_file, LEASE,
                )  # fmt: skip
            sleep(min(LOOK_AGAIN, LEASE / 4))
        _HELD.add(self._token)
        self._end.clear()
        self._thread = Thread(target=self._renew, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let go of the lock, and delete its object; may be called twice."""
        self._end.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        _HELD.discard(self._token)
        with suppress(OSError):  # without signs of life it blocks nobody for long
            if _record(self._read()).get("token") == self._token:
                self.lock_file.unlink(missing_ok=True)

    def _created(self) -> bool:
        try:
            self.lock_file.create_bytes(self._spelled(0))
        except FileExistsError:
            return False
        return True

    def _renew(self) -> None:
        count = 0
        while not self._end.wait(BEAT):
            count += 1
            with suppress(OSError):  # the next beat may get through
                if _record(self._read()).get("token") != self._token:
                    log.warning("%s was taken over by another process.", self.lock_file)
                    return
                self.lock_file.write_bytes(self._spelled(count))

    def _read(self) -> bytes:
        try:
            return bytes(self.lock_file.read_bytes())
        except FileNotFoundError:
            return b""

    def _spelled(self, count: int) -> bytes:
        record = {"token": self._token, "machine": _machine(), "pid": os.getpid(), "beat": count}
        return json.dumps(record).encode()


def _record(data: bytes) -> dict[str, Any]:
    try:
        record = json.loads(data or b"{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _machine() -> str:
    """Name what a process's number is valid in: a host since it was started, or a container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _is_gone(record: dict[str, Any]) -> bool:
    """Tell whether the process that wrote a record has certainly ended."""
    if record.get("machine") != _machine():
        return False
    if record.get("pid") == os.getpid():
        return record.get("token") not in _HELD
    if os.name != "posix":
        return False
    try:
        os.kill(int(record["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, KeyError, ValueError, TypeError):
        return False
    return False
