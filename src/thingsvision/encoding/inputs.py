"""What an encoding model is handed, and how its stimuli are joined: by id, or by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument, MismatchError, counted, listing
from ..features import Features, FeatureSet, as_features
from ..responses import Responses

AnyFeatures = Features | FeatureSet | ArrayLike | Mapping[str, Any]
AnyResponses = Responses | Features | ArrayLike


@dataclass(frozen=True)
class Inputs:
    """Features and responses, row for row.

    Parameters
    ----------
    features : dict of str to array, shape (n_stimuli, n_features)
        By module.
    models : dict of str to str
        Name of the model of each.
    responses : array, shape (n_stimuli, n_targets)
        As it is stored, a memory map too.
    ids : tuple of str, optional
        Of the rows.
    joined_by : str
        ``"id"`` or ``"position"``.
    """

    features: Mapping[str, NDArray[Any]]
    models: Mapping[str, str]
    responses: NDArray[Any]
    ids: tuple[str, ...] | None
    joined_by: str
    reference: str
    target_names: tuple[str, ...] | None
    reliability: NDArray[np.float64] | None


def join(features: AnyFeatures, responses: AnyResponses, by_position: bool = False) -> Inputs:
    """Bring features into the order of the responses.

    Parameters
    ----------
    features : Features, FeatureSet, array, or mapping from name to these
        Of one or several modules.
    responses : Responses, Features or array, shape (n_stimuli, n_targets)
        What is to be predicted.
    by_position : bool
        Take an array, which carries no ids, to be in the order of what does.

    Returns
    -------
    Inputs

    Raises
    ------
    MismatchError
        If the stimuli differ, in number or by id, or cannot be joined because only
        some carry ids.
    InvalidArgument
        If something is empty, is no table of numbers, or features are not finite.
    """
    modules = _modules(features)
    answers, ids = as_features(responses)
    if isinstance(responses, Features):
        answers = responses.array  # a memory map stays one
    answers = _checked_responses(answers)
    if ids is not None:
        _refuse_doubled(ids, "Responses")
    if answers.ndim == 0:
        raise InvalidArgument(f"The responses are {_kind(responses)}, not an array of numbers.")
    laid_out, models, joined = {}, {}, "id"
    for name, item in modules.items():
        array, own = as_features(item)
        if own is not None:
            _refuse_doubled(own, f"Features of {name!r}")
        label = f"features of {name!r}" if name else "the features"
        if array.ndim == 0:
            what = f"{label[0].upper()}{label[1:]}"
            raise InvalidArgument(f"{what} are {_kind(item)}, not an array (n_stimuli, …).")
        rows = _rows(own, ids, len(array), len(answers), label, by_position)
        joined = "position" if own is None or ids is None else joined
        laid_out[name] = _checked_features(
            array if rows is None else array[rows], label, own if ids is None else ids
        )
        models[name] = _model(item)
    bare = {name for name, item in modules.items() if as_features(item)[1] is None}
    if ids is None and bare != set(modules):
        orders = {as_features(item)[1] for name, item in modules.items() if name not in bare}
        if len(orders) > 1:
            raise MismatchError(
                "by_position=True says nothing here: the features of the modules stand in "
                "different orders. Bring them into one with features.select(ids)."
            )
        ids = next(iter(orders))
    about = responses if isinstance(responses, Responses) else None
    return Inputs(
        laid_out, models, answers, ids, joined,
        responses.module if isinstance(responses, Features) else "",
        None if about is None else about.target_names,
        None if about is None else about.reliability,
    )  # fmt: skip


def _kind(data: Any) -> str:
    return repr(data) if data is None or isinstance(data, str) else f"a {type(data).__name__}"


def _modules(features: AnyFeatures) -> Mapping[str, Any]:
    if isinstance(features, FeatureSet):
        return dict(features)
    if isinstance(features, Mapping):
        if not features:
            raise InvalidArgument("The mapping of features is empty; give at least one module.")
        return {
            str(name): item.only if isinstance(item, FeatureSet) else item
            for name, item in features.items()
        }
    return {features.module if isinstance(features, Features) else "": features}


def _model(item: Any) -> str:
    if not isinstance(item, Features):
        return ""
    model = item.provenance.get("model", "")
    return str(model.get("name", "") if isinstance(model, Mapping) else model)


def _rows(
    own: Sequence[str] | None, ids: Sequence[str] | None, n_own: int, n_rows: int, label: str,
    by_position: bool,
) -> list[int] | None:  # fmt: skip
    """Say which row of features belongs to each row of responses; None if all lie so already."""
    if own is not None and ids is not None:
        if tuple(own) == tuple(ids):
            return None
        rows = {name: row for row, name in enumerate(own)}
        _refuse_other_ids(label, own, ids)
        return [rows[name] for name in ids]
    if (own is None) != (ids is None) and not by_position:
        named, bare = ("the responses", label) if own is None else (label, "the responses")
        remedy = "load_responses(array, ids)" if own is not None else "Features(array, ids, module)"
        raise MismatchError(
            f"{named[0].upper()}{named[1:]} name their stimuli and {bare} do not, so they cannot "
            f"be joined by id. Name them, with {remedy}, or say by_position=True if both are "
            "surely in the same order."
        )
    if n_own != n_rows:
        raise MismatchError(
            f"{label[0].upper()}{label[1:]} have {counted(n_own, 'row')} and the responses "
            f"{n_rows}. Each row is one stimulus."
        )
    return None


def _refuse_other_ids(label: str, own: Sequence[str], ids: Sequence[str]) -> None:
    here, there = set(own), set(ids)
    only_here = [name for name in own if name not in there]
    only_there = [name for name in ids if name not in here]
    if not only_here and not only_there:
        return
    told = []
    if only_there:
        told.append(f"{len(only_there)} are missing from {label}: {listing(only_there)}")
    if only_here:
        told.append(f"{len(only_here)} are missing from the responses: {listing(only_here)}")
    raise MismatchError(
        f"Features and responses have different stimuli. {'. '.join(told)}. They share "
        f"{len(here & there)}; take a common subset with features.select(ids) and "
        "responses.select(ids) if that is meant."
    )


def _refuse_doubled(ids: Sequence[str], label: str) -> None:
    doubled = [name for name, times in Counter(ids).items() if times > 1]
    if doubled:
        raise InvalidArgument(f"{label} have ids that stand for several rows: {listing(doubled)}.")


def _checked_features(array: NDArray[Any], label: str, ids: Sequence[str] | None) -> NDArray[Any]:
    if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"{label[0].upper()}{label[1:]} have shape {array.shape} and hold {array.dtype}; they "
            "should be numbers, (n_stimuli, …)."
        )
    flat = array.reshape(len(array), -1)
    broken = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if len(broken):
        names = broken.tolist() if ids is None else [ids[int(row)] for row in broken]
        raise InvalidArgument(
            f"{label[0].upper()}{label[1:]} hold NaN or infinity for {len(broken)} stimuli: "
            f"{listing(names)}. Leave these out, with select(ids) on both sides."
        )
    return flat


def _checked_responses(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"Responses of shape {array.shape} ({array.dtype}) are no numbers (n_stimuli, "
            "n_targets). Repeats are averaged by load_responses(array, ids, axes=…)."
        )
    return array
