"""The doctor: what is here, what is missing, what is broken."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType

import pytest

from thingsvision.registry import Registry

from .conftest import Run


def test_all_is_well_here(run: Run) -> None:
    result = run("doctor")
    assert result.code == 0, result.out + result.err
    assert max(map(len, result.out.splitlines())) <= 80
    findings = {row["what"]: row for row in json.loads(run("doctor", "--json").out)}
    for what in ("Python", "cores", "memory", "torch", "devices", "cache of weights",
                 "source torchvision", "Ghostscript"):  # fmt: skip
        assert what in findings
    assert all(row["state"] in ("ok", "absent") for row in findings.values())


def test_extras_are_listed_with_versions_or_the_command_that_installs_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"pillow": "thought of", "no_such_framework": "dreamt of"}
    monkeypatch.setattr(
        "thingsvision.optional.EXTRAS", {name: (name, use) for name, use in there.items()}
    )
    sources = {"made": "no.such:SOURCE", "absent": "no.such:SOURCE"}
    needs = {"made": "PIL", "absent": "no_such_framework"}
    monkeypatch.setattr("thingsvision.zoo.SOURCES", Registry("source", sources, needs=needs))
    findings = {row["what"]: row for row in json.loads(run("doctor", "--json").out)}
    number = version("pillow")
    assert findings["extra pillow"]["found"] == f"pillow {number}"
    assert findings["source made"]["found"] == f"asks PIL {number}"  # and is not imported
    lacks = 'lacks no_such_framework: pip install ".[no_such_framework]"'
    for what in ("extra no_such_framework", "source absent"):
        assert (findings[what]["state"], findings[what]["found"]) == ("absent", lacks)


def test_frameworks_are_looked_for_but_not_imported() -> None:
    code = (
        "import sys\n"
        "from thingsvision.cli import main\n"
        "try: main(['doctor', '--json'])\n"
        "except SystemExit: print([n for n in ('keras', 'tensorflow', 'open_clip', 'transformers')"
        " if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *rows, imported = done.stdout.splitlines()
    assert imported == "[]", done.stderr
    assert {"extra keras", "extra openclip", "extra hf"} <= {
        row["what"] for row in json.loads("\n".join(rows))
    }


def test_a_broken_package_is_named_with_the_command_that_mends_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = importlib.import_module

    def broken(name: str, package: str | None = None) -> ModuleType:
        if name == "scipy":
            raise ImportError("libopenblas.so: cannot open shared object file")
        return load(name, package)

    monkeypatch.setattr(importlib, "import_module", broken)
    result = run("doctor", "--json")
    assert result.code == 1
    finding = next(row for row in json.loads(result.out) if row["what"] == "scipy")
    assert finding["state"] == "broken"
    assert "libopenblas" in finding["found"]
    assert "pip install --upgrade" in result.err
