"""Sets of stimuli with their references: RDMs of brains and behaviour, as files or as data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..datasets import fetch_dataset
from ..errors import InvalidArgument, MismatchError, counted, listing, unknown
from ..rsa.files import read_ids
from ..rsa.rdm import RDM
from ..rsa.stacks import load_rdms
from ..stimuli import StimulusSet, load_stimuli
from ..text_files import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETS = "Give a TOML file in which each set begins with a line [[set]]."
KEYS = ("name", "images", "dataset", "references", "ids", "by_position", "order", "source")
LEAST = 4  # stimuli, for the bootstrap
OF_REFERENCE = ("file", "variable", "axis", "ids", "dissimilarity")


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Stimuli, and what brains and people made of them.

    Parameters
    ----------
    name : str
        As figures and tables call it.
    stimuli : StimulusSet
        The images.
    references : dict of str to tuple of RDM
        One RDM a subject, or one of a group; with the ids of the stimuli.
    joined_by : str
        ``"id"``, or ``"position"`` if a reference carried no ids and this was said to be right.
    order : tuple of str, optional
        Ids in the order to draw them in.
    citation : str
        What to cite.
    """

    name: str
    stimuli: StimulusSet
    references: Mapping[str, tuple[RDM, ...]]
    joined_by: str = "id"
    order: tuple[str, ...] | None = None
    citation: str = field(default="", repr=False)


def make_set(
    name: str,
    images: Any = None,
    references: Mapping[str, Any] | Sequence[str] = (),
    *,
    dataset: str | None = None,
    ids: Sequence[str] | str | Path | None = None,
    by_position: bool = False,
    order: Sequence[str] | str | Path | None = None,
) -> ReferenceSet:
    """Bring images and references together, and check that they are of the same stimuli.

    Parameters
    ----------
    name : str
        Of the set.
    images : StimulusSet, or what `load_stimuli` takes
        The images; with `dataset`, those of the dataset by default.
    references : dict of str to file or RDMs; or sequence of str
        By name: a file as `load_rdms` reads it, ``FILE@VARIABLE`` for one of several arrays in
        it, a dict of ``file`` and other arguments of `load_rdms`, or the RDMs themselves. Names
        alone are references of `dataset`; without any, all of its references.
    dataset : str, optional
        A name in `list_datasets`.
    ids : sequence of str, or path of a text file, optional
        Ids of the stimuli in the order of references that carry none.
    by_position : bool
        Take references without ids to be in the order of the images.
    order : sequence of ids, or path of a text file, optional
        The order to draw in; it may leave stimuli out.

    Returns
    -------
    ReferenceSet

    Raises
    ------
    InvalidArgument
        If there are no images or references, or a reference cannot be read.
    MismatchError
        If a reference is of other stimuli, or carries no ids.
    """
    data = fetch_dataset(dataset) if dataset is not None else None
    if images is None and (data is None or data.stimuli is None):
        raise InvalidArgument(
            f"The set {name!r} has no images. Say where they are"
            + (f": those of the dataset {dataset!r} are not public." if dataset else ".")
        )
    given: Any = data.stimuli if images is None and data is not None else images
    stimuli = given if isinstance(given, StimulusSet) else load_stimuli(given)
    if len(stimuli) < LEAST:
        raise InvalidArgument(
            f"The set {name!r} has {counted(len(stimuli), 'image')}; RDMs are compared with "
            f"intervals from {LEAST} stimuli on, and a few dozen where they are to mean something."
        )
    known: Mapping[str, tuple[RDM, ...]] = data.rdms if data is not None else {}
    wanted: dict[str, Any] = (
        dict(references) if isinstance(references, Mapping) else dict.fromkeys(references)
    ) or dict.fromkeys(known)
    if not wanted:
        raise InvalidArgument(
            f"The set {name!r} has no references. Name RDMs of a brain or of behaviour, such as "
            "--reference human=hIT.mat, or a dataset that has them."
        )
    names = tuple(read_ids(Path(ids).expanduser())) if isinstance(ids, str | Path) else ids
    found: dict[str, tuple[RDM, ...]] = {}
    how = "id"
    for reference, what in wanted.items():
        if what is None:
            if reference not in known:
                of_file = f"Those of a file are written {reference}=FILE."
                if Path(reference).expanduser().is_file():
                    of_file = f"The file of that name needs one for the figures: NAME={reference}."
                raise unknown("reference", reference, known, of_file)
            rdms = known[reference]
        else:
            rdms = _read(reference, what, names)
        found[reference], joined = _of(stimuli, reference, rdms, by_position)
        how = how if joined == "id" else joined
    drawn = read_ids(Path(order).expanduser()) if isinstance(order, str | Path) else order
    if drawn is not None and (strange := [one for one in drawn if one not in set(stimuli.ids)]):
        raise MismatchError(
            f"The order of {name!r} names {len(strange)} stimuli that are not among its images: "
            f"{listing(strange)}. Its ids look like: {listing(stimuli.ids, 3)}."
        )
    return ReferenceSet(
        name, stimuli, found, how, None if drawn is None else tuple(drawn),
        data.citation if data is not None else "",
    )  # fmt: skip


