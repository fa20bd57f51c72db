from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import thingsvision as tv
from thingsvision.errors import InvalidArgument, MismatchError, StimulusError, UnknownName

NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in NAMES:
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    return tmp_path / "images"


@pytest.fixture
def subjects() -> np.ndarray:
    """Make square RDMs of three people."""
    rng = np.random.default_rng(1)
    squares = rng.random((3, 4, 4))
    squares += squares.transpose(0, 2, 1)
    squares[:, np.arange(4), np.arange(4)] = 0
    return squares


def test_references_are_brought_into_the_order_of_the_images(
    images: Path, subjects: np.ndarray, tmp_path: Path
) -> None:
    shuffled = [3, 1, 0, 2]
    np.save(tmp_path / "human.npy", subjects[:, shuffled][:, :, shuffled])
    (tmp_path / "ids.txt").write_text("".join(f"{NAMES[row]}\n" for row in shuffled))
    data = tv.make_set("four", images, {"human": tmp_path / "human.npy"}, ids=tmp_path / "ids.txt")
    assert data.stimuli.ids == NAMES and data.joined_by == "id"
    for rdm, square in zip(data.references["human"], subjects, strict=True):
        assert rdm.ids == NAMES
        np.testing.assert_array_equal(rdm.square(), square)


def test_one_of_several_arrays_is_named_behind_the_file(
    images: Path, subjects: np.ndarray, tmp_path: Path
) -> None:
    savemat(tmp_path / "both.mat", {"it": subjects[:2], "v1": subjects[1:] + 0})
    given = {"V1": f"{tmp_path / 'both.mat'}@v1", "IT": {"file": tmp_path / "both.mat",
             "variable": "it"}}  # fmt: skip
    data = tv.make_set("four", images, given, by_position=True)
    np.testing.assert_array_equal(data.references["V1"][1].square(), subjects[2])
    np.testing.assert_array_equal(data.references["IT"][0].square(), subjects[0])
    assert data.joined_by == "position"


def test_a_file_with_an_at_in_its_name_lies_beside_the_file_of_sets(
    images: Path, subjects: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "it@3t.npy", subjects[0])
    (tmp_path / "sets.toml").write_text("""
        [[set]]
        name = "one"
        images = "images"
        by_position = true
        references = { IT = "it@3t.npy" }
    """)
    (data,) = tv.read_sets(tmp_path / "sets.toml")
    np.testing.assert_array_equal(data.references["IT"][0].square(), subjects[0])


def test_a_reference_of_other_stimuli_is_refused_before_anything_runs(
    images: Path, subjects: np.ndarray
) -> None:
    def given(*ids: str) -> dict[str, tv.RDM]:
        return {"human": tv.RDM.from_matrix(subjects[0][: len(ids), : len(ids)], ids)}

    with pytest.raises(MismatchError, match=r"Images that the reference lacks \(1\): d.png"):
        tv.make_set("four", images, given("a.png", "b.png", "c.png"))
    with pytest.raises(MismatchError, match=r"Ids of it without an image \(1\): x.png"):
        tv.make_set("four", images, given("a.png", "b.png", "c.png", "x.png"))
    bare = {"human": tv.RDM.from_matrix(subjects[0])}
    with pytest.raises(MismatchError, match="does not name its stimuli"):
        tv.make_set("four", images, bare)
    small = {"human": tv.RDM.from_matrix(subjects[0][:3, :3])}
    with pytest.raises(MismatchError, match="of 3 stimuli, but there are 4 images"):
        tv.make_set("four", images, small, by_position=True)


def test_what_a_set_lacks_is_said(images: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="has no references"):
        tv.make_set("four", images)
    with pytest.raises(InvalidArgument, match="has no images"):
        tv.make_set("four", None, {"human": tmp_path / "x.mat"})
    with pytest.raises(InvalidArgument, match="There is no file"):
        tv.make_set("four", images, {"human": tmp_path / "x.mat"})
    with pytest.raises(StimulusError, match="no-such"):
        tv.make_set("four", tmp_path / "no-such", {"human": tmp_path / "x.mat"})
    with pytest.raises(UnknownName, match=r"human=FILE"):
        tv.make_set("four", images, ["human"])


def test_a_stack_that_can_be_read_in_two_ways_is_asked_about(images: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "human.npy", np.random.default_rng(0).random((6, 10)))
    with pytest.raises(InvalidArgument, match=r"--sets.*axis = 0"):
        tv.make_set("four", images, {"human": tmp_path / "human.npy"}, by_position=True)


def test_three_stimuli_are_too_few(images: Path, subjects: np.ndarray) -> None:
    (images / "d.png").unlink()
    human = {"human": tv.RDM.from_matrix(subjects[0][:3, :3], NAMES[:3])}
    with pytest.raises(InvalidArgument, match="3 images; .* from 4 stimuli on"):
        tv.make_set("three", images, human)


def test_several_sets_in_one_file(images: Path, subjects: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "human.npy", subjects)
    np.savez(tmp_path / "brain.npz", it=subjects, other=subjects)
    (tmp_path / "order.txt").write_text("d.png\nb.png\na.png\n")
    (tmp_path / "sets.toml").write_text("""
        [[set]]
        name = "one"
        images = "images"
        by_position = true
        order = "order.txt"
        references = { human = "human.npy" }

        [[set]]
        name = "two"
        images = "images"
        by_position = true
        source = "somewhere"
        [set.references]
        IT = { file = "brain.npz", variable = "it", axis = 0 }
    """)
    one, two = tv.read_sets(tmp_path / "sets.toml")
    assert (one.name, two.name) == ("one", "two")
    assert one.order == ("d.png", "b.png", "a.png") and two.order is None
    assert len(one.references["human"]) == len(two.references["IT"]) == 3


