"""Names that stand for lazily loaded objects: sources, stores, dissimilarities, comparisons."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import ThingsvisionError, ThingsvisionWarning, unknown
from .optional import expect, how_to_install, is_installed


class Registry(Mapping[str, Any]):
    """Map names to objects that are imported when first asked for.

    Parameters
    ----------
    kind : str
        What the names stand for, in the singular; used in errors.
    builtins : dict of str to str
        Name → ``"package.module:attribute"``.
    group : str, optional
        Entry-point group through which other packages add names.
    needs : dict of str to str, optional
        Name → import name of the optional package that its object cannot do without.

    Examples
    --------
    >>> numbers = Registry("number", {"pi": "math:pi"})
    >>> round(numbers["pi"], 2)
    3.14
    """

    def __init__(
        self,
        kind: str,
        builtins: dict[str, str],
        group: str | None = None,
        needs: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.needs = needs or {}
        self._builtins = builtins
        self._loaded: dict[str, Any] = {}

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group) if self.group else ():
            if entry.name in self._builtins or found.get(entry.name, entry) != entry:
                warnings.warn(
                    f"The {self.kind} {entry.name!r} ({entry.value}) of another package is left "
                    "out: that name is taken.",
                    ThingsvisionWarning,
                    stacklevel=2,
                )
            else:
                found[entry.name] = entry
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self._builtins
        yield from (name for name in self._plugins if name not in self._builtins)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._builtins or name in self._plugins

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise unknown(self.kind, name, self)
        if name not in self._loaded:
            try:
                self._loaded[name] = self._load(name)
            except Exception as error:  # another package's code may raise anything
                if isinstance(error, ThingsvisionError) or not self.is_optional(name):
                    raise
                raise self.broken(name, error) from error
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        if name in self._plugins:
            return self._plugins[name].load()
        if name in self.needs:
            expect(self.needs[name])  # imported by who knows how, e.g. quietly
        module, _, attribute = self._builtins[name].partition(":")
        return getattr(import_module(module), attribute)

    def is_optional(self, name: str) -> bool:
        """Tell what other packages bring or need, so that it may fail without harm to the rest."""
        return name in self._plugins or name in self.needs

    def broken(self, name: str, error: Exception) -> ThingsvisionError:
        """Make the error for something optional that cannot be loaded or used."""
        if name in self._plugins:
            what = f"({self._plugins[name].value}) of another package"
            step = "Update or uninstall that package."
        else:
            what = f"of the package {self.needs[name]!r}"
            step = f"Install that package anew: {how_to_install(self.needs[name])}."
        return ThingsvisionError(
            f"The {self.kind} {name!r} {what} is broken: {type(error).__name__}: {error}. {step}"
        )

    def working(self) -> Iterator[tuple[str, Any]]:
        """Yield names and objects that are there.

        What is optional and broken becomes a warning that names it; what lacks its optional
        package is passed over, see `missing`.
        """
        absent = self.missing()
        for name in self:
            if name in absent:
                continue
            try:
                thing = self[name]
            except ThingsvisionError as error:
                if not self.is_optional(name):
                    raise
                warnings.warn(str(error), ThingsvisionWarning, stacklevel=2)
                continue
            yield name, thing

    def missing(self) -> dict[str, str]:
        """List the names whose optional package is not installed, each with that package."""
        return {name: package for name, package in self.needs.items() if not is_installed(package)}


def matching(pattern: str, names: list[str], any_case: bool = False) -> list[str]:
    """Keep the names that a pattern of ``*`` and ``?`` matches, in their order.

    Only ``*`` and ``?`` are wildcards; brackets stand for themselves. With `any_case`, capital
    and small letters are not told apart.

    Examples
    --------
    >>> matching("features.*", ["features", "features.0", "classifier"])
    ['features.0']
    """
    literal = pattern.replace("[", "[[]")
    if any_case:
        literal = literal.lower()
    return [n for n in names if fnmatch.fnmatchcase(n.lower() if any_case else n, literal)]
