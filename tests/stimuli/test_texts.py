from __future__ import annotations

from pathlib import Path

import pytest

from thingsvision import load_stimuli, load_texts
from thingsvision.errors import InvalidArgument, StimulusError
from thingsvision.provenance import digest


def test_a_list_keeps_its_order_and_letters() -> None:
    texts = load_texts(["a dog, running", "ein Käse", "犬", "two\nlines"])
    assert texts.texts == texts.ids == ("a dog, running", "ein Käse", "犬", "two\nlines")
    assert texts.modality == "text"
    assert texts.digest(2) == digest("犬".encode())
    assert load_texts(["b", "a"]).select(["a"]).texts == ("a",)
    assert texts[1:3].ids == ("ein Käse", "犬")


def test_a_text_file_has_a_text_per_line(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("\ufeffa cat\r\n\r\nein Käse\nlast".encode())
    assert load_texts(file).texts == ("a cat", "ein Käse", "last")
    with pytest.raises(InvalidArgument, match="load_texts"):
        load_stimuli(file)


def test_a_table_may_have_ids_and_classes(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text('id,Text,class\nx,"a dog, running",animal\ny,a cup,tool\nz,a dog,animal\n')
    texts = load_texts(file)
    assert texts.ids == ("x", "y", "z") and texts.texts[0] == "a dog, running"
    assert texts.classes == ("animal", "tool") and texts.targets.tolist() == [0, 1, 0]
    assert load_texts(file, ids=["1", "2", "3"]).ids == ("1", "2", "3")
    file.write_text("caption\na dog\n")
    assert load_texts(file).ids == ("a dog",)
    file.write_text("words\na dog\n")
    with pytest.raises(StimulusError, match="needs a column 'text' with texts"):
        load_texts(file)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="found more than once: a cat"):
        load_texts(["a cat", "a cat"])
    assert load_texts(["a cat", "a cat"], ids=["1", "2"]).texts == ("a cat", "a cat")
    with pytest.raises(StimulusError, match="2 of 3 texts are empty: number 1, 3"):
        load_texts(["", "a", "  "])
    with pytest.raises(StimulusError, match="no stimuli"):
        load_texts([])
    for alone in ("a photo of a cat", "a photo of a cat " * 30):
        with pytest.raises(StimulusError, match="Single texts are given in a list"):
            load_texts(alone)
    with pytest.raises(StimulusError, match=r"1 of 2 texts are no Unicode text: 'a \\ud800'"):
        load_texts(["a cat", "a \ud800"], ids=["1", "2"])
    for wrong in (3, [1, 2], {"a": 1}):
        with pytest.raises(InvalidArgument, match="allowed are a list of texts"):
            load_texts(wrong)  # type: ignore[arg-type]


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="is a folder; texts are a file"):
        load_texts(tmp_path)
