"""Why two sets of features disagree, thing by thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import counted, listing
from ..provenance import differences
from .explaining import Explanation, Sides, describe, explain, row_gaps
from .reading import Given, read_given
from .rows import Join, join_rows, match_rows
from .values import SAME

# What a record says that may make features differ.
RECORDED = ("model", "weights", "preprocessing", "precision", "exact", "batch_size", "seed",
            "device", "framework", "versions")  # fmt: skip
# Of the weights only these: where they came from does not matter.
OF_WEIGHTS = ("kind", "digest")


@dataclass(frozen=True)
class Finding:
    """One thing in which two sets of features agree or differ.

    Parameters
    ----------
    about : str
        What it is about: ids, order, module, layout, values, precision, preprocessing, …
    says : str
        In words.
    figure : float or None
        The number that shows it.
    module : str
        Which module it is about; empty if all.
    """

    about: str
    says: str
    figure: float | None = None
    module: str = ""


@dataclass(frozen=True)
class FeatureDiff:
    """In what two sets of features agree or differ.

    Parameters
    ----------
    findings : tuple of Finding
        From what concerns all modules to single ones.
    agree : bool
        Whether both hold the same stimuli and modules, with the same numbers but for last digits.
    """

    findings: tuple[Finding, ...]
    agree: bool

    def about(self, what: str) -> list[Finding]:
        """Take the findings about one thing."""
        return [finding for finding in self.findings if finding.about == what]

    def __str__(self) -> str:
        lines = [f"{f.module + ', ' if f.module else ''}{f.about}: {f.says}" for f in self.findings]
        return "\n".join(lines)


def diff_features(a: Any, b: Any) -> FeatureDiff:
    """Say why two sets of features disagree.

    Rows are compared by id where both have ids (by file name where one has no folders or no
    suffixes), else by position. What is recognised: rows in another order; axes laid out in
    another order; means, maxima and CLS tokens; ReLU; scaling, centring and z-scoring; rounding to
    float16 and bfloat16; single rows that differ; another module. What is not is measured, with
    what its size is like.

    Parameters
    ----------
    a, b : path, FeatureSet, Features or array
        Folders of this toolbox in any version, of Net2Brain, or of ``.npy`` files; a single
        ``.npy``, ``.npz``, ``.h5``, ``.mat``, ``.txt`` or ``.pt`` file; or an array in memory.

    Returns
    -------
    FeatureDiff

    Raises
    ------
    InvalidArgument
        If one of them is nothing that can be read.

    Examples
    --------
    >>> a = np.random.default_rng(0).standard_normal((6, 40))
    >>> diff_features(a, np.maximum(a, 0)).about("values")[0].says.partition(".")[0]
    'B is A after a ReLU: max(A, 0)'
    """
    side_a, side_b = read_given(a), read_given(b)
    findings = list(_recorded(side_a.provenance, side_b.provenance))
    join, about_rows = _joined(side_a, side_b)
    findings += about_rows
    if join is None:
        return FeatureDiff(tuple(findings), False)
    same_rows = len(join.a) == len(side_a) == len(side_b) and not join.is_reordered
    join, about_failed = _without_failed(join, side_a, side_b)
    findings += about_failed
    same_rows &= not about_failed
    if not len(join.a):
        return FeatureDiff(tuple(findings), False)
    pairs, about_modules = _paired(side_a, side_b, join)
    findings += about_modules
    agree = same_rows and not any(finding.about == "modules" for finding in about_modules)
    for name_a, name_b in pairs:
        found, is_same = _compared(side_a, side_b, name_a, name_b, join)
        findings += found
        agree &= is_same
    return FeatureDiff(tuple(findings), agree)


def _recorded(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare the records of both, if both have one."""
    if not a or not b:
        return
    for key in RECORDED:
        one, other = a.get(key), b.get(key)
        if key == "weights":
            one, other = ({k: (side or {}).get(k) for k in OF_WEIGHTS} for side in (one, other))
        for words in differences({key: one}, {key: other}):
            says = words.replace(" was ", ": ", 1).replace(", is now ", " in A, ", 1)
            yield Finding(key, f"{says} in B")


