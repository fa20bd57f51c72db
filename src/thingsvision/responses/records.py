"""Responses: what voxels, channels or neurons answered to stimuli, joined to them by id."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import is_table
from ..errors import InvalidArgument, ThingsvisionWarning, counted, listing, several
from ..features import Features
from .files import read_ids, read_responses
from .reliability import split_half_reliability

AXES = ("stimulus", "repeat", "target")


@dataclass(frozen=True, eq=False, repr=False)
class Responses(Features):
    """Responses of targets, e.g. voxels, channels or neurons, to an ordered set of stimuli.

    They are features with ids, so that `compute_rdm` makes an RDM of them.

    Parameters
    ----------
    array : array, shape (n_stimuli, n_targets)
        In memory, or a memory map that is read when it is used. The mean over
        repeats, where there were any.
    ids : tuple of str
        One per row, none twice.
    module : str
        Name of the area or the recording, e.g. ``"IT"``.
    target_names : tuple of str, optional
        One per column.
    reliability : array, shape (n_targets,), optional
        Reliability of each column, at most 1: the share of its variance over
        stimuli that a perfect model explains. Its square root is the largest
        correlation that a perfect model is expected to reach.
    axes, targets, provenance
        As of `Features`.

    Raises
    ------
    InvalidArgument
        If the array has not two axes, or numbers of ids, names and
        reliabilities do not fit, or an id stands for several rows.

    Examples
    --------
    >>> Responses(np.eye(3), ids=("a.jpg", "b.jpg", "c.jpg"), module="IT")
    Responses('IT', 3 stimuli × 3 targets, float64)
    """

    target_names: tuple[str, ...] | None = None
    reliability: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        what = f"Responses of {self.module}" if self.module else "Responses"
        if self.array.ndim != 2:
            raise InvalidArgument(
                f"{what} have shape {self.array.shape}, not (n_stimuli, n_targets). Of other "
                'layouts load_responses makes it, e.g. axes=("stimulus", "repeat", "target").'
            )
        super().__post_init__()
        doubled = [name for name, times in Counter(self.ids).items() if times > 1]
        if doubled:
            raise InvalidArgument(
                f"{what} have ids that stand for several rows: {listing(doubled)}. If these are "
                "repeats, average them with load_responses(…, trials=True)."
            )
        for name in ("target_names", "reliability"):
            value = getattr(self, name)
            if value is not None and len(value) != self.array.shape[1]:
                raise InvalidArgument(
                    f"{what} have {counted(self.array.shape[1], 'target')}, but {name} has "
                    f"{len(value)}. Give one for each column."
                )
        if not self.axes:
            object.__setattr__(self, "axes", ("stimulus", "target"))

    @property
    def noise_ceiling(self) -> NDArray[np.float64] | None:
        """Largest correlation expected of a perfect model, shape (n_targets,).

        The square root of the reliability, as both the model's and the measurement's correlation
        with the noiseless response bound it (Spearman 1904, doi:10.2307/1412159). NaN where the
        reliability is not above zero.
        """
        if self.reliability is None:
            return None
        known = np.where(self.reliability > 0, self.reliability, np.nan)
        return np.sqrt(np.minimum(known, 1))

    def select(self, ids: Sequence[str]) -> Responses:
        """Take the rows of some stimuli, in the order asked for.

        Parameters
        ----------
        ids : sequence of str
            Wanted ids, none twice.

        Returns
        -------
        Responses
            Shape ``(len(ids), n_targets)``. The reliability is that of all stimuli.

        Raises
        ------
        MismatchError
            If an id is not among these stimuli; all such ids are named.
        """
        rows = Features(self.array, self.ids, self.module, self.axes, self.targets).select(ids)
        return replace(self, array=rows.array, ids=rows.ids, targets=rows.targets)

    def select_targets(self, chosen: ArrayLike) -> Responses:
        """Take some targets.

        Parameters
        ----------
        chosen : array of bool, shape (n_targets,), or of int
            Which, e.g. ``responses.reliability > 0.2``.

        Returns
        -------
        Responses
            Shape ``(n_stimuli, n_chosen)``.

        Raises
        ------
        InvalidArgument
            If the array has another length, or chooses no target.

        Examples
        --------
        >>> responses = Responses(np.eye(2), ids=("a.jpg", "b.jpg"))
        >>> responses.select_targets([True, False]).shape
        (2, 1)
        """
        which = np.asarray(chosen)
        count = self.array.shape[1]
        if which.dtype == bool:
            if which.shape != (count,):
                raise InvalidArgument(
                    f"A choice of shape {which.shape} does not fit {counted(count, 'target')}."
                )
            which = np.flatnonzero(which)
        if which.ndim != 1 or which.dtype.kind not in "iu" or not len(which):
            raise InvalidArgument("Choose at least one target, by true and false or by number.")
        if which.min() < -count or which.max() >= count:
            raise InvalidArgument(f"Targets are numbered from 0 to {count - 1}.")
        names, reliability = self.target_names, self.reliability
        return replace(
            self,
            array=self.array[:, which],
            target_names=None if names is None else tuple(names[number] for number in which),
            reliability=None if reliability is None else reliability[which],
        )

    def __repr__(self) -> str:
        name = f"{self.module!r}, " if self.module else ""
        n_stimuli, n_targets = self.array.shape
        size = f"{counted(n_stimuli, 'stimulus', 'stimuli')} × "
        return f"Responses({name}{size}{counted(n_targets, 'target')}, {self.dtype})"


def load_responses(
    source: str | Path | Sequence[str | Path] | ArrayLike,
    ids: Sequence[str] | str | Path | None = None,
    *,
    mask: str | Path | ArrayLike | None = None,
    axes: Sequence[str] | None = None,
    trials: bool = False,
    variable: str | None = None,
    name: str | None = None,
    seed: int = 0,
) -> Responses:
    """Read responses of a brain from an array or a file.

    Repeats are averaged, and their reliability is kept (see `split_half_reliability`).

    Parameters
    ----------
    source : array, path, or list of paths
        ``.npy``, ``.npz``, ``.mat`` (version 5 or 7.3), ``.csv`` (a header of
        target names, a first column of ids), NIfTI (``.nii``, ``.nii.gz``;
        the fourth axis counts the stimuli) or GIFTI (``.gii``; one data array
        a stimulus). A list of NIfTI or GIFTI files is laid end to end.
    ids : sequence of str, or path of a text file with one id a line
        Of the rows. May be left out where the file names them: a ``.csv``, or a
        ``.mat`` or ``.npz`` with a variable ``ids`` or ``file_names``.
    mask : path or array, optional
        What is not zero is kept, in the order of the array (C order). For an
        image, of the same shape, and the same affine if it is a file.
    axes : sequence of str, optional
        What the axes of an array are: each ``"stimulus"``, ``"repeat"`` or
        ``"target"``, e.g. ``("target", "stimulus")``; several may be
        ``"target"``. Arrays of two axes are ``("stimulus", "target")`` unless
        it is said otherwise; those of more have to say it.
    trials : bool
        Whether rows are trials, of which several may have the same id; they are
        averaged. Stimuli stand in the order of their first trial.
    variable : str, optional
        Which of several arrays of a ``.mat`` or ``.npz`` file; inside
        structures it is spelled ``"data.betas"``.
    name : str, optional
        Name of the area; else that of the file.
    seed : int
        Of the random halves, where there are more than 100 ways to split.

    Returns
    -------
    Responses
        Shape (n_stimuli, n_targets).

    Raises
    ------
    InvalidArgument
        If the file cannot be read as responses, the axes are not said, the ids
        are missing or doubled, or the mask does not fit.
    MissingPackage
        If an image is read without nibabel.

    Examples
    --------
    >>> repeats = np.array([[[1.0, 5.0], [3.0, 5.0]], [[2.0, 8.0], [2.0, 6.0]]])
    >>> load_responses(repeats, ["a.jpg", "b.jpg"], axes=("stimulus", "repeat", "target")).array
    array([[2., 5.],
           [2., 7.]])
    """
    found = read_responses(source, mask, variable)
    array = found.array
    if is_table(source) and axes is not None and tuple(axes)[:1] != ("stimulus",):
        found = replace(found, ids=None, target_names=None)  # its rows are no stimuli
    if isinstance(ids, str | Path):
        ids = read_ids(Path(ids))
    if ids is not None and found.ids is not None and list(ids) != list(found.ids):
        raise InvalidArgument(
            f"{found.name} names its stimuli itself ({listing(found.ids, 3)}), otherwise than the "
            "ids given. Leave ids out; for another order use load_responses(…).select(ids)."
        )
    chosen = found.ids if ids is None else tuple(several(ids, "load_responses(…, ids={})"))
    if chosen is None:
        raise InvalidArgument(
            f"{found.name} does not say which row belongs to which stimulus. Give "
            "ids=[…], or ids='ids.txt' with one id a line."
        )
    array = _three_axes(array, found.axes if axes is None else axes, found.name)
    if found.masked is not None:
        if array.shape[2] != found.masked.size:
            raise InvalidArgument(
                f"The mask has shape {found.masked.shape}, but {found.name} has "
                f"{counted(array.shape[2], 'target')}."
            )
        array = array[:, :, found.masked.ravel()]
    if len(array) != len(chosen):
        hint = ""
        if array.shape[2] == len(chosen):
            hint = ' If stimuli are columns, say axes=("target", "stimulus").'
        raise InvalidArgument(
            f"{found.name} has {counted(len(array), 'row')} but {counted(len(chosen), 'id')} "
            f"were given. Each row needs the id of its stimulus.{hint}"
        )
    if trials and len(set(chosen)) < len(chosen):
        array, chosen = _by_stimulus(array, chosen, found.name)
    reliability = None
    if array.shape[1] > 1 and len(array) > 2:
        reliability = split_half_reliability(as_float(array), seed)
    provenance = {**found.provenance, "repeats": array.shape[1], "seed": seed}
    return Responses(
        _mean(array), tuple(chosen), found.name if name is None else name,
        provenance=provenance, target_names=found.target_names, reliability=reliability,
    )  # fmt: skip


def as_float(array: NDArray[Any]) -> NDArray[Any]:
    """Make integers and booleans float64; leave all else."""
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def _three_axes(array: NDArray[Any], axes: Sequence[str] | None, name: str) -> NDArray[Any]:
    """Bring an array to (n_stimuli, n_repeats, n_targets)."""
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{name} holds {array.dtype}, not real numbers.")
    if not array.size:
        raise InvalidArgument(f"{name} has shape {array.shape}: it holds no responses.")
    if axes is None:
        axes = {1: ("stimulus",), 2: ("stimulus", "target")}.get(array.ndim)
        if axes is None:
            raise InvalidArgument(
                f"{name} has shape {array.shape}. Say what its axes are, e.g. "
                'axes=("stimulus", "repeat", "target").'
            )
    strange = [axis for axis in axes if axis not in AXES]
    once = all(list(axes).count(axis) <= 1 for axis in AXES[:2])
    if strange or len(axes) != array.ndim or "stimulus" not in axes or not once:
        raise InvalidArgument(
            f"axes={tuple(axes)} does not describe an array of shape {array.shape}. Each axis is "
            '"stimulus" (one), "repeat" (one or none) or "target".'
        )
    order = sorted(range(array.ndim), key=lambda number: AXES.index(axes[number]))
    array = array.transpose(order)
    n_repeats = array.shape[1] if "repeat" in axes else 1
    return array.reshape(len(array), n_repeats, -1)


def _by_stimulus(
    array: NDArray[Any], ids: Sequence[str], name: str
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Bring trials to (n_stimuli, n_repeats, n_targets), or to means if the numbers differ."""
    if array.shape[1] > 1:
        raise InvalidArgument(f"{name} has an axis of repeats and trials with equal ids; say one.")
    rows: dict[str, list[int]] = {}
    for row, stimulus in enumerate(ids):
        rows.setdefault(stimulus, []).append(row)
    counts = {len(trials) for trials in rows.values()}
    if len(counts) == 1:
        return array[np.array(list(rows.values())), 0], tuple(rows)
    warnings.warn(
        f"The stimuli of {name} have {min(counts)} to {max(counts)} trials each, so their mean is "
        "taken but no reliability is estimated.",
        ThingsvisionWarning,
        stacklevel=3,
    )
    means = [_mean(array[trials, 0][None])[0] for trials in rows.values()]
    return np.stack(means)[:, None], tuple(rows)


def _mean(array: NDArray[Any]) -> NDArray[Any]:
    """Average over repeats; one repeat stays as it is, a memory map too."""
    return array[:, 0] if array.shape[1] == 1 else array.mean(axis=1)
