"""What a network's modules give back, and which of it an address asks for.

A survey lists modules, their calls and outputs; addresses are resolved against it into captures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModuleError, listing, nearest
from ..reduction import TokenLayout
from ..registry import matching

Path = tuple[Any, ...]

# A module address: a name, then which call of it, then which element of its output.
_ADDRESS = re.compile(r"(?P<name>.*?)(?::(?P<call>\d+|\*))?(?P<path>(?:\[[^\[\]]+\])*)$")
PENULTIMATE = "penultimate"
OUTPUT = "output"


@dataclass(frozen=True)
class Output:
    """One array that one call of a module gives back.

    Parameters
    ----------
    call : int
        The first call in a forward pass is 0.
    path : tuple of int or str
        Where the array lies in the module's output; empty if the output is the array.
    shape : tuple of int
        Shape for one stimulus, without the batch axis.
    axes : tuple of str
        Names of these axes, e.g. ``("channel", "height", "width")``.
    batch_axis : int or None
        Axis of the raw output along which stimuli lie; None if there is no such axis.
    order : int
        Position among all calls of a forward pass, in the order in which they return.
    """

    call: int
    path: Path
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    batch_axis: int | None
    order: int


@dataclass(frozen=True)
class Module:
    """One module of a network.

    Parameters
    ----------
    name : str
        The framework's own dotted path or layer name.
    type : str
        Name of its class.
    calls : int
        How often it is called in one forward pass; 0 means never, by a call of its own.
    outputs : tuple of Output
        The arrays of all calls.
    """

    name: str
    type: str
    calls: int
    outputs: tuple[Output, ...] = ()

    @property
    def last(self) -> tuple[Output, ...]:
        """The arrays of the last call."""
        return tuple(output for output in self.outputs if output.call == self.calls - 1)

    def address(self, output: Output) -> str:
        """Spell the address of one array; the last call needs no number."""
        call = "" if output.call == self.calls - 1 else f":{output.call}"
        return self.name + call + _spelled(output.path)


@dataclass(frozen=True)
class Capture:
    """What is to be taken from a forward pass, and under which address it is returned.

    Parameters
    ----------
    address : str
        Key of the result.
    module : str
        Name of the module; empty for the network itself.
    call, path, shape, batch_axis, order
        As in `Output`.
    axes : tuple of str
        Names of the axes of the result, the first of them ``"stimulus"``.
    calls : int
        How often the module is called in one pass.
    is_input : bool
        Take the module's first input in place of its output.
    """

    address: str
    module: str
    call: int
    path: Path
    shape: tuple[int, ...]
    batch_axis: int
    order: int
    axes: tuple[str, ...]
    calls: int
    is_input: bool = False


@dataclass(frozen=True)
class Survey:
    """What one forward pass of a network calls, in the order in which the network defines it.

    Parameters
    ----------
    modules : tuple of Module
        All modules below the network itself.
    root : Module
        The network itself, whose name is empty.
    classifier : str or None
        The module whose output is the network's output and whose input is ``penultimate``.
    classifier_input : Output or None
        That input.
    aliases : dict of str to str
        Further names of modules that occur in several places.
    method : str
        How it was found out: on the meta device, or by a small forward pass.
    tokens : TokenLayout or None
        How the tokens of a vision transformer follow each other, for this size of image.
    """

    modules: tuple[Module, ...]
    root: Module
    classifier: str | None = None
    classifier_input: Output | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    method: str = ""
    tokens: TokenLayout | None = None

    def __len__(self) -> int:
        return len(self.modules)

    def resolve(self, addresses: Sequence[str]) -> list[Capture]:
        """Turn module addresses into captures.

        Parameters
        ----------
        addresses : sequence of str
            Module names, optionally with a call ``:k`` or ``:*`` and elements ``[i]``;
            ``*`` and ``?`` are wildcards; ``penultimate`` is the input of the final
            classifier, ``output`` the output of the network.

        Returns
        -------
        list of Capture
            Without doubles; a pattern's captures are in the order of the network's modules.

        Raises
        ------
        ModuleError
            If addresses answer to nothing that can be captured; all are named, each with
            the reason.
        """
        by_name = {module.name: module for module in self.modules}
        captures: dict[str, Capture] = {}
        problems = []
        for address in addresses:
            try:
                for capture in self._resolve(address, by_name):
                    captures.setdefault(capture.address, capture)
            except ModuleError as error:
                problems.append(str(error))
        if not addresses:
            problems.append(f"No module was named. Some of them: {listing(list(by_name), 8)}.")
        if problems:
            raise ModuleError("\n".join(problems))
        return list(captures.values())

    def left_out(self, patterns: Sequence[str]) -> list[str]:
        """List modules that wildcards match but that give nothing to capture."""
        wild = [_split(pattern)[0] for pattern in patterns if self._is_wild(pattern)]
        matched = {label: module for name in wild for label, module in self._matched(name).items()}
        return [label for label, module in matched.items() if not _capturable(module.last)]

    def _matched(self, pattern: str) -> dict[str, Module]:
        """Match names; a module that occurs in several places is taken once."""
        found = {m.name: m for m in self.modules if matching(pattern, [m.name])}
        by_name = {module.name: module for module in self.modules}
        taken = set(found)
        for alias, name in self.aliases.items():
            if name in by_name and name not in taken and matching(pattern, [alias]):
                found[alias] = by_name[name]
                taken.add(name)
        return found

    def _is_wild(self, address: str) -> bool:
        names = (module.name for module in self.modules)
        return _is_wild(address) and address not in names

    def _resolve(self, address: str, by_name: dict[str, Module]) -> list[Capture]:
        if address == PENULTIMATE and address not in {**by_name, **self.aliases}:
            return [self._penultimate()]
        if self._is_wild(address):
            return self._matching(address)
        # A name may hold a colon or a bracket of its own, so the whole is tried first.
        name, call, path = (address, None, ()) if address in by_name else _split(address)
        # An alias stands for one array; elements are those of the module itself, if there is one.
        known = name if path and name in by_name else self.aliases.get(name, name)
        module = by_name.get(known, self.root if known == OUTPUT else None)
        if module is None:
            raise ModuleError(self._unknown(address, name, by_name))
        if not module.calls:
            raise ModuleError(self._never_called(module, by_name))
        if call == "*":
            return [
                capture
                for number in range(module.calls)
                for capture in self._captures(
                    f"{name}:{number}{_spelled(path)}", module, number, path
                )
            ]
        number = module.calls - 1 if call is None else int(call)
        if number >= module.calls:
            raise ModuleError(
                f"Module {name!r} is called {module.calls} time(s) in one pass, so its calls are "
                f"{name}:0 … {name}:{module.calls - 1}; {address!r} was asked for."
            )
        return self._captures(address, module, number, path)

    def _matching(self, pattern: str) -> list[Capture]:
        name, call, path = _split(pattern)
        labels = self._matched(name)
        if not labels:
            names = [module.name for module in self.modules]
            raise ModuleError(
                f"No module matches {pattern!r}. Nearest: "
                f"{listing(nearest(name.strip('*?.'), names))}."
            )
        found = []
        for label, module in labels.items():
            outputs = module.last if call is None else module.outputs
            wanted = [
                output
                for output in outputs
                if call in (None, "*", str(output.call))
                and (path == () or _spelled(path) == _spelled(output.path))
            ]
            for output in _capturable(wanted):
                number = "" if call is None else f":{output.call}"
                found.append(_capture(label + number + _spelled(output.path), module, output))
        if not found:
            raise ModuleError(
                f"{pattern!r} matches modules, but none of them returns an array with one row "
                "per stimulus."
            )
        return found

    def _captures(self, address: str, module: Module, call: int, path: Path) -> list[Capture]:
        outputs = [output for output in module.outputs if output.call == call]
        name = module.name or OUTPUT
        if not outputs:
            raise ModuleError(f"Module {name!r} ({module.type}) returns no array.")
        if path == ():
            whole = [output for output in outputs if output.path == ()]
            if not whole:
                spelled = [address + _spelled(o.path) for o in outputs]
                raise ModuleError(
                    f"Module {name!r} ({module.type}) returns several arrays; choose one: "
                    f"{listing(spelled)}."
                )
            chosen = whole[0]
        else:
            found = [output for output in outputs if _spelled(output.path) == _spelled(path)]
            if not found:
                paths = [_spelled(o.path) or "no index" for o in outputs]
                raise ModuleError(
                    f"Module {name!r} has no element {address!r}; it has: {listing(paths)}."
                )
            chosen = found[0]
        if chosen.batch_axis is None:
            raise ModuleError(
                f"Module {name!r} ({module.type}) does not return one row per stimulus: its "
                f"output for two images has the shape {chosen.shape}, whose first axis does not "
                f"follow the number of images. {self._parents(module.name)}"
            )
        return [_capture(address, module, chosen)]

    def _penultimate(self) -> Capture:
        given = self.classifier_input
        if self.classifier is None or given is None or given.batch_axis is None:
            raise ModuleError(
                "This network has no 'penultimate' module: its output does not come straight "
                f"from a linear classifier. Last modules: "
                f"{listing([m.name for m in self.modules if m.calls][-5:])}."
            )
        calls = next(m.calls for m in self.modules if m.name == self.classifier)
        axes = ("stimulus", *given.axes)
        return Capture(
            PENULTIMATE, self.classifier, given.call, given.path, given.shape, given.batch_axis,
            given.order, axes, calls, is_input=True,
        )  # fmt: skip

    def _unknown(self, address: str, name: str, by_name: dict[str, Module]) -> str:
        shown = []
        for near in nearest(name, by_name):
            shapes = " ".join("×".join(map(str, o.shape)) for o in by_name[near].last)
            shown.append(f"{near} ({shapes})" if shapes else near)
        return f"There is no module {address!r}. Nearest: {listing(shown)}."

    def _never_called(self, module: Module, by_name: dict[str, Module]) -> str:
        return (
            f"Module {module.name!r} ({module.type}) is never called in a forward pass, so it "
            f"returns nothing of its own. {self._parents(module.name)}"
        )

    def _parents(self, name: str) -> str:
        by_name = {module.name: module for module in self.modules}
        parts = name.split(".")
        for length in range(len(parts) - 1, 0, -1):
            parent = by_name.get(".".join(parts[:length]))
            if parent is not None and _capturable(parent.last):
                addresses = [parent.address(o) for o in _capturable(parent.last)]
                return f"The nearest module around it that does: {listing(addresses)}."
        return "Ask for another module."


def _is_wild(address: str) -> bool:
    name, _, _ = _split(address)
    return "*" in name or "?" in name


def _split(address: str) -> tuple[str, str | None, Path]:
    match = _ADDRESS.match(address)
    assert match is not None  # every part of the pattern may be empty
    keys = re.findall(r"\[([^\[\]]+)\]", match["path"])
    path = tuple(int(key) if key.isdigit() else key for key in keys)
    return match["name"], match["call"], path


def _spelled(path: Path) -> str:
    return "".join(f"[{key}]" for key in path)


def _capturable(outputs: Sequence[Output]) -> list[Output]:
    return [output for output in outputs if output.batch_axis is not None]


def _capture(address: str, module: Module, output: Output) -> Capture:
    assert output.batch_axis is not None
    return Capture(
        address, module.name, output.call, output.path, output.shape, output.batch_axis,
        output.order, ("stimulus", *output.axes), module.calls,
    )  # fmt: skip
