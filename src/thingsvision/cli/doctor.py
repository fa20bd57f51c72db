"""``thingsvision doctor``: whether everything is here that is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import counted
from .output import say, show_table, size_text
from .verb import Verb, table_options

OK, BROKEN, ABSENT = "ok", "broken", "absent"
# Distribution → import name, where the two differ by more than a hyphen.
IMPORTS = {
    "pillow": "PIL",
    "open-clip-torch": "open_clip",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
FEW = 3
LITTLE_SPACE = 1 << 30  # bytes

Finding = dict[str, Any]


@click.command(cls=Verb, examples=("thingsvision doctor", "thingsvision doctor --json"))
@table_options
@click.pass_context
def doctor(ctx: click.Context, style: str | None) -> None:
    """Check this installation.

    Packages, device, memory, disk and model sources.

    Ends with 1 if something that is needed is broken; what is merely absent is optional.
    """
    findings = [finding for check in CHECKS for finding in check()]
    columns = ("what", "state", "found")
    show_table(findings, style, columns=columns, cut=("found",))
    steps = [finding["next"] for finding in findings if finding["next"]]
    for step in dict.fromkeys(steps):
        say(f"Next step: {step}")
    if any(finding["state"] == BROKEN for finding in findings):
        ctx.exit(1)
    if not steps:
        say("All is well. Next step: thingsvision demo")


def _finding(what: str, found: object, state: str = OK, step: str = "") -> Finding:
    return {"what": what, "state": state, "found": str(found), "next": step}


def _machine() -> Iterator[Finding]:
    import os
    import platform
    import shutil

    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    yield _finding("Python", platform.python_version())
    yield _finding("platform", platform.platform(terse=True))
    yield _finding("cores", cores)
    yield _finding("memory", _memory())
    free = shutil.disk_usage(".").free
    step = "make room on this disk, or give -o a folder on another." if free < LITTLE_SPACE else ""
    yield _finding("free disk here", size_text(free), OK, step)


def _memory() -> str:
    import os

    try:
        page = os.sysconf("SC_PAGE_SIZE")
        whole, free = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return "unknown"
    return f"{size_text(page * whole)}, of which {size_text(page * free)} are free"


def _packages() -> Iterator[Finding]:
    """Import every package that is needed, and look for those of the extras, without importing."""
    import sys
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    yield _finding("thingsvision", f"{_own_version()}, {_home()}")
    needed, extras = _requirements()
    for name in needed:
        try:
            import_module(IMPORTS.get(name, name))
            found = version(name)
        except PackageNotFoundError:
            found = "version unknown"
        except Exception as error:  # a broken installation fails in ways of its own
            reason = (str(error).splitlines() or [""])[0]
            step = f'{sys.executable} -m pip install --upgrade "{name}"'
            yield _finding(name, f"{type(error).__name__}: {reason}", BROKEN, step)
            continue
        yield _finding(name, found)
    for extra, names in extras.items():
        versions = {name: _version(name) for name in names}
        missing = [name for name in names if versions[name] is None]
        install = f'pip install ".[{extra}]"'
        state, found = OK, "complete"
        if missing:
            state, found = ABSENT, f"lacks {', '.join(missing)}: {install}"
        elif len(names) <= FEW:
            found = ", ".join(f"{name} {number}" for name, number in versions.items())
        step = f"{install} in the checkout, for thingsvision demo." if missing else ""
        yield _finding(f"extra {extra}", found, state, step if extra == "demo" else "")


def _own_version() -> str:
    from .. import __version__

    return __version__


def _home() -> str:
    from pathlib import Path

    return f"in {Path(__file__).parent.parent}"


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Ask the installed metadata which packages are needed, and which each extra adds."""
    import re
    from importlib.metadata import PackageNotFoundError, requires

    from ..optional import EXTRAS

    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    try:
        lines = requires("thingsvision") or []
    except PackageNotFoundError:  # run from a folder of sources
        lines = ["torch", "torchvision", "timm", "numpy", "scipy", "pillow", "pandas", "matplotlib"]
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name is None or name[0] == "thingsvision" or "python_version" in line:
            continue
        if extra is None:
            needed.append(name[0].lower())
        else:
            extras.setdefault(extra[1], []).append(name[0])
    for package, (extra_name, _) in EXTRAS.items():
        if extra_name:  # some packages are of no extra
            extras.setdefault(extra_name, [package])
    return needed, extras


def _version(name: str) -> str | None:
    """Give the version of a distribution, or of another one that brings the same package."""
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    from ..optional import is_installed

    try:
        return version(name)
    except PackageNotFoundError:  # e.g. tensorflow-cpu brings tensorflow
        package = IMPORTS.get(name, name.replace("-", "_"))
    if not is_installed(package):
        return None
    others = packages_distributions().get(package)
    return version(others[0]) if others else "of unknown version"


def _devices() -> Iterator[Finding]:
    try:
        from ..backends.torch import available_devices
        from ..zoo.weights import cache_folder

        devices = [f"{name} ({what})" for name, what in available_devices().items()]
        yield _finding("devices", ", ".join(devices))
        yield from _cache(cache_folder())
    except Exception as error:
        yield _finding("devices", f"{type(error).__name__}: {error}", BROKEN)


def _cache(folder: Path) -> Iterator[Finding]:
    files = [file for file in folder.glob("*") if file.is_file()]
    total = sum(file.stat().st_size for file in files)
    held = f"{counted(len(files), 'file')}, {size_text(total)}" if files else "empty"
    yield _finding("cache of weights", f"{folder} ({held})")


def _sources() -> Iterator[Finding]:
    from ..optional import how_to_install
    from ..zoo import SOURCES

    missing = SOURCES.missing()
    for name in SOURCES:
        if package := missing.get(name):
            found = f"lacks {package}: {how_to_install(package)}"
            yield _finding(f"source {name}", found, ABSENT)
            continue
        if package := SOURCES.needs.get(name):  # a framework is not imported to be counted
            yield _finding(f"source {name}", f"asks {package} {_version(package)}")
            continue
        try:
            yield _finding(f"source {name}", counted(len(SOURCES[name].names()), "model"))
        except Exception as error:  # of a plugin, anything can be raised
            yield _finding(f"source {name}", f"{type(error).__name__}: {error}", BROKEN)


def _programs() -> Iterator[Finding]:
    import shutil

    found = next(filter(None, map(shutil.which, ("gs", "gswin64c", "gswin32c"))), None)
    yield _finding("Ghostscript", found or "needed for EPS images only", OK if found else ABSENT)


CHECKS = (_machine, _packages, _devices, _sources, _programs)
