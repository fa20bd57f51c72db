from __future__ import annotations

import re
from pathlib import Path

import pytest

from thingsvision import errors
from thingsvision.errors import ThingsvisionError, listing, nearest, unknown

CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and
           issubclass(item, ThingsvisionError)]  # fmt: skip


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn, path = {}, []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([│ ]*)(?:[├└]── )?(\w+Error|[A-Z]\w+)(?: {2,}|$)", line):
            depth = (line.index(match[2]) - 4) // 4
            path[depth:] = [match[2]]
            also = re.search(r"\(also an? (\w+)\)", line)
            drawn[match[2]] = (path[depth - 1] if depth else "Exception", also and also[1])
    real = {}
    for item in CLASSES:
        first, *others = [base.__name__ for base in item.__bases__]
        real[item.__name__] = (first, others[0] if others else None)
    assert drawn == real


@pytest.mark.parametrize("item", CLASSES)
def test_every_error_is_documented(item: type) -> None:
    assert item.__doc__ and item.__doc__.endswith(".")


def test_nearest_names_come_first() -> None:
    names = ["alexnet", "resnet18", "resnet50", "wide_resnet50_2", "vgg16"]
    assert nearest("ResNet50", names, 2) == ["resnet50", "wide_resnet50_2"]
    assert nearest("alxnet", names, 1) == ["alexnet"]
    assert nearest("x", []) == []


def test_listing_is_one_line_of_all_or_the_first() -> None:
    assert listing([]) == ""
    assert listing(list("abc"), 3) == "a, b, c"
    assert listing(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert listing(["two\nlines", "plain"]) == "'two\\nlines', plain"


def test_unknown_names_what_was_received_and_what_is_allowed() -> None:
    error = unknown("format", "nyp", ["hdf5", "npy"], "Ask for help.")
    assert str(error) == "There is no format 'nyp'. Nearest: npy, hdf5. Ask for help."
    assert isinstance(error, ValueError) and isinstance(error, KeyError)
    assert str(unknown("format", None, [])) == "There is no format None. There are none."


def test_unknown_counts_what_it_does_not_show() -> None:
    error = unknown("module", "fc.x", [f"fc.{n}" for n in range(9)], listed_by="list(features)")
    assert str(error) == (
        "There is no module 'fc.x'. Nearest: fc.0, fc.1, fc.2, fc.3, fc.4. There are 4 more; all "
        "are listed by: list(features)"
    )
    assert str(unknown("module", "x", ["fc"], listed_by="list(features)")) == (
        "There is no module 'x'. Nearest: fc."
    )


def test_no_module_defines_errors_of_its_own() -> None:
    package = Path(errors.__file__).parent
    for path in package.rglob("*.py"):
        public = re.findall(
            r"^class ([A-Z]\w*(?:Error|Exception))\b", path.read_text("utf-8"), re.M
        )
        assert not public or path.name == "errors.py", f"{path.name}: {public}"
