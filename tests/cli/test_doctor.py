"""The doctor: what is here, what is missing, what is broken."""

from __future__ import annotations

import importlib
import json
from types import ModuleType

import pytest

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
