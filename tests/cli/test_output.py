"""Tables, records and sentences, for eyes and for programs."""

from __future__ import annotations

import csv
import io
import json

import pytest

from thingsvision.cli.output import show_record, show_table, size_text, wrapped

ROWS = [
    {"module": "backbone.layer4.2.downsample.0.extremely.deep", "type": "Conv2dNormActivation",
     "calls": 1, "shape": [2048, 7, 7], "axes": ["channel", "height", "width"], "note": ""},
    {"module": "fc", "type": "Linear", "calls": 12, "shape": [1000], "axes": ["feature"],
     "note": ""},
]  # fmt: skip
COLUMNS = ("module", "type", "calls", "shape", "axes")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_table_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(ROWS, None, columns=COLUMNS, cut=("type", "axes"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert "2048×7×7" in lines[1]
    assert ("…" in lines[1]) == (width < 200)
    assert lines[2].startswith("fc ")


def test_columns_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(ROWS, None, columns=("calls", "type"))
    assert capsys.readouterr().out.splitlines() == [
        "calls  type", "    1  Conv2dNormActivation", "   12  Linear",
    ]  # fmt: skip


def test_json_and_csv_hold_everything(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(ROWS, "json", columns=("module",))
    assert json.loads(capsys.readouterr().out) == ROWS
    show_table(ROWS, "csv", columns=("module",))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["module"] for row in rows] == [row["module"] for row in ROWS]
    assert rows[0]["shape"] == "2048×7×7"


@pytest.mark.parametrize("style", [None, "json", "csv"])
def test_an_empty_table_is_one(capsys: pytest.CaptureFixture[str], style: str | None) -> None:
    show_table([], style, columns=("a", "b"))
    assert capsys.readouterr().out == {None: "a  b\n", "json": "[]\n", "csv": "a,b\n"}[style]


def test_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"name": "alexnet", "words": "word " * 30}
    show_record(record, None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name   alexnet"
    assert lines[2].startswith("       word")
    assert max(map(len, lines)) <= 80
    show_record(record, "json")
    assert json.loads(capsys.readouterr().out) == record
    show_record(record, "csv")
    assert capsys.readouterr().out.startswith("what,value\nname,alexnet\n")


def test_wrapping_keeps_indentation_paths_and_empty_lines() -> None:
    path = "/a/path-that-is/longer-than/the-line.npy"
    assert wrapped(f"see\n\n  {path} now", 20) == f"see\n\n  {path}\n  now"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (5 * 2**40, "5.0 TB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_small_numbers_do_not_look_like_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"p": value} for value in (0.25, 0.0, 3.4567e-05, -2e-12, float("nan"))]
    show_table(rows, None, columns=("p",))
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert shown == ["p", "0.2500", "0.0000", "3.5e-05", "-2.0e-12", "nan"]
    show_table(rows, "csv", columns=("p",))
    lines = capsys.readouterr().out.split()
    assert lines == ["p", "0.25", "0.0", "3.4567e-05", "-2e-12", "nan"]