def _joined(a: Given, b: Given) -> tuple[Join | None, list[Finding]]:
    """Join the rows of both, and say how."""
    if a.ids is not None and b.ids is not None:
        join = join_rows(a.ids, b.ids)
        if join is not None:
            return join, list(_about_join(join, a, b))
        says = f"No ids in common. A has {listing(a.ids, 3)}; B has {listing(b.ids, 3)}"
    else:
        lacks = [name for name, side in (("A", a), ("B", b)) if side.ids is None]
        says = f"{' and '.join(lacks)} without ids, so rows are compared by position"
    if len(a) == len(b):
        by_position = says if "position" in says else f"{says}. Rows are compared by position"
        rows = np.arange(len(a))
        return Join(rows, rows, "position"), [Finding("ids", by_position)]
    return None, [
        Finding("ids", says),
        Finding("rows", f"A has {counted(len(a), 'row')}, B has {len(b)}, and nothing joins them"),
    ]


def _about_join(join: Join, a: Given, b: Given) -> Iterator[Finding]:
    if join.by != "id":
        yield Finding("ids", f"Joined by {join.by}: A has {a.ids[0]!r}, B {b.ids[0]!r}")  # type: ignore[index]
    for name, only in (("A", join.only_a), ("B", join.only_b)):
        if only:
            says = f"{counted(len(only), 'id')} in {name} alone: {listing(only, 5)}"
            yield Finding("ids", says, len(only))
    if join.is_reordered:
        moved = float(np.mean(join.a != join.b))
        says = f"The same ids come in another order in B ({moved:.0%} of the rows elsewhere)"
        yield Finding("order", says, moved)


def _without_failed(join: Join, a: Given, b: Given) -> tuple[Join, list[Finding]]:
    """Leave out rows that have no features on one side or on both, since their images failed."""
    findings, kept = [], np.ones(len(join.a), bool)
    for name, side, rows in (("A", a, join.a), ("B", b, join.b)):
        if side.ids is None or not side.failures:
            continue
        failed = np.array([side.ids[row] in side.failures for row in rows])
        if failed.any():
            ids = [side.ids[row] for row in rows[failed]]
            verb = "has" if len(ids) == 1 else "have"
            says = (
                f"{counted(len(ids), 'image')} could not be decoded and {verb} no features in "
                f"{name}: {listing(ids, 5)}. The other rows are compared"
            )
            findings.append(Finding("failed", says, len(ids)))
            kept &= ~failed
    if not findings:
        return join, []
    return replace(join, a=join.a[kept], b=join.b[kept]), findings


def _paired(a: Given, b: Given, join: Join) -> tuple[list[tuple[str, str]], list[Finding]]:
    """Choose which modules to compare: those of one name, or those that are most alike."""
    common = [name for name in a.arrays if name in b.arrays]
    if common:
        findings = [
            Finding("modules", f"In {side} alone: {listing(only, 8)}", len(only))
            for side, one, other in (("A", a, b), ("B", b, a))
            if (only := [name for name in one.arrays if name not in other.arrays])
        ]
        return [(name, name) for name in common], findings
    pairs, findings = [], []
    for name_b in b.arrays:
        found = {name: _explained(a, b, name, name_b, join) for name in a.arrays}
        held = [name for name, one in found.items() if one.holds]
        best = held[0] if held else min(found, key=lambda name: found[name].figure)
        pairs.append((best, name_b))
        if len(a.arrays) > 1:
            words = "is" if held else "is nearest to"
            findings.append(Finding("module", f"B's {name_b!r} {words} A's {best!r}", module=best))
    return pairs, findings


def _explained(a: Given, b: Given, name_a: str, name_b: str, join: Join) -> Explanation:
    sides = _sides(a, b, name_a, name_b, join)
    return explain(sides) or describe(sides)


def _sides(a: Given, b: Given, name_a: str, name_b: str, join: Join) -> Sides:
    recorded = {finding.about for finding in _recorded(a.provenance, b.provenance)}
    return Sides(a.arrays[name_a], b.arrays[name_b], join, a.axes.get(name_a, ()),
                 b.axes.get(name_b, ()), recorded)  # fmt: skip


