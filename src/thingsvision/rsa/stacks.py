"""Files with the RDMs of several subjects, in the layouts that laboratories have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, listing, unknown
from ..interop.rsatoolbox import OURS
from ..text_files import reason_of
from . import files
from .dissimilarity import may_be_negative
from .matrix import checked, stimuli_of_pairs
from .rdm import RDM

HDF5 = (".h5", ".hdf5")


def load_rdms(
    path: str | Path,
    ids: Sequence[str] | str | Path | None = None,
    *,
    variable: str | None = None,
    axis: int | None = None,
    dissimilarity: str = "",
) -> list[RDM]:
    """Read the RDMs of several subjects from a file.

    A stack is square, ``(n_subjects, n, n)`` or ``(n, n, n_subjects)``, or condensed,
    ``(n_subjects, n_pairs)`` or ``(n_pairs, n_subjects)``. What can be read in two ways is asked
    about, not guessed.

    Parameters
    ----------
    path : path
        ``.mat`` (any version), ``.npy``, ``.npz``, ``.csv``, ``.tsv``, ``.txt``, or ``.h5`` as
        rsatoolbox saves RDMs. Structures with one matrix each are a stack as well. A ``.npy``
        above 128 MB is mapped and checked part by part: condensed RDMs stay on disk, of square
        ones the pairs are kept in memory.
    ids : sequence of str, or path of a text file with one id a line, optional
        Names of the stimuli, for a file that does not carry them.
    variable : str, optional
        Which of several arrays; of an array of structures ``"RDMs.RDM"``.
    axis : int, optional
        The axis of subjects, for arrays that can be read in two ways.
    dissimilarity : str
        As of `load_rdm`.

    Returns
    -------
    list of RDM
        In the order of the file; one if it holds one.

    Raises
    ------
    InvalidArgument
        If the file holds no RDMs, or several stacks and none was chosen, or it is not clear
        which axis is that of subjects; the message names what was found.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "subjects.npy"
    >>> np.save(file, np.random.default_rng(0).random((16, 4186)))
    >>> rdms = load_rdms(file)
    >>> len(rdms), rdms[0]
    (16, RDM('subjects 1', 92 stimuli, float64, without ids))
    """
    path = Path(path).expanduser()
    names = files.read_ids(Path(ids)) if isinstance(ids, str | Path) else ids
    if path.suffix.lower() in HDF5:
        subjects, found, measure = _rsatoolbox(path)
    else:
        stack = _chosen(path, dict(_stacks(path)), variable)
        subjects = _subjects(path, stack, axis)
        found, measure = files.facts_of(path)
    if found is not None and names is not None and list(found) != list(names):
        raise InvalidArgument(
            f"{path} names its stimuli itself: {listing(found, 3)}; leave out ids."
        )
    measure = files.agreed(path, measure, dissimilarity)
    chosen = names or found
    labels = [f"{path.stem} {number}" for number in range(1, len(subjects) + 1)]
    return [
        RDM(
            checked(one, f"The matrix {label!r}", chosen, may_be_negative(measure)),
            None if chosen is None else tuple(chosen),
            measure,
            {"file": path.name},
            label,
        )
        for one, label in zip(subjects, labels, strict=True)
    ]


def _stacks(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of a file that can be RDMs, those in structures together."""
    suffix = path.suffix.lower()
    if suffix not in files.READERS:
        raise unknown("RDM file format", suffix, [*files.READERS, *HDF5], f"Received: {path}.")
    if not path.is_file():
        raise InvalidArgument(f"There is no file {path}.")
    groups: dict[str, list[NDArray[Any]]] = {}
    for name, array in files.arrays_of(path).items():
        groups.setdefault(re.sub(r"\[\d+\]", "", name), []).append(array)
    for name, members in groups.items():
        if len({member.shape for member in members}) == 1:
            yield name, members[0] if len(members) == 1 else np.stack([_plain(m) for m in members])


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    return array.ravel() if array.ndim == 2 and 1 in array.shape else array


