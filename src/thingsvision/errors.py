"""Every exception that thingsvision raises on purpose.

::

    ThingsvisionError
    ├── InvalidArgument      a value that is not allowed            (also a ValueError)
    │   └── UnknownName      a name that nothing answers to         (also a KeyError)
    ├── StimulusError        stimuli that are missing, doubled or unreadable
    │   └── ImageError       one image that cannot be decoded
    ├── ModuleError          a module that cannot be captured as asked
    ├── WeightsError         weights that are absent, unsafe or do not fit
    ├── StoreError           a feature store that is unfinished, foreign or full
    ├── MismatchError        records whose stimuli do not match
    └── MissingPackage       an optional package that is not installed (also an ImportError)

A message is a short paragraph: what was received, what is allowed (nearest
first), and the next step. Problems of one kind are reported together.
What is no error but should be known is a `ThingsvisionWarning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher


class ThingsvisionWarning(UserWarning):
    """What a user should know, though the work goes on."""


class ThingsvisionError(Exception):
    """Base of all errors that name a user's next step."""


class InvalidArgument(ThingsvisionError, ValueError):
    """A value that is not allowed."""


class UnknownName(InvalidArgument, KeyError):
    """A name that nothing answers to."""

    __str__ = Exception.__str__  # a KeyError would put its message in quotes


class StimulusError(ThingsvisionError):
    """Stimuli that are missing, doubled or unreadable."""


class ImageError(StimulusError):
    """One image that cannot be decoded."""


class ModuleError(ThingsvisionError):
    """A module that cannot be captured as asked."""


class WeightsError(ThingsvisionError):
    """Weights that are absent, unsafe or do not fit."""


class StoreError(ThingsvisionError):
    """A feature store that is unfinished, foreign or full."""


class MismatchError(ThingsvisionError):
    """Records whose stimuli do not match."""


class MissingPackage(ThingsvisionError, ImportError):
    """An optional package that is not installed."""


def nearest(name: str, choices: Iterable[str], count: int = 5) -> list[str]:
    """Sort the choices by likeness to a name and keep the best.

    Parameters
    ----------
    name : str
        What was received.
    choices : iterable of str
        What is allowed.
    count : int
        How many to keep at most.

    Returns
    -------
    list of str
        The likest first; those that hold the name, or are held by it, come before the others.

    Examples
    --------
    >>> nearest("resnet5", ["alexnet", "resnet50", "resnet18"], count=2)
    ['resnet50', 'resnet18']
    """
    wanted = str(name).lower()

    def distance(choice: str) -> tuple[bool, float, str]:
        other = choice.lower()
        holds = wanted in other or other in wanted
        return (not holds, -SequenceMatcher(None, wanted, other).ratio(), choice)

    return sorted(choices, key=distance)[:count]


def listing(items: Sequence[object], limit: int = 10) -> str:
    r"""Join items with commas on one line, naming the first ones and counting the rest.

    Examples
    --------
    >>> listing(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    >>> print(listing(["two\nlines"]))
    'two\nlines'
    """
    texts = [str(item) for item in items[:limit]]
    shown = ", ".join(text if text.isprintable() else repr(text) for text in texts)
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Spell a number of things.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "stimulus", "stimuli")
    ('1 image', '2 images', '0 stimuli')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def several(names: Sequence[str], example: str) -> Sequence[str]:
    """Refuse a lone text in the place of a list, of which each letter would be a name.

    Parameters
    ----------
    names : sequence of str
        What was received.
    example : str
        The call, with ``{}`` in the place of the list.

    Raises
    ------
    InvalidArgument
        If it is a text.

    Examples
    --------
    >>> several(["a.jpg"], "select({})")
    ['a.jpg']
    """
    if isinstance(names, (str, bytes)):
        call = example.format(f"[{names!r}]")
        raise InvalidArgument(f"{names!r} is one text, not a list of ids; put it in a list: {call}")
    return names


def unknown(
    what: str, name: str, choices: Iterable[str], next_step: str = "", listed_by: str = ""
) -> UnknownName:
    """Make the error for a name that nothing answers to.

    Parameters
    ----------
    what : str
        The kind of thing, e.g. ``"module"``.
    name : str
        What was received.
    choices : iterable of str
        What is allowed; the nearest are shown.
    next_step : str
        A sentence that says what to do.
    listed_by : str
        A call or a command that lists all choices; told where some are not shown, and how many.

    Returns
    -------
    UnknownName
        To be raised by the caller.

    Examples
    --------
    >>> print(unknown("format", "npz", ["npy", "hdf5"]))
    There is no format 'npz'. Nearest: npy, hdf5.
    """
    choices = list(choices)
    allowed = nearest(name, choices)
    hint = f" Nearest: {', '.join(allowed)}." if allowed else " There are none."
    if listed_by and (more := len(choices) - len(allowed)):
        hint += f" There are {more} more; all are listed by: {listed_by}"
    return UnknownName(f"There is no {what} {name!r}.{hint} {next_step}".rstrip())
