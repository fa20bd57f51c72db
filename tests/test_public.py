from __future__ import annotations

import ast
import json
import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import thingsvision

PACKAGE = Path(thingsvision.__file__).parent
HEAVY = ("torch", "tensorflow", "keras", "matplotlib", "pandas", "scipy", "numpy", "PIL", "click")


def python(code: str) -> str:
    """Run code in a fresh interpreter, without the import hook of the tests."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_is_the_lazy_map() -> None:
    assert sorted(thingsvision.__all__) == sorted(thingsvision._HOMES)
    assert set(thingsvision.__all__) <= set(dir(thingsvision))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == thingsvision._HOMES


@pytest.mark.parametrize("name", sorted(thingsvision.__all__))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    item = getattr(thingsvision, name)
    assert item.__doc__ and "\n    ----" in item.__doc__, "a public docstring has sections"


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        thingsvision.no_such_name  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = json.loads(python("import thingsvision, sys, json; print(json.dumps([*sys.modules]))"))
    assert not set(HEAVY) & set(loaded)


def test_extraction_and_toy_network_import_no_framework() -> None:
    code = """
import sys, numpy as np
import thingsvision as tv
from thingsvision.testing import toy_network
features = tv.extract_features(toy_network(), np.zeros((2, 8, 6, 3), np.uint8), "fc")
assert features["fc"].shape == (2, 5)
print(*(name for name in sys.modules if name in ("torch", "tensorflow", "keras", "matplotlib")))
"""
    assert python(code).split() == []


DOCTESTS = """
import doctest, importlib, json, sys
failures = {}
for name in json.loads(sys.argv[1]):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    if found.failed:
        failures[name] = found.failed
print()
print(json.dumps(failures))
"""


def test_examples_in_docstrings() -> None:
    names = []
    for info in pkgutil.walk_packages([str(PACKAGE)], "thingsvision."):
        path = PACKAGE.joinpath(*info.name.split(".")[1:])
        source = (path / "__init__.py" if info.ispkg else path.with_suffix(".py")).read_text(
            "utf-8"
        )
        tree = ast.parse(source)
        wanted = {
            name.partition(".")[0]
            # Those for type checkers too, which are of packages that a function imports.
            for node in [*tree.body, *(n for part in tree.body if isinstance(part, ast.If)
                                       for n in part.body)]
            if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0)
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else
                         [alias.name for alias in node.names])
        }  # fmt: skip
        if all(find_spec(package) for package in wanted if package != "__future__" and
               package not in sys.stdlib_module_names | {"tomli"}):  # fmt: skip
            names.append(info.name)
    assert len(names) > 20
    code = f"import sys; sys.argv[1:] = [{json.dumps(names)!r}]\n{DOCTESTS}"
    output = python(code)
    assert json.loads(output.splitlines()[-1]) == {}, output
