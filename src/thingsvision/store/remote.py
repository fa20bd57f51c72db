"""Folders that are named by a URL: objects in a store such as S3, by way of fsspec."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.request import url2pathname

from ..errors import InvalidArgument, MissingPackage
from ..optional import require

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# scheme -> the package that fsspec needs for it
PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs",
    "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
}  # fmt: skip
# What to look at when an object store refuses.
LOOK = "Look at the address, the credentials, the rights to write and the network"


def location(folder: str | os.PathLike[str]) -> Path:
    """Find what a folder's name stands for: a path, or objects by a URL.

    Parameters
    ----------
    folder : path or str
        A folder's path; ``file://…`` is one, too; anything else before ``://`` names a file
        system of fsspec.

    Returns
    -------
    pathlib.Path, or RemotePath
        The latter does what is needed here of a path.

    Raises
    ------
    MissingPackage
        If the package that talks to this kind of store is not installed.
    InvalidArgument
        If there is no such kind.

    Examples
    --------
    >>> location("features").name, str(location("memory://bucket/features/"))
    ('features', 'memory://bucket/features')
    """
    if isinstance(folder, RemotePath):
        return cast(Path, folder)
    match = _SCHEME.match(os.fspath(folder))
    if match is None:
        return Path(folder).expanduser()
    if match[1].lower() == "file":
        return Path(url2pathname(os.fspath(folder)[match.end() :]))
    return cast(Path, RemotePath.of(os.fspath(folder)))


def is_remote(folder: Any) -> bool:
    """Tell whether a folder, as `location` gave it, is one of objects."""
    return isinstance(folder, RemotePath)


class RemotePath:
    """The name of an object, or of what stands for a folder; does what a path does.

    An object appears whole or not at all, is replaced at once, and is safe once it is there. So
    nothing is drafted beside it, moved or synchronised; and nothing can be appended.

    Parameters
    ----------
    system : fsspec file system
        Where it lies.
    path : str
        As the file system spells it.
    url : str
        As users spell it.
    """

    def __init__(self, system: Any, path: str, url: str) -> None:
        self._system, self._path, self._url = system, path, url

    @classmethod
    def of(cls, url: str) -> RemotePath:
        """Read a URL."""
        scheme = url.partition("://")[0].lower()
        fsspec = require("fsspec")
        if scheme in PACKAGES:
            require(PACKAGES[scheme])
        try:
            # Other processes write here: what was listed before is not remembered.
            with _telling():
                system, path = fsspec.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise MissingPackage(f"{url!r} needs a package that is not installed: {error}") from (
                error
            )
        except (ValueError, TypeError, OSError) as error:
            raise InvalidArgument(
                f"{url!r} is no address that can be used here: {error}. Give a folder, or a URL "
                "such as s3://bucket/features or gs://bucket/features."
            ) from error
        return cls(system, path.rstrip("/"), url.rstrip("/"))

    def __truediv__(self, name: str | os.PathLike[str]) -> RemotePath:
        part = os.fspath(name)
        return RemotePath(self._system, f"{self._path}/{part}", f"{self._url}/{part}")

    def __str__(self) -> str:
        return self._url

    def __fspath__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"RemotePath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._url == other._url

    def __lt__(self, other: RemotePath) -> bool:
        return self._url < other._url

    def __hash__(self) -> int:
        return hash(self._url)

    @property
    def name(self) -> str:
        """Last part."""
        return PurePosixPath(self._path).name

    @property
    def stem(self) -> str:
        """Last part without its suffix."""
        return PurePosixPath(self._path).stem

    @property
    def parent(self) -> RemotePath:
        """What it lies in."""
        return RemotePath(self._system, self._path.rpartition("/")[0], self._url.rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        """Name what lies beside it."""
        return self.parent / name

    def expanduser(self) -> RemotePath:
        """Give itself."""
        return self

    def resolve(self) -> RemotePath:
        """Give itself."""
        return self

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: objects need no folder."""

    def is_file(self) -> bool:
        """Tell whether there is an object of this name."""
        return bool(self._asked(self._system.isfile))

    def is_dir(self) -> bool:
        """Tell whether there are objects below this name."""
        return any(True for _ in self.iterdir())

    def exists(self) -> bool:
        """Tell whether there is an object of this name, or below it."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator[RemotePath]:
        """Name what lies directly below."""
        try:
            found = self._asked(self._system.ls, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        for path in found:
            name = PurePosixPath(path).name
            if path.strip("/") != self._path.strip("/") and name:
                yield self / name

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Name what lies directly below and matches a pattern."""
        return (item for item in self.iterdir() if fnmatchcase(item.name, pattern))

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """Name all objects below that match a pattern."""
        for path in self._asked(self._system.find):
            inside = path.strip("/")[len(self._path.strip("/")) + 1 :]
            if fnmatchcase(PurePosixPath(inside).name, pattern):
                yield self / inside

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """Spell its name from another on."""
        return PurePosixPath(self._path).relative_to(other._path)

    def read_bytes(self) -> bytes:
        """Read an object."""
        return bytes(self._asked(self._system.cat_file))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Read an object as text."""
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, data: bytes) -> None:
        """Put an object, in the place of another of this name."""
        self._asked(self._system.pipe_file, data)

    def write_text(self, text: str, encoding: str = "utf-8", newline: str = "\n") -> None:
        """Put an object of text."""
        self.write_bytes(text.encode(encoding))

    def create_bytes(self, data: bytes) -> None:
        """Put an object unless there is one of this name.

        Raises
        ------
        FileExistsError
            If there is one.
        """
        self._asked(self._system.pipe_file, data, mode="create")

    def open(self, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None) -> Any:
        """Open an object of text, to be read or to be put at the end of the ``with`` block."""
        if mode == "w":
            return _Draft(self, encoding)
        return io.StringIO(self.read_text(encoding), newline=newline)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete an object."""
        try:
            self._asked(self._system.rm_file)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _asked(self, action: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with _telling():
            return action(self._path, *args, **options)


class _Draft(io.StringIO):
    """Text that becomes an object once all of it was written."""

    def __init__(self, target: RemotePath, encoding: str) -> None:
        super().__init__(newline="")
        self._target, self._encoding = target, encoding

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._target.write_bytes(self.getvalue().encode(self._encoding))
        super().__exit__(*error)


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what a client's library raises for want of network or credentials into an OSError."""
    try:
        yield
    except (OSError, ImportError, ValueError, TypeError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        raise OSError(f"{type(error).__name__}: {error}") from error
