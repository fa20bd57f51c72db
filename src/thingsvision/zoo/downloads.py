"""Fetching published weights once, into the folder that torch.hub uses too."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from tqdm import tqdm

from ..errors import WeightsError
from ..provenance import digest_file
from ..text_files import reason_of

TIMEOUT = 60  # seconds without an answer
CHUNK = 2**20  # bytes


def cache_folder() -> Path:
    """Name the folder that keeps what was downloaded; torchvision uses the same."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def is_published(path: str | os.PathLike[str], url: str) -> bool:
    """Tell whether a file is the one that is published at an address, by its SHA-256."""
    prefix = _expected(url)[1]
    return bool(prefix) and digest_file(Path(path).expanduser()).startswith(prefix)


def keep(path: str | os.PathLike[str], url: str) -> None:
    """Put a published file where `download` looks for it."""
    file, _ = _expected(url)
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(path).expanduser(), file)


def _expected(url: str, name: str | None = None) -> tuple[Path, str]:
    """Give the file that an address is kept in, and the start of its SHA-256 if its name tells."""
    file = cache_folder() / (name or Path(urlparse(url).path).name)
    named = re.search(r"-([a-f0-9]{8,})\.", file.name)
    return file, named[1] if named else ""


def download(url: str, sha256: str = "", name: str | None = None) -> Path:
    """Put published weights into ``torch.hub``'s cache folder, if they are not there already.

    A download that was interrupted goes on where it stopped, if the server can do that and the
    file there is still the same.

    Parameters
    ----------
    url : str
        Where they are. A file name like ``name-0123abcd.pth`` holds the start of its SHA-256.
    sha256 : str
        Of the whole file, where it is known.
    name : str, optional
        The file's name in the folder; by default the last part of the address.

    Returns
    -------
    pathlib.Path
        The file, whose digest is the expected one, if any is.

    Raises
    ------
    WeightsError
        If nothing could be downloaded, or it is not what was expected.
    """
    file, prefix = _expected(url, name)
    wanted = sha256 or prefix
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _fetch(url, file, wanted)
        except (OSError, HTTPException) as error:  # URLError and timeouts are among them
            reason: Any = getattr(error, "reason", None) or error
            reason = reason_of(reason) if isinstance(reason, OSError) else reason
            code = ""
            if isinstance(error, HTTPError):
                code = f"{error.code} "
                error.close()
            raise WeightsError(
                f"The weights cannot be downloaded from {url} ({code}{reason}). On a machine with "
                f"a connection, download the file and put it at {str(file)!r}, or give any "
                "weights file of yours with weights=. pretrained=False needs no download."
            ) from error
    found = digest_file(file) if wanted else ""
    if not found.startswith(wanted):
        whose = "its name says" if wanted == prefix else f"was published at {url}"
        raise WeightsError(
            f"The file {str(file)!r} is not what {whose}: its SHA-256 is {found}, which "
            f"should begin with {wanted}. Delete it; it is then downloaded from {url}."
        )
    return file


def _fetch(url: str, file: Path, wanted: str) -> None:
    part = file.with_name(f"{file.name}.part")
    with _claimed(part) as target:
        if file.is_file():  # another process was faster
            part.unlink(missing_ok=True)
            return
        try:
            _receive(url, target, _Stamp(part), may_resume=bool(wanted))
        except BaseException:
            if not _size(target):
                _discard(part, target)
            raise
        target.flush()
        problem = no_weights(part)
        if not problem and wanted and not (found := digest_file(part)).startswith(wanted):
            problem = f"the hash (SHA-256) is {found}, which should begin with {wanted}."
        if problem:
            _discard(part, target)
            raise WeightsError(
                f"What {url} gave is not what was expected: {problem} It was not kept; try again."
            )
        _closed_on_windows(target)
        part.replace(file)
        _Stamp(part).forget()


def _receive(url: str, target: IO[bytes], stamp: _Stamp, may_resume: bool) -> None:
    """Append what is missing, or write everything anew."""
    start, mark = _size(target), stamp.read()
    headers = {"User-Agent": "thingsvision"}
    if start and (mark or may_resume):
        headers["Range"] = f"bytes={start}-"
        if mark:
            headers["If-Range"] = mark  # all of it, if the file there has changed
    try:
        answer = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416 or "Range" not in headers:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{start}":  # nothing was missing
            return
        answer = urlopen(Request(url, headers={"User-Agent": "thingsvision"}), timeout=TIMEOUT)
    with answer:
        follows = str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")
        if getattr(answer, "status", None) != 206 or not follows:
            target.truncate(0)
            start = 0
            stamp.write(answer.headers)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        bar: Any = tqdm(
            total=total, initial=start, unit="B", unit_scale=True, desc="Download", disable=None
        )
        with bar:
            while chunk := answer.read(CHUNK):
                target.write(chunk)
                bar.update(len(chunk))
    # A connection that breaks off looks like the end of the file.
    if total is not None and _size(target) != total:
        raise OSError(
            f"the connection ended after {_size(target)} of {total} bytes; another try goes on "
            "from there"
        )


class _Stamp:
    """What tells whether the file on the server is still the one that a part is of."""

    def __init__(self, part: Path) -> None:
        self.file = part.with_name(f"{part.name}.stamp")

    def read(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.file.is_file() else ""

    def write(self, headers: Any) -> None:
        tag = headers.get("ETag", "")
        mark = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        self.forget()
        if mark:
            self.file.write_text(mark, encoding="utf-8")

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)


@contextmanager
def _claimed(part: Path) -> Iterator[IO[bytes]]:
    """Open a part of a file for one process at a time."""
    while True:
        with part.open("ab") as target:
            if sys.platform != "win32":
                import fcntl

                with suppress(OSError):  # some network folders know no locks
                    fcntl.flock(target, fcntl.LOCK_EX)
            # Whoever had it before may have moved or removed it meanwhile.
            if part.exists() and os.path.samestat(os.fstat(target.fileno()), part.stat()):
                yield target
                return


def _discard(part: Path, target: IO[bytes]) -> None:
    _closed_on_windows(target)
    part.unlink()
    _Stamp(part).forget()


def _closed_on_windows(target: IO[bytes]) -> None:
    """Close a file that is to be moved; elsewhere it stays open, and so locked."""
    if sys.platform == "win32":
        target.close()


def _size(target: IO[bytes]) -> int:
    target.flush()
    return os.fstat(target.fileno()).st_size


def no_weights(path: Path) -> str:
    """Say in words what a file is that is plainly none of weights; empty if it may be one."""
    with path.open("rb") as file:
        start = file.read(200)
    if not start.strip():
        return "it is empty."
    text = start.decode("utf-8", errors="ignore").strip()
    is_whole = len(text.encode()) > len(start.strip()) - 4  # the last character may be cut
    if not is_whole or not " ".join(text.split()).isprintable():
        return ""
    return f"it is not a file of weights but text, which begins {text.splitlines()[0][:60]!r}."
