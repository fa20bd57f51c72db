"""Small files that people write, and the words for those that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import InvalidArgument, ThingsvisionError, listing, nearest


def read_text(
    path: str | os.PathLike[str],
    what: str,
    next_step: str,
    error_class: type[ThingsvisionError] = InvalidArgument,
) -> str:
    """Read a text file, UTF-8 with or without a byte-order mark; its line ends stay.

    Parameters
    ----------
    path : path
        Where it should be.
    what : str
        What it is for, e.g. ``"list of ids"``.
    next_step : str
        A sentence that says what to give.
    error_class : type of ThingsvisionError
        Raised if it is missing, a folder, or no text.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "ids.txt"
    >>> _ = file.write_text("a.jpg")
    >>> read_text(file, "list of ids", "Give a text file with one id on each line.")
    'a.jpg'
    """
    path = Path(path).expanduser()
    name = repr(str(path))
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        message = f"There is no {what} {name}.{beside(path)} {next_step}"
        raise error_class(message) from error
    except UnicodeDecodeError as error:
        raise error_class(
            f"The {what} {name} is no UTF-8 text; save it as UTF-8. {next_step}"
        ) from error
    except OSError as error:
        if path.is_dir():
            raise error_class(f"{name} is a folder, not a {what}. {next_step}") from error
        message = f"The {what} {name} cannot be read: {reason_of(error)}. {next_step}"
        raise error_class(message) from error


def beside(path: Path) -> str:
    """Name what lies beside a path that does not exist, the likest first."""
    if not path.parent.is_dir():
        return f" There is no folder {str(path.parent)!r} either."
    near = nearest(path.name, [item.name for item in path.parent.iterdir()], 3)
    return f" Beside it: {listing(near)}." if near else ""


def reason_of(error: BaseException) -> str:
    """Say in words why a file cannot be read or written, without the numbers of the system.

    Examples
    --------
    >>> reason_of(FileNotFoundError(2, "No such file or directory", "a.npy"))
    'No such file or directory'
    >>> reason_of(EOFError("No data left in file"))
    'it is empty, or was cut'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8 text"
    if isinstance(error, EOFError):
        return "it is empty, or was cut"
    if "allow_pickle" in str(error):  # what NumPy says of anything that it did not write
        return "NumPy did not write it, or it holds Python objects, which are not read"
    return str(error).rstrip(".") or type(error).__name__