def _chosen(path: Path, stacks: dict[str, NDArray[Any]], variable: str | None) -> NDArray[Any]:
    if variable is not None:
        if variable not in stacks:
            raise unknown("variable", variable, stacks, f"Looked for in {path}.")
        return stacks[variable]
    likely = {name: array for name, array in stacks.items() if _axes(_plain(array))}
    if len(likely) == 1:
        return next(iter(likely.values()))
    shown = [f"{name} {array.shape}" for name, array in (likely or stacks).items()]
    if not likely:
        raise InvalidArgument(
            f"{path} holds no RDMs: neither square matrices nor rows of n (n - 1) / 2 pairs. It "
            f"holds: {listing(shown) or 'nothing that can be read safely'}."
        )
    first = next(iter(likely))
    raise InvalidArgument(
        f"{path} holds {len(likely)} arrays that can be RDMs: {listing(shown)}. Choose one: "
        f"load_rdms(path, variable={first!r}), or for a reference {path.name}@{first}."
    )


def _axes(array: NDArray[Any]) -> list[int]:
    """List the axes that can be that of subjects; -1 stands for a single RDM."""
    if array.dtype.kind not in "biuf":
        return []
    shape = array.shape
    if array.ndim == 1:
        return [-1] * _are_pairs(len(array))
    if array.ndim == 2 and shape[0] == shape[1]:
        return [-1]
    if array.ndim == 2:
        return [axis for axis in (0, 1) if _are_pairs(shape[1 - axis])]
    if array.ndim == 3:
        sides = [(0, shape[1:]), (2, shape[:2]), (1, shape[::2])]
        return [axis for axis, (one, other) in sides if one == other]
    return []


def _are_pairs(count: int) -> bool:
    return count > 3 and stimuli_of_pairs(count) is not None  # three may be a colour


def _subjects(path: Path, stack: NDArray[Any], axis: int | None) -> list[NDArray[Any]]:
    """Take a stack apart into square matrices or rows of pairs."""
    stack = _plain(stack)
    possible = _axes(stack)
    if possible == [-1]:
        return [stack]
    if axis is not None:
        if axis % stack.ndim not in possible:
            raise InvalidArgument(
                f"Along axis {axis} of the shape {stack.shape}, {path} holds no RDMs."
            )
        possible = [axis % stack.ndim]
    if len(possible) != 1:
        raise InvalidArgument(
            f"{path} holds an array of shape {stack.shape}, in which subjects can lie along axis "
            f"{' or '.join(map(str, possible))}. Say which: load_rdms(path, axis={possible[0]})."
            if possible
            else f"{path} holds an array of shape {stack.shape}, which is no stack of RDMs."
        )
    return list(np.moveaxis(stack, possible[0], 0))


def _rsatoolbox(path: Path) -> tuple[list[NDArray[Any]], Sequence[str] | None, str]:
    """Read what rsatoolbox saves: dissimilarities (n_rdms, n_pairs), ids, and how measured."""
    if not path.is_file():
        raise InvalidArgument(f"There is no file {path}.")
    try:
        with h5py.File(path, "r") as file:
            if "dissimilarities" not in file:
                raise InvalidArgument(
                    f"{path} holds no RDMs as rsatoolbox saves them: it lacks 'dissimilarities'. "
                    f"It holds {listing(list(file))}."
                )
            stack = list(np.atleast_2d(file["dissimilarities"][()]))
            measure = _text(file.attrs.get("dissimilarity_measure", ""))
            descriptors = file.get("pattern_descriptors", {})
            texts = {name: _texts(descriptors[name]) for name in descriptors}
    except OSError as error:
        raise InvalidArgument(
            f"{path} cannot be read as HDF5: {reason_of(error)}. {files.COMPLETE}"
        ) from error
    count = stimuli_of_pairs(len(stack[0])) if stack else 0
    named = [values for name, values in texts.items() if name != "index" and values is not None]
    unique = [values for values in named if len(set(values)) == count]
    return stack, (unique[0] if len(unique) == 1 else None), OURS.get(measure, measure)


def _texts(item: Any) -> list[str] | None:
    """Read a descriptor, which is an array, or a group with an entry for each stimulus."""
    if isinstance(item, h5py.Dataset):
        return [_text(value) for value in np.ravel(item[()])]
    values = [item[key] for key in sorted(item, key=_number)]
    return [_text(value[()]) for value in values if isinstance(value, h5py.Dataset)] or None


def _number(key: str) -> int:
    digits = re.sub(r"\D", "", key)
    return int(digits) if digits else -1


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
