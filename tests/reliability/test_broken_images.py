"""Images that fail while they are decoded: NaN rows, and the same bytes once they are mended."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from thingsvision import compute_rdm, open_features
from thingsvision.backends.toy import ToyBackend
from thingsvision.cli import main
from thingsvision.errors import InvalidArgument, StimulusError, StoreError, ThingsvisionWarning
from thingsvision.extraction import extract_features
from thingsvision.store import STORES
from thingsvision.store.convert import convert_features
from thingsvision.testing import toy_network

FORMATS = [name for name in STORES if name not in STORES.missing()]
COUNT, BATCH = 10, 3
MODULES = ["thin", "fc"]


class Counting(ToyBackend):
    """Notes how many images each pass has."""

    def __init__(self) -> None:
        object.__setattr__(self, "sizes", [])

    def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
        self.sizes.append(len(batch))
        return super().run(model, batch, *args, **options)


class Pictures:
    """A folder of pictures that can be broken behind their headers, and mended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        dice = np.random.default_rng(0)
        for row in range(COUNT):
            noise = dice.integers(0, 255, (24, 20, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{row}.png")
        self.whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def break_(self, *rows: int) -> None:
        for row in rows:
            (self.folder / f"{row}.png").write_bytes(self.whole[f"{row}.png"][:700])

    def mend(self, *rows: int) -> None:
        for row in rows:
            (self.folder / f"{row}.png").write_bytes(self.whole[f"{row}.png"])


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "images")


def extract(pictures: Pictures, out: Path | None, format: str = "npy") -> tuple[Any, list[int]]:
    """Extract without regard to warnings; give the features and the sizes of the passes."""
    backend = Counting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThingsvisionWarning)
        features = extract_features(
            toy_network(backend=backend), pictures.folder, MODULES, out=out, format=format,
            batch_size=BATCH,
        )  # fmt: skip
    return features, backend.sizes  # type: ignore[attr-defined]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("format", FORMATS)