def read_sets(path: str | Path) -> list[ReferenceSet]:
    """Read several sets from a TOML file; its paths are relative to it.

    Each ``[[set]]`` has a ``name``, ``images`` or a public ``dataset``, a table ``references``
    from name to file, and if need be ``ids``, ``by_position`` and ``order``, as in `make_set`. In
    the place of a file may stand a table of ``file``, ``variable``, ``axis``, ``ids`` and
    ``dissimilarity``, as in `load_rdms`.
    ``source`` says where the data is to be had, for people and for messages.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    list of ReferenceSet

    Raises
    ------
    InvalidArgument
        If the file is no such table, or sets lack files; all of them are named, with their source.
    """
    path = Path(path).expanduser()
    text = read_text(path, "file of sets", SETS)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path} cannot be read as TOML: {error}. {SETS}") from error
    tables = document.get("set")
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables or [None]):
        raise InvalidArgument(f"{path} holds no sets. Each begins with a line [[set]].")
    problems = [f"outside of sets: {unknown('key', k, ['set'])}" for k in document if k != "set"]
    for number, table in enumerate(tables, 1):
        label = f"set {number}" if "name" not in table else f"set {table['name']!r}"
        problems += [f"{label}: {text}" for text in _wrong(table, path.parent)]
    times = Counter(str(table.get("name")) for table in tables)
    if doubled := [name for name, count in times.items() if count > 1]:
        problems.append(f"several sets are called {listing(doubled)}")
    if problems:
        lines = "\n  ".join(problems)
        raise InvalidArgument(f"{path} cannot be followed:\n  {lines}")
    return [_from_table(table, path.parent) for table in tables]


def _wrong(table: Mapping[str, Any], folder: Path) -> list[str]:
    """Say what is wrong with the table of a set, before anything is loaded."""
    problems = [str(unknown("key", key, KEYS)) for key in table if key not in KEYS]
    if "name" not in table:
        problems.append("it has no name")
    if "images" not in table and "dataset" not in table:
        problems.append("it has neither images nor a dataset")
    references = table.get("references", {})
    files = list(references.values()) if isinstance(references, Mapping) else []
    for one in (f for f in files if isinstance(f, Mapping)):
        problems += [str(unknown("key", k, OF_REFERENCE)) for k in one if k not in OF_REFERENCE]
    if mistyped := _mistyped(table):
        return problems + mistyped  # what follows needs the right types
    paths = [str(one.get("file", "")) if isinstance(one, Mapping) else one for one in files]
    lists = [one.get("ids") for one in files if isinstance(one, Mapping)]
    needed = [table.get("images"), *paths, table.get("ids"), table.get("order"), *lists]
    places = {one: _file(str(_at(one, folder))) for one in needed if isinstance(one, str)}
    absent = [one for one, place in places.items() if not Path(place).exists()]
    if absent:
        source = f" To be had from: {table['source']}" if "source" in table else ""
        problems.append(f"there is no {listing(absent)}.{source}")
    return problems


def _mistyped(table: Mapping[str, Any]) -> list[str]:
    """Say which values of a set's table are of a wrong type; "false" is not false."""
    problems = [
        f"{key} is {table[key]!r}, which is no text"
        for key in ("name", "images", "dataset", "ids", "order", "source")
        if key in table and not (isinstance(table[key], str) and table[key])
    ]
    if not isinstance(table.get("by_position", False), bool):
        problems.append(f"by_position is {table['by_position']!r}; write true or false, unquoted")
    references = table.get("references", {})
    if isinstance(references, list) and all(isinstance(one, str) for one in references):
        return problems  # names of a dataset's own
    if not isinstance(references, Mapping):
        return [
            *problems,
            f"references is {references!r}; write NAME = FILE below [set.references]",
        ]
    for name, one in references.items():
        if isinstance(one, Mapping):
            texts = {"file": None, **{k: v for k, v in one.items() if k != "axis"}}
            problems += [
                f"the reference {name!r} has no file"
                if value is None
                else f"{key} of the reference {name!r} is {value!r}, which is no text"
                for key, value in texts.items()
                if not (isinstance(value, str) and value)
            ]
            if type(one.get("axis", 0)) is not int:
                problems.append(f"axis of the reference {name!r} is {one['axis']!r}, no number")
        elif not (isinstance(one, str) and one):
            problems.append(f"the reference {name!r} is {one!r}, which is no file")
    return problems


