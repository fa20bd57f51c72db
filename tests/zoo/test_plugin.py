"""The example plugin of the docs: installed on the spot, it is a source like the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import thingsvision as tv
from thingsvision.registry import Registry
from thingsvision.testing import check_source
from thingsvision.zoo import SOURCES, catalogue

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = Path(__file__).parents[2] / "docs" / "how-to" / "plugin-example"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Do what pip does: put the modules into a folder, and what it says of itself beside them."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    site = tmp_path / "site"
    about = site / "thingsvision_gabors-1.0.dist-info"
    about.mkdir(parents=True)
    name, version = project["project"]["name"], project["project"]["version"]
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{label} = {place}\n" for label, place in entries.items())
            for group, entries in project["project"]["entry-points"].items()
        )
    )
    for module in project["tool"]["setuptools"]["py-modules"]:
        code = (EXAMPLE / f"{module}.py").read_text(encoding="utf-8")
        (site / f"{module}.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(site)
    fresh = Registry(SOURCES.kind, SOURCES._builtins, SOURCES.group, SOURCES.needs)
    monkeypatch.setattr(catalogue, "SOURCES", fresh)
    return site


def test_it_keeps_the_promises_of_a_source(installed: Path) -> None:
    source = catalogue.SOURCES["gabors"]
    for name in source.names():
        check_source(source, name)


def test_its_networks_are_listed_and_used_like_others(installed: Path) -> None:
    assert tv.list_models("gabors*") == ["gabors/gabors_16", "gabors/gabors_64"]
    network = tv.load_model("gabors_16")
    assert network.weights == {"kind": "pretrained", "weights": "regular"}
    # A grating of the wavelength and the angle of a filter drives that filter most.
    x = np.arange(64)
    wave = np.cos(2 * np.pi * x / 6)
    vertical = np.broadcast_to(wave[None, :, None], (64, 64, 3))
    horizontal = np.broadcast_to(wave[:, None, None], (64, 64, 3))
    images = np.stack([vertical, horizontal]) * 127 + 128
    cells = tv.extract_features(network, images.astype(np.uint8), "complex")["complex"]
    assert np.asarray(cells).mean((2, 3)).argmax(1).tolist() == [0, 8]


def test_the_command_line_finds_it_in_a_process_of_its_own(installed: Path) -> None:
    source = Path(tv.__file__).parents[1]
    path = os.pathsep.join([str(installed), str(source)])
    done = subprocess.run(
        [sys.executable, "-m", "thingsvision", "models", "gabors/*"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["gabors/gabors_16", "filtering", "regular"],
        ["gabors/gabors_64", "filtering", "regular"],
    ]


def test_its_own_test_runs(installed: Path) -> None:
    scope: dict[str, object] = {}
    exec((EXAMPLE / "test_gabors.py").read_text(), scope)
    test = scope["test_the_source_keeps_its_promises"]
    assert callable(test)
    test()