def _compared(
    a: Given, b: Given, name_a: str, name_b: str, join: Join
) -> tuple[list[Finding], bool]:
    """Compare two modules; say whether their numbers are the same."""
    sides = _sides(a, b, name_a, name_b, join)
    findings = []
    shapes = sides.a.shape[1:], sides.b.shape[1:]
    if shapes[0] != shapes[1]:
        says = " in A, ".join("×".join(map(str, shape)) or "one number" for shape in shapes)
        findings.append(Finding("shape", f"{says} in B", module=name_a))
    if sides.a.dtype != sides.b.dtype:
        says = f"{sides.a.dtype} in A, {sides.b.dtype} in B"
        findings.append(Finding("type", says, module=name_a))
    if len(set(sides.widths)) == 1:
        gaps = row_gaps(sides)
        differing = np.flatnonzero(gaps > SAME)
        if not len(differing):
            largest = float(gaps.max())
            says = "The same to the last bit" if largest == 0 else (
                f"The same but for last digits: the largest difference is {largest:.2g} of the "
                "largest magnitude"
            )  # fmt: skip
            findings.append(Finding("values", says, largest, name_a))
            return findings, shapes[0] == shapes[1]
        if 2 * len(differing) < len(gaps):
            ids = _named(a, b, join, differing)
            says = (
                f"{len(differing)} of {len(gaps)} rows differ, the others are the same: "
                f"{listing(ids, 5)}"
            )
            findings.append(Finding("rows", says, len(differing), name_a))
            part = Join(join.a[differing], join.b[differing], join.by)
            size = describe(_sides(a, b, name_a, name_b, part))
            return [*findings, Finding(size.about, size.says, size.figure, name_a)], False
    found = explain(sides)
    if found is None:
        elsewhere = _elsewhere(a, b, name_a, name_b, join) or _shuffled(a, b, name_a, name_b, join)
        if elsewhere:
            return [*findings, *elsewhere], False
    found = found or describe(sides)
    return [*findings, Finding(found.about, found.says, found.figure, name_a)], False


def _named(a: Given, b: Given, join: Join, rows: Any) -> list[str]:
    if a.ids is not None:
        return [a.ids[row] for row in join.a[rows]]
    return [b.ids[row] if b.ids else f"row {row}" for row in join.b[rows]]


def _elsewhere(a: Given, b: Given, name_a: str, name_b: str, join: Join) -> list[Finding]:
    """Look for B's numbers under another name in A."""
    for other in a.arrays:
        if other != name_a and (found := explain(_sides(a, b, other, name_b, join))):
            says = f"B's {name_b!r} holds what A has as {other!r}. {found.says}"
            return [Finding("module", says, found.figure, name_a)]
    return []


def _shuffled(a: Given, b: Given, name_a: str, name_b: str, join: Join) -> list[Finding]:
    """Look for B's rows elsewhere among A's."""
    if not len(join.a) == len(a) == len(b) or len(a) < 3:
        return []
    partner = match_rows(a.arrays[name_a], b.arrays[name_b])
    if partner is None:
        return []
    again = Join(partner, np.arange(len(b)), "numbers")
    found = explain(_sides(a, b, name_a, name_b, again))
    known = np.empty(len(b), np.int64)
    known[join.b] = join.a
    moved = partner != known
    if found is None or not moved.any():
        return []
    first = int(np.flatnonzero(moved)[0])
    whose = f" ({a.ids[partner[first]]})" if a.ids else ""
    says = (
        f"B's rows are A's in another order: e.g. row {first} of B is row {partner[first]} of A"
        f"{whose}; {moved.mean():.0%} of the rows are elsewhere"
    )
    if a.ids and [a.ids[row] for row in partner] == sorted(a.ids):
        says += ". B's order is that of the names sorted as texts"
    if join.by != "position":
        says += ". The ids of one of them name the wrong rows"
    return [
        Finding("order", says, float(moved.mean()), name_a),
        Finding(found.about, f"In that order: {found.says}", found.figure, name_a),
    ]