def _from_table(table: Mapping[str, Any], folder: Path) -> ReferenceSet:
    references: Any = table.get("references", ())
    if isinstance(references, Mapping):
        references = {
            name: {**one, **{key: _at(one[key], folder) for key in ("file", "ids") if key in one}}
            if isinstance(one, Mapping)
            else str(_at(one, folder))
            for name, one in references.items()
        }
    options = {key: _at(table[key], folder) for key in ("images", "ids", "order") if key in table}
    return make_set(
        table["name"], options.pop("images", None), references, dataset=table.get("dataset"),
        by_position=bool(table.get("by_position", False)), **options,
    )  # fmt: skip


def _at(path: str, folder: Path) -> Path:
    return folder / Path(path).expanduser()


def _file(text: str) -> str:
    """Part a file from the variable behind it, unless that is its name."""
    return text if Path(text).exists() else text.partition("@")[0] or text


def _read(name: str, given: Any, ids: Sequence[str] | None) -> tuple[RDM, ...]:
    if isinstance(given, RDM):
        return (given,)
    if isinstance(given, str | Path):
        given = {"file": given}
    if isinstance(given, Mapping):
        text = str(given["file"])
        file = _file(text)
        options = {"ids": ids, "variable": text[len(file) + 1 :] or None, **given}
        del options["file"]
        return tuple(_named_later(name, Path(file), options))
    rdms = tuple(given)
    if not rdms or not all(isinstance(rdm, RDM) for rdm in rdms):
        raise InvalidArgument(f"The reference {name!r} is neither a file nor a list of RDMs.")
    return rdms


def _named_later(name: str, path: Path, options: dict[str, Any]) -> list[RDM]:
    """Read RDMs; ids for files that carry none do not stand in the way of those that do."""
    names = options.pop("ids")
    try:
        rdms = load_rdms(path, **options)
    except InvalidArgument as error:
        said = str(error)
        if "axis=" in said:
            raise InvalidArgument(
                f"{error} In a file of sets (--sets): NAME = {{ file = {path.name!r}, axis = 0 }}."
            ) from error
        if "negative values" in said and not options.get("dissimilarity"):
            raise InvalidArgument(
                f"{error} For a reference: --reference-dissimilarity {name!r}=crossnobis, or in a "
                f"file of sets (--sets) NAME = {{ file = {path.name!r}, dissimilarity = "
                "'crossnobis' }."
            ) from error
        raise
    if names is None or rdms[0].ids is not None:
        return rdms
    return load_rdms(path, names, **options)


def _of(
    stimuli: StimulusSet, name: str, rdms: tuple[RDM, ...], by_position: bool
) -> tuple[tuple[RDM, ...], str]:
    """Bring the RDMs of a reference to the ids and the order of the stimuli."""
    bare = [rdm for rdm in rdms if rdm.ids is None]
    if bare and len(bare[0]) != len(stimuli):
        raise MismatchError(
            f"The reference {name!r} is of {len(bare[0])} stimuli, but there are {len(stimuli)} "
            "images."
        )
    if bare and not by_position:
        raise MismatchError(
            f"The reference {name!r} does not name its stimuli. Give a text file with one id a "
            "line (--ids), or say --by-position if it is surely in the order of the images, "
            f"which is: {listing(stimuli.ids, 4)}."
        )
    if bare:
        named = tuple(replace(rdm, ids=stimuli.ids) if rdm.ids is None else rdm for rdm in rdms)
        return named, "position"
    here, there = set(stimuli.ids), set(rdms[0].ids or ())
    told = [
        f"{words} ({len(absent)}): {listing(absent, 5)}"
        for absent, words in (
            ([one for one in stimuli.ids if one not in there], "Images that the reference lacks"),
            ([one for one in rdms[0].ids or () if one not in here], "Ids of it without an image"),
        )
        if absent
    ]
    if told:
        raise MismatchError(
            f"The reference {name!r} is of other stimuli than the images. {'. '.join(told)}. Take "
            "the stimuli that both have, or give the ids as the images are called."
        )
    return tuple(rdm.select(stimuli.ids) for rdm in rdms), "id"
