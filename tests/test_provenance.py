from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

import thingsvision
from thingsvision.provenance import (
    differences,
    digest,
    digest_file,
    digest_items,
    plain,
    versions,
)  # fmt: skip


def test_digests(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one block
    (tmp_path / "file").write_bytes(data)
    assert digest_file(tmp_path / "file") == digest(data) == hashlib.sha256(data).hexdigest()
    assert digest_items(["a", "b"]) != digest_items(["ab"]) != digest_items(["a,b"])
    assert digest_items(["é", (1, 2)]) == digest_items(["é", [1, 2]])


def test_versions_name_what_computes() -> None:
    found = versions()
    assert found["thingsvision"] == thingsvision.__version__
    assert found["numpy"] == np.__version__ and "python" in found


def test_differences() -> None:
    old = {"a": 1, "b": {"x": None, "y": [1]}, "gone": 0}
    assert differences(old, old) == []
    new = {"a": 2, "b": {"z": None, "y": [1]}, "new": "n"}
    assert differences(old, new) == [
        "a was 1, is now 2",
        "b.x was null, is now absent",
        "b.z was absent, is now null",
        "gone was 0, is now absent",
        'new was absent, is now "n"',
    ]
    assert len(differences({"a": "x" * 999}, {"a": "y" * 999})[0]) < 200


def test_plain_values_are_those_of_a_json_file() -> None:
    record = {"a": (1, 2), "b": np.float32(0.5), "c": Path("x"), "d": None, "e": np.int64(3)}
    values = plain(record)
    assert values == {"a": [1, 2], "b": 0.5, "c": "x", "d": None, "e": 3}
    assert json.loads(json.dumps(values)) == values == plain(values)
