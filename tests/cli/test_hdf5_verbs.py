"""Images of an HDF5 file on the command line: --dataset and --rows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import thingsvision as tv
import thingsvision.plotting
from thingsvision.cli import main
from thingsvision.testing import toy_network

BRICKS = np.random.default_rng(0).integers(0, 255, (12, 8, 6, 3), np.uint8)


def written(path: Path, datasets: dict[str, np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
    return path


@pytest.mark.parametrize("rows", ["2-4", "2,3,4", "2, 3-4", "rows.txt", "mixed.txt"])
def test_the_command_line(tmp_path: Path, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    (tmp_path / "rows.txt").write_text("2\n3\n4\n")
    (tmp_path / "mixed.txt").write_text("\ufeff2, 3\r\n4-4\r\n", encoding="utf-8")
    args = ["extract", "torchvision/squeezenet1_1", "a.hdf5", "--dataset", "imgBrick", "--rows",
            rows, "-m", "features.0", "--random", "-o", "out"]  # fmt: skip
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert tv.open_features("out").only.ids == ("000002", "000003", "000004")


def test_photographs_of_a_figure_from_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids find the rows, which are joined by id and not by position."""
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS, "masks": BRICKS[..., 0]})
    stimuli = tv.load_stimuli(file, dataset="imgBrick", rows=[7, 0, 3])
    tv.extract_features(toy_network(), stimuli, "fc", out="out")
    shown = {}
    monkeypatch.setattr(
        thingsvision.plotting, "plot_rdm",
        lambda *_, images, **__: shown.update({k: np.asarray(v) for k, v in images.items()}),
    )  # fmt: skip
    args = ["rdm", "out", "--dissimilarity", "euclidean", "--plot", "a.png"]
    result = CliRunner().invoke(main, [*args, "--images", "a.hdf5", "--dataset", "imgBrick"])
    assert result.exit_code == 0, result.output
    assert list(shown) == ["000007", "000000", "000003"]
    np.testing.assert_array_equal(shown["000007"], BRICKS[7])
    result = CliRunner().invoke(main, [*args, "--dataset", "imgBrick"])
    assert result.exit_code == 2 and "--images" in result.output


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    args = ["extract", "torchvision/alexnet", str(file), "-m", "features.0", "-o", "out"]
    (file.parent / "rows.txt").write_text("1\n-2\n")
    (file.parent / "empty.txt").write_text("\n")
    for rows, words in {
        "two": "'two' is no number of a row, and no text file",
        "5-2": "'5-2' ends before it begins",
        "-1": "'-1' is no number of a row",
        "³": "'³' is no number",
        "": "there are no rows",
        str(file.parent / "rows.txt"): "'-2' in",
        str(file.parent / "empty.txt"): "there are no rows",
        str(file): "is no number of a row",
    }.items():
        result = CliRunner().invoke(main, [*args, "--rows", rows])
        assert result.exit_code == 2 and words in " ".join(result.output.split()), rows
    result = CliRunner().invoke(main, [*args, "--rows", "1,10-13"])
    assert result.exit_code == 1 and "0 to 11: 12, 13" in " ".join(result.output.split())
    result = CliRunner().invoke(main, [*args, "--rows", "1", "--text"])
    assert result.exit_code == 2 and "--rows cannot go with --text" in result.output