def test_mended_images_give_the_bytes_of_a_run_without_failures(
    pictures: Pictures, tmp_path: Path, format: str
) -> None:
    wanted, _ = extract(pictures, tmp_path / "whole", format)
    pictures.break_(1, 4, 5)
    features, sizes = extract(pictures, tmp_path / "out", format)
    assert sizes == [1, 3, 3, 3, 1]
    rest = [0, 2, 3, 6, 7, 8, 9]
    for module in MODULES:
        assert np.isnan(features[module][[1, 4, 5]]).all()
        assert np.array_equal(features[module][rest], wanted[module][rest])
    assert extract(pictures, tmp_path / "out", format)[1] == [], "nothing was mended"
    pictures.mend(4)  # its neighbour in the batch fails as before
    features, sizes = extract(pictures, tmp_path / "out", format)
    assert sizes == [1, 3] and list(features.failures) == ["1.png", "5.png"]
    assert np.array_equal(features["fc"][4], wanted["fc"][4]) and np.isnan(features["fc"][5]).all()
    pictures.mend(1, 5)
    features, sizes = extract(pictures, tmp_path / "out", format)
    assert sizes == [1, 3, 3] and not features.failures
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("format", FORMATS)
def test_mended_between_two_deaths_at_the_end(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """One array has its last form, the other not, and rows of both are to be written again."""
    extract(pictures, tmp_path / "whole", format)
    pictures.break_(1, 8)
    original, calls = STORES[format].complete, []

    def stop(self: Any, *args: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(STORES[format], "complete", stop)
        extract(pictures, tmp_path / "out", format)
    pictures.mend(8)
    features, sizes = extract(pictures, tmp_path / "out", format)
    assert sizes == [1, 3] and list(features.failures) == ["1.png"]
    pictures.mend(1)
    extract(pictures, tmp_path / "out", format)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_tables_say_what_failed_and_why(pictures: Pictures, tmp_path: Path) -> None:
    pictures.break_(4)
    extract(pictures, tmp_path / "out")
    with (tmp_path / "out" / "stimuli.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["failed"] + ["ok"] * 5
    assert "4.png" in rows[4]["reason"] and "truncated" in rows[4]["reason"]
    assert rows[4]["digest"] == "" and rows[3]["reason"] == "" and len(rows[3]["digest"]) == 64
    features = open_features(tmp_path / "out")
    assert features.failures == {"4.png": rows[4]["reason"]}
    assert "1 failed" in repr(features) and "1 failed" in repr(features["fc"])
    assert features["fc"].select(["3.png"]).failures == {}
    assert list(features["fc"].select(["4.png", "3.png"]).failures) == ["4.png"]


def test_rdms_refuse_failed_rows_unless_told(pictures: Pictures, tmp_path: Path) -> None:
    pictures.break_(2, 7)
    features, _ = extract(pictures, None)
    for nan in ("refuse", "drop"):
        with pytest.raises(InvalidArgument, match=r"(?s)2 of 10 .*2\.png, 7\.png.*truncated"):
            compute_rdm(features["fc"], "euclidean", nan=nan)
    kept = [name for name in features["fc"].ids if name not in features.failures]
    wanted = compute_rdm(features["fc"].select(kept), "euclidean")
    with pytest.warns(ThingsvisionWarning, match=r"failed and were dropped: 2\.png, 7\.png"):
        found = compute_rdm(features["fc"], "euclidean", drop_failed=True)
    assert found.ids == tuple(kept) and np.array_equal(np.asarray(found), np.asarray(wanted))
    assert found.provenance["rdm"]["dropped"] == ["2.png", "7.png"]
    conditions = [row // 2 for row in range(COUNT)]
    with pytest.warns(ThingsvisionWarning):
        of_means = compute_rdm(features["fc"], "euclidean", conditions=conditions, drop_failed=True)
    array = np.asarray(features["fc"], np.float64)
    means = np.stack([np.nanmean(array[[2 * k, 2 * k + 1]], axis=0) for k in range(5)])
    assert np.allclose(of_means.square()[0, 1:], np.linalg.norm(means[1:] - means[0], axis=1))


def test_an_image_that_vanishes_or_changes_during_the_run(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, _ = extract(pictures, tmp_path / "whole")
    original, calls = ToyBackend.run, []

    def run(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:  # the first batch is decoded, the others are not
            (pictures.folder / "8.png").unlink()
            Image.new("RGB", (9, 9)).save(pictures.folder / "7.png")
            Image.new("RGB", (20, 24)).save(pictures.folder / "0.png")
        return original(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ToyBackend, "run", run)
        features, _ = extract(pictures, tmp_path / "out")
    assert list(features.failures) == ["7.png", "8.png"]
    assert "changed while this ran" in features.failures["7.png"]
    assert "does not exist" in features.failures["8.png"]
    pictures.mend(7, 8)
    with pytest.raises(StoreError, match=r"1 image changed .*0\.png"):
        extract(pictures, tmp_path / "out")
    pictures.mend(0)
    features, sizes = extract(pictures, tmp_path / "out")
    assert sizes == [1, 3] and np.array_equal(features["fc"], wanted["fc"])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_no_image_at_all_is_an_error(pictures: Pictures, tmp_path: Path) -> None:
    wanted, _ = extract(pictures, None)
    pictures.break_(*range(COUNT))
    for out in (None, tmp_path / "out"):
        with pytest.raises(StimulusError, match=r"(?s)None of the 10 images.*9\.png"):
            extract(pictures, out)
    with pytest.raises(StoreError, match="unfinished"):
        open_features(tmp_path / "out")
    pictures.mend(*range(COUNT))
    features, _ = extract(pictures, tmp_path / "out")
    assert np.array_equal(features["fc"], wanted["fc"])


@pytest.mark.parametrize("format", ["npy", "mat"])
def test_converting_keeps_what_failed(pictures: Pictures, tmp_path: Path, format: str) -> None:
    pictures.break_(4)
    features, _ = extract(pictures, tmp_path / "out", "hdf5")
    converted = convert_features(tmp_path / "out", tmp_path / "new", format)
    assert converted.failures == features.failures
    assert np.array_equal(converted["fc"], features["fc"], equal_nan=True)
    pictures.mend(4)
    features, _ = extract(pictures, tmp_path / "out", "hdf5")
    converted = convert_features(tmp_path / "out", tmp_path / "new", format)
    assert not converted.failures and np.array_equal(converted["fc"], features["fc"])


def test_whole_numbers_of_failed_images_are_zero(tmp_path: Path) -> None:
    from thingsvision.extraction import _blanked

    array = np.arange(1, 7).reshape(3, 2)
    assert _blanked(array, [1]).tolist() == [[1, 2], [0, 0], [5, 6]]
    assert array[1, 0] == 3, "what the backend gave is left alone"


FACTORY = """
import torch
import thingsvision as tv

def tiny():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten())
    return tv.wrap_model(model, tv.Preprocessing())
"""


def test_the_command_line_ends_with_3(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(FACTORY, "utf-8")
    command = ["extract", "tiny.py:tiny", "images", "-m", "0", "-o", "out", "--batch-size", "3",
               "--resize", "none", "--crop", "none"]  # fmt: skip

    def run(*words: str) -> Any:
        return CliRunner().invoke(main, [*words])

    pictures.break_(4)
    for _ in range(2):
        result = run(*command)
        assert result.exit_code == 3, result.output
        assert "1 of 10 images could not be decoded" in result.output
        assert "4.png" in result.output and "out" in result.output
    refused = run("rdm", "out")
    assert refused.exit_code == 1 and "4.png" in refused.output
    assert "--drop-failed" in refused.output
    told = run("rdm", "out", "--drop-failed", "--csv")
    assert told.exit_code == 0 and "0,9," in told.output
    pictures.mend(4)
    assert run(*command).exit_code == 0
    assert run("rdm", "out", "--csv").exit_code == 0
    pictures.folder.joinpath("4.png").write_bytes(b"no picture")
    header = run(*command)
    assert header.exit_code == 1 and "4.png" in header.output and "cannot be read" in header.output


def test_a_broken_header_is_told_before_the_start(pictures: Pictures, tmp_path: Path) -> None:
    for row in (3, 6):
        (pictures.folder / f"{row}.png").write_bytes(pictures.whole[f"{row}.png"][:20])
    with pytest.raises(StimulusError, match=r"(?s)2 of 10 images cannot.*3\.png.*6\.png"):
        extract(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reasons_of_several_lines_survive(
    tmp_path: Path, image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids, and so reasons, may hold anything; an interruption must not lose them."""
    name = 'a !\n"b",c ü.png'
    folder = image_folder([name, "whole.png", "zz.png"], size=(30, 30))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:60])
    network = toy_network()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(STORES["npy"], "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        extract_features(network, folder, "fc", out=tmp_path / "out", batch_size=1)
    with pytest.warns(ThingsvisionWarning):
        features = extract_features(network, folder, "fc", out=tmp_path / "out", batch_size=1)
    assert list(features.failures) == [name] and name in features.failures[name]
    assert open_features(tmp_path / "out").failures == features.failures
