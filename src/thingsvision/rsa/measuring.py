"""From features as they come to the pairs of an RDM: what `compute_rdm` does, step by step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument, counted, listing
from .conditions import averaged, coded
from .dissimilarity import DISSIMILARITIES, UndefinedRows
from .dropping import tell_dropped, whole_rows
from .matrix import check_ids, check_matrix, condensed
from .pairs_file import PairsFile
from .selection import chosen

Ids = tuple[str, ...] | None
NAN = ("refuse", "drop")
SHOWN = 10  # reasons in an error
PER_ROW = ("conditions", "folds")  # options with one label a row


def measured(
    array: NDArray[Any],
    ids: Ids,
    dissimilarity: str,
    given: Mapping[str, Any],
    out: Path | None,
    options: Mapping[str, Any],
) -> tuple[NDArray[Any], Ids, dict[str, Any]]:
    """Compute the dissimilarities of all pairs of stimuli or conditions.

    Parameters
    ----------
    array : array, shape (n_stimuli, ...)
        The features.
    ids : tuple of str or None
        One per row.
    dissimilarity, given, out, options
        As of `compute_rdm`; `given` holds select, weights, conditions, nan, drop_failed, and
        failures: the ids whose images could not be decoded, and why.

    Returns
    -------
    pairs : array, shape (n_pairs,)
        A memory map if `out` was given.
    ids : tuple of str or None
        Of the stimuli, or the names of the conditions.
    done : dict
        What was not as usual, for the provenance.
    """
    compute = DISSIMILARITIES[dissimilarity]
    takes = inspect.signature(compute).parameters
    _check_options(dissimilarity, options, takes)
    if array.ndim == 0 or array.size == 0:
        raise InvalidArgument(
            f"Features of shape {array.shape} are no (n_stimuli, …). Those in a folder are opened "
            "with open_features(folder)[module]."
        )
    nan, conditions = given["nan"], given["conditions"]
    if nan not in NAN:
        raise InvalidArgument(f"nan={nan!r} is not allowed; it is 'refuse' or 'drop'.")
    if conditions is None and "folds" in takes:
        conditions = ids
    labels = {"conditions": conditions, "folds": options.get("folds")}
    _check_labels(labels, len(array))
    if ids is not None and conditions is None:
        check_ids(ids, len(array), "These features")
    if given["failures"] and not given["drop_failed"]:
        _refuse_failed(given["failures"], len(array))
    failed = np.array([name in given["failures"] for name in ids or [None] * len(array)])
    features = chosen(array.reshape(len(array), -1), given["select"], given["weights"])
    done = _description(given, options)
    whole = ~failed & (whole_rows(features) if nan == "drop" else True)
    if not whole.all():
        dropped = np.flatnonzero(~whole)
        done["dropped"] = [ids[row] if ids else int(row) for row in dropped]
        why = "hold NaN or infinity" if nan == "drop" else "failed"
        tell_dropped(done["dropped"], len(array), why, ids)
        features = features[whole]
        ids = None if ids is None else tuple(np.array(ids, dtype=object)[whole])
        labels = {
            name: None if rows is None else np.asarray(rows, dtype=object)[whole]
            for name, rows in labels.items()
        }
    options = {**options, **{name: labels[name] for name in PER_ROW if name in takes}}
    names = ids
    try:
        if labels["conditions"] is not None:
            codes, found = coded(labels["conditions"])
            names = tuple(found)
            if "conditions" not in takes:
                _refuse_broken(features)
                features = averaged(features, codes)
                ids = names
        pairs = _computed(compute, features, options, out if "out" in takes else None)
    except UndefinedRows as error:
        raise error.naming(ids) from None
    return _kept(pairs, out, dissimilarity), names, done


def _check_options(
    dissimilarity: str, options: Mapping[str, Any], takes: Mapping[str, Any]
) -> None:
    allowed = [name for name in list(takes)[1:] if name not in ("out", "conditions")]
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in takes.values()):
        return
    wrong = [name for name in options if name not in allowed]
    if wrong:
        has = f"Its options are: {listing(allowed)}" if allowed else "It has no options"
        raise InvalidArgument(f"{dissimilarity} has no option {listing(wrong)}. {has}.")


def _check_labels(labels: Mapping[str, Any], count: int) -> None:
    for name, rows in labels.items():
        if rows is None:
            continue
        if isinstance(rows, str) or np.ndim(rows) != 1 or len(rows) != count:
            got = repr(rows) if isinstance(rows, str) else f"an array of shape {np.shape(rows)}"
            raise InvalidArgument(
                f"{name}={got} does not fit {counted(count, 'row')} of features; "
                "each row needs one."
            )


def _refuse_failed(failures: Mapping[str, str], count: int) -> None:
    reasons = "\n  ".join([*failures.values()][:SHOWN])
    more = f"\n  and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    raise InvalidArgument(
        f"The images of {len(failures)} of {count} stimuli could not be decoded, so these have no "
        f"features: {listing(list(failures))}.\n  {reasons}{more}\nMend them and extract again, "
        "which computes only their batches; or leave them out with drop_failed=True."
    )


def _refuse_broken(features: NDArray[Any]) -> None:
    broken = np.flatnonzero(~whole_rows(features))
    if len(broken):
        problem = "Features have to be finite numbers. NaN or infinity is found in"
        raise UndefinedRows(problem, broken.tolist())


def _computed(compute: Any, features: NDArray[Any], options: Any, out: Path | None) -> Any:
    if out is None:
        return compute(features, **options)
    count = len(features)
    kind = np.float32 if features.dtype in (np.float16, np.float32) else np.float64
    with PairsFile(out, count * (count - 1) // 2, np.dtype(kind)) as file:
        compute(features, **options, out=file)
    return np.load(out, mmap_mode="r")


def _kept(found: Any, out: Path | None, dissimilarity: str) -> NDArray[Any]:
    """Take pairs as they are, and those of a square matrix; write them if that is to be done."""
    if isinstance(found, np.memmap):
        return found
    pairs: NDArray[Any] = np.asarray(found)
    if pairs.ndim == 2:  # what another package made
        check_matrix(pairs, f"The result of {dissimilarity}", negative=True)
        pairs = condensed(pairs)
    if out is None:
        return pairs
    with PairsFile(out, len(pairs), pairs.dtype) as file:
        file[0 : len(pairs)] = pairs
    mapped: NDArray[Any] = np.load(out, mmap_mode="r")
    return mapped


def _description(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what was asked for besides the dissimilarity, so that it can be saved."""
    asked = {name: given[name] for name in ("select", "weights", "conditions")} | dict(options)
    return {name: _short(value) for name, value in asked.items() if value is not None}


def _short(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    return f"array of shape {np.shape(value)}"
