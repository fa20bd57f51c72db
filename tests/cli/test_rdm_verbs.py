"""rdm and compare: the commands give what the functions give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import thingsvision as tv
from thingsvision.rsa.rdm import RDM

from .conftest import Run


@pytest.fixture
def features(run: Run, place: Path) -> Path:
    result = run("extract", "torchvision/squeezenet1_1", "images", "-m", "features.3", "-m",
                 "features.1?", "-o", "out", "--random")  # fmt: skip
    assert result.code == 0, result.err
    return place / "out"


def test_one_module_to_one_file(run: Run, features: Path) -> None:
    result = run("rdm", "out", "-m", "features.3", "-o", "one.npz", "--json")
    (row,) = json.loads(result.out)
    expected = tv.compute_rdm(tv.open_features("out")["features.3"])
    saved = tv.load_rdm("one.npz")
    np.testing.assert_array_equal(saved.dissimilarities, expected.dissimilarities)
    assert saved.ids == expected.ids
    assert row["file"] == "one.npz"
    assert row["mean"] == pytest.approx(expected.dissimilarities.mean())


def test_several_modules_to_a_folder(run: Run, features: Path) -> None:
    result = run("rdm", "out", "-o", "rdms", "--plot", "figures/", "--dissimilarity", "euclidean")
    assert result.code == 0, result.err
    names = sorted(tv.open_features("out"))
    assert sorted(path.name for path in Path("rdms").iterdir()) == [f"{n}.npz" for n in names]
    assert sorted(path.name for path in Path("figures").iterdir()) == [f"{n}.png" for n in names]
    assert tv.load_rdm("rdms/features.3.npz").dissimilarity == "euclidean"
    assert max(map(len, result.out.splitlines())) <= 80


def test_several_modules_to_one_file_are_refused(run: Run, features: Path) -> None:
    result = run("rdm", "out", "-o", "one.npz")
    assert result.code == 1
    assert "give a folder" in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-o", "rdms", "--plot", "one.png"], "--plot one.png is one file, for"),
        (["-o", "new/rdms", "--plot", "figures/", "--dissimilarity", "nope"], "no dissimilarity"),
        (["-m", "features.3", "-o", "rdms/", "--plot", "one.xyz"], "cannot be written as 'xyz'"),
        (["-m", "features.3", "-o", "rdms/one.xyz"], "There is no RDM file format '.xyz'"),
        (["-m", "features.3", "-o", "rdms/", "--plot", "a.png", "--images", "none"], "none"),
    ],
)
def test_a_refused_command_leaves_nothing_behind(
    run: Run, features: Path, place: Path, args: list[str], words: str
) -> None:
    before = sorted(place.rglob("*"))
    result = run("rdm", "out", *args)
    assert (result.code, result.out) == (1, "")
    assert words in " ".join(result.err.split())
    assert sorted(place.rglob("*")) == before


def test_an_empty_folder_that_was_there_stays(run: Run, features: Path, place: Path) -> None:
    (place / "rdms").mkdir()
    assert run("rdm", "out", "-o", "rdms", "--dissimilarity", "nope").code == 1
    assert (place / "rdms").is_dir()


def test_a_figure_with_photographs(run: Run, features: Path) -> None:
    plain = run("rdm", "out", "-m", "features.3", "--plot", "plain.png")
    with_photos = run("rdm", "out", "-m", "features.3", "--plot", "a.png", "--images", "images")
    assert (plain.code, with_photos.code) == (0, 0), with_photos.err
    with Image.open("plain.png") as without, Image.open("a.png") as figure:
        assert figure.size > without.size


def test_an_unknown_module_names_the_nearest(run: Run, features: Path) -> None:
    result = run("rdm", "out", "-m", "features.33")
    assert result.code == 1
    assert "Nearest: features.3" in result.err


def test_an_unknown_module_says_how_to_list_all(run: Run, place: Path) -> None:
    run("extract", "torchvision/squeezenet1_1", "images", "-m", "features.?", "-o", "out",
        "--random")  # fmt: skip
    names = list(tv.open_features("out"))
    result = run("rdm", "out", "-m", "features.33")
    said = " ".join(result.err.split())
    assert said.startswith("Error: There is no module 'features.33'. Nearest: features.3, ")
    assert said.endswith(
        f"There are {len(names) - 5} more; all are listed by: thingsvision modules out"
    )
    command = said.partition("listed by: thingsvision ")[2].split()
    assert [row["module"] for row in json.loads(run(*command, "--json").out)] == names
    (row,) = json.loads(run(*command, "features.3", "--json").out)
    assert (row["module"], row["shape"][0]) == ("features.3", 6)
    assert "Nearest: features.3" in run(*command, "features.33").err


def test_comparison_joins_by_id(run: Run, rdms: list[RDM]) -> None:
    (row,) = json.loads(run("compare", "first.npz", "second.csv", "--json").out)
    assert row["pearson"] == pytest.approx(tv.compare_rdms(*rdms, comparison="pearson"))
    assert row["joined by"] == "id"
    lines = run("compare", "first.npz", "second.csv", "--comparison", "pearson").out.splitlines()
    assert f"{tv.compare_rdms(*rdms, comparison='pearson'):.4f}" in lines[1]


def test_a_bare_matrix_needs_ids_or_a_word(run: Run, rdms: list[RDM]) -> None:
    assert run("compare", "first.npz", "bare.npy").code == 1
    said = run("compare", "first.npz", "bare.npy", "--by-position", "--json")
    (row,) = json.loads(said.out)
    assert (row["a"], row["b"], row["joined by"]) == ("first.npz", "bare.npy", "position")
    assert row["pearson"] == pytest.approx(1)
    assert "not checked" in said.err
    named = run("compare", "second.csv", "bare.npy", "--ids", "ids.txt", "--json")
    expected = tv.compare_rdms(rdms[1], rdms[0], comparison="pearson")
    assert json.loads(named.out)[0]["pearson"] == pytest.approx(expected)
    assert json.loads(named.out)[0]["joined by"] == "id"


def test_errors_name_the_options(run: Run, rdms: list[RDM], place: Path) -> None:
    said = " ".join(run("compare", "first.npz", "bare.npy").err.split())
    assert "by_position= is --by-position, ids= is --ids" in said
    np.savez(place / "two.npz", a=rdms[0].square(), b=rdms[1].square())
    assert "variable= is --variable" in run("compare", "first.npz", "two.npz").err
    (place / "short.txt").write_text("a.jpg\n")
    said = " ".join(run("compare", "first.npz", "bare.npy", "--ids", "short.txt").err.split())
    assert "--ids short.txt does not fit 'bare.npy'" in said and "but 1 id; each" in said


def test_a_file_in_the_place_of_a_folder(run: Run, features: Path, place: Path) -> None:
    (place / "taken").touch()
    result = run("rdm", "out", "-o", "taken")
    assert result.code == 1 and "-o" not in result.err.split("taken")[0].replace("--out", "")
    assert "--out taken is a file" in result.err


def test_folders_are_compared_with_each_other(run: Run, rdms: list[RDM], place: Path) -> None:
    (place / "many").mkdir()
    for name in ("first.npz", "second.csv"):
        (place / name).rename(place / "many" / name)
    rows = json.loads(run("compare", "many", "many", "--json").out)
    assert [(row["a"], row["b"]) for row in rows] == [
        (a, b) for a in ("first.npz", "second.csv") for b in ("first.npz", "second.csv")
    ]
    assert rows[0]["pearson"] == pytest.approx(1)
    assert rows[1]["pearson"] == pytest.approx(rows[2]["pearson"])


def test_activations_are_no_rdms(run: Run, features: Path) -> None:
    result = run("compare", "out", "out")
    assert result.code == 1
    assert "thingsvision rdm out -o rdms" in " ".join(result.err.split())


def test_options_of_dissimilarities(run: Run, features: Path) -> None:
    features_3 = tv.open_features("out")["features.3"]
    result = run("rdm", "out", "-m", "features.3", "-o", "g.npz", "--dissimilarity", "gaussian",
                 "--bandwidth", "50")  # fmt: skip
    assert result.code == 0, result.err
    expected = tv.compute_rdm(features_3, "gaussian", bandwidth=50.0)
    np.testing.assert_array_equal(tv.load_rdm("g.npz").dissimilarities, expected.dissimilarities)
    refused = run("rdm", "out", "-m", "features.3", "--bandwidth", "50")
    assert refused.code == 1
    assert "correlation has no option bandwidth" in " ".join(refused.err.split())


def test_the_help_names_all_dissimilarities(run: Run) -> None:
    from thingsvision.rsa import DISSIMILARITIES

    text = " ".join(run("rdm", "--help").out.split())
    assert ", ".join(DISSIMILARITIES) in text


def test_repeated_measurements(run: Run, features: Path) -> None:
    ids = tv.open_features("out")["features.3"].ids
    conditions = [f"c{row // 2 % 3}" for row in range(len(ids))]
    folds = [str(row % 2) for row in range(len(ids))]
    rows = [f"{a},{b},{c}" for a, b, c in zip(ids, conditions, folds, strict=True)]
    Path("repeats.csv").write_text("\n".join(["id,condition,fold", *reversed(rows)]) + "\n")
    words = ("rdm", "out", "-m", "features.3", "--dissimilarity", "crossnobis")
    result = run(*words, "--repeats", "repeats.csv", "--covariance", "identity", "-o", "c.csv")
    assert result.code == 0, result.err
    expected = tv.compute_rdm(
        tv.open_features("out")["features.3"], "crossnobis", conditions=conditions, folds=folds,
        covariance="identity",
    )  # fmt: skip
    saved = tv.load_rdm("c.csv")
    assert saved.ids == ("c0", "c1", "c2")
    np.testing.assert_allclose(saved.dissimilarities, expected.dissimilarities, rtol=1e-6)
    Path("repeats.csv").write_text("\n".join(["id,condition,fold", *rows[1:]]) + "\n")
    short = run(*words, "--repeats", "repeats.csv")
    assert short.code == 1
    assert ids[0] in short.err


def test_pairs_to_npy(run: Run, features: Path) -> None:
    result = run("rdm", "out", "-m", "features.3", "-o", "pairs.npy")
    assert result.code == 0, result.err
    expected = tv.compute_rdm(tv.open_features("out")["features.3"])
    np.testing.assert_array_equal(np.load("pairs.npy"), expected.dissimilarities)