def test_cross_validated_references_are_named_as_such(
    images: Path, subjects: np.ndarray, tmp_path: Path
) -> None:
    """Estimates below zero, from a file that does not say how it was measured."""
    signed = subjects - 0.5
    signed[:, np.arange(4), np.arange(4)] = 0
    savemat(tmp_path / "both.mat", {"it": signed, "v1": signed + 0})
    table = """
        [[set]]
        name = "one"
        images = "images"
        by_position = true
        references = { IT = { file = "both.mat@it"MEASURE } }
    """
    (tmp_path / "sets.toml").write_text(table.replace("MEASURE", ', dissimilarity = "crossnobis"'))
    (data,) = tv.read_sets(tmp_path / "sets.toml")
    assert [rdm.dissimilarity for rdm in data.references["IT"]] == ["crossnobis"] * 3
    np.testing.assert_array_equal(data.references["IT"][1].square(), signed[1])
    (tmp_path / "sets.toml").write_text(table.replace("MEASURE", ""))
    with pytest.raises(InvalidArgument, match=r"negative values .*dissimilarity = 'crossnobis'"):
        tv.read_sets(tmp_path / "sets.toml")
    given = {"IT": {"file": tmp_path / "both.mat", "variable": "v1", "dissimilarity": "euclidean"}}
    with pytest.raises(InvalidArgument, match="negative values"):
        tv.make_set("one", images, given, by_position=True)


def test_all_that_is_wrong_in_a_file_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "sets.toml").write_text("""
        [[set]]
        name = "one"
        images = "no-such"
        source = "the authors"
        references = { human = "human.mat" }

        [[set]]
        imagse = "there"
        references = { human = { fiel = "x" } }

        [[set]]
        name = "one"
        images = "."
    """)
    with pytest.raises(InvalidArgument) as caught:
        tv.read_sets(tmp_path / "sets.toml")
    said = str(caught.value)
    for words in ("there is no no-such, human.mat. To be had from: the authors", "imagse",
                  "set 2: it has no name", "fiel", "several sets are called one"):  # fmt: skip
        assert words in said


@pytest.mark.parametrize("text", ["", "[[set", "name = 1", "[set]\nname = 'x'"])
def test_what_is_no_file_of_sets_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "sets.toml").write_text(text)
    with pytest.raises(InvalidArgument, match="sets.toml"):
        tv.read_sets(tmp_path / "sets.toml")


def test_the_sets_of_the_paper_say_where_their_data_is_to_be_had() -> None:
    example = Path(__file__).parents[2] / "examples/paper/figure2.toml"
    with pytest.raises(InvalidArgument) as caught:
        tv.read_sets(example)
    assert str(caught.value).count("To be had from:") == 6


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('by_position = "false"', "by_position is 'false'; write true or false"),
        ('references = "m.npy"', "NAME = FILE"),
        ("ids = [1]", "ids is"),
        ("[set.references]\nm = 3", "the reference 'm' is 3"),
        ('[set.references]\nm = { variable = "it" }', "the reference 'm' has no file"),
        ('[set.references]\nm = { file = "m.npy", axis = "0" }', "axis of the reference 'm'"),
        ('[set.references]\nm = { file = "m.npy", ids = "no.txt" }', "there is no no.txt"),
    ],
)
def test_values_of_a_wrong_type_are_refused_by_name(
    lines: str, said: str, images: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "m.npy", 1 - np.eye(4))
    (tmp_path / "sets.toml").write_text(f'[[set]]\nname = "four"\nimages = "images"\n{lines}\n')
    with pytest.raises(InvalidArgument, match=said):
        tv.read_sets(tmp_path / "sets.toml")


def test_sets_that_are_no_tables_and_keys_outside_of_sets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text('set = ["four"]\n')
    with pytest.raises(InvalidArgument, match="holds no sets"):
        tv.read_sets(tmp_path / "words.toml")
    (tmp_path / "outside.toml").write_text('bootstrap = 5\n[[set]]\nname = "four"\n')
    with pytest.raises(InvalidArgument, match="outside of sets: .*bootstrap"):
        tv.read_sets(tmp_path / "outside.toml")


def test_ids_of_one_reference_lie_beside_the_file_of_sets(
    images: Path, subjects: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "m.npy", subjects[0])
    (tmp_path / "ids.txt").write_text("".join(f"{name}\n" for name in NAMES[::-1]))
    text = '[[set]]\nname = "four"\nimages = "images"\n[set.references]\n'
    (tmp_path / "sets.toml").write_text(f'{text}m = {{ file = "m.npy", ids = "ids.txt" }}\n')
    (data,) = tv.read_sets(tmp_path / "sets.toml")
    expected = subjects[0][::-1, ::-1]
    np.testing.assert_array_equal(data.references["m"][0].square(), expected)


def test_a_file_in_the_place_of_a_name_is_recognised(images: Path, tmp_path: Path) -> None:
    (tmp_path / "subjects.npy").touch()
    with pytest.raises(UnknownName, match=r"NAME=.*subjects\.npy"):
        tv.make_set("four", images, [str(tmp_path / "subjects.npy")])
