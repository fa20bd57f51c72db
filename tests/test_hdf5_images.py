"""Images in HDF5 files, such as the stimuli of NSD: one dataset, n × 425 × 425 × 3."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import thingsvision as tv
from thingsvision import hdf5_images
from thingsvision.cli import main
from thingsvision.errors import (
    ImageError,
    InvalidArgument,
    StimulusError,
    StoreError,
    UnknownName,
)
from thingsvision.testing import toy_network

BRICKS = np.random.default_rng(0).integers(0, 255, (12, 8, 6, 3), np.uint8)
LAYOUTS = [{}, {"chunks": (1, 8, 6, 3)}, {"chunks": (5, 4, 6, 3), "compression": "gzip"}]


@pytest.fixture(params=LAYOUTS, ids=["contiguous", "chunked", "compressed"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return written(tmp_path / "nsd_stimuli.hdf5", {"imgBrick": BRICKS}, **request.param)


def written(path: Path, datasets: dict[str, np.ndarray], **layout: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file.create_dataset(name, data=array, **layout)
    return path


def test_rows_are_the_images_and_their_ids(file: Path) -> None:
    stimuli = tv.load_stimuli(file, dataset="imgBrick", rows=[7, 0, 11])
    assert stimuli.ids == ("000007", "000000", "000011")
    assert stimuli.sizes == ((8, 6),) * 3
    for place, row in enumerate((7, 0, 11)):
        np.testing.assert_array_equal(np.asarray(stimuli.image(place)), BRICKS[row])
    assert tv.load_stimuli(file).ids == tuple(f"{row:06d}" for row in range(12))
    assert tv.load_stimuli(file, rows=range(2, 4)).ids == ("000002", "000003")
    assert tv.load_stimuli(str(file), rows=np.array([3]), ids=["cat"]).ids == ("cat",)


def test_features_and_digests_are_those_of_the_arrays(file: Path, tmp_path: Path) -> None:
    rows = [9, 1, 4, 2, 8]
    stimuli, arrays = tv.load_stimuli(file, rows=rows), tv.load_stimuli(BRICKS[rows])
    found = tv.extract_features(toy_network(), stimuli, "fc", batch_size=2, out=tmp_path / "out")
    core = tv.extract_features(toy_network(), arrays, "fc", batch_size=2)
    np.testing.assert_array_equal(found.only.array, core.only.array)
    assert [stimuli.digest(k) for k in range(5)] == [arrays.digest(k) for k in range(5)]
    assert stimuli.read(1)[1] == arrays.read(1)[1]


def test_threads_and_other_processes(file: Path) -> None:
    stimuli = tv.load_stimuli(file)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(stimuli.image, list(range(12)) * 20))
    for place, image in enumerate(found):
        np.testing.assert_array_equal(np.asarray(image), BRICKS[place % 12])
    again = pickle.loads(pickle.dumps(stimuli.sources[3]))
    np.testing.assert_array_equal(again.read(), BRICKS[3])


def test_only_what_is_needed_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = h5py.File

    def count(*args: object, **options: object) -> h5py.File:
        opened.append(args)
        return original(*args, **options)

    monkeypatch.setattr(hdf5_images.h5py, "File", count)
    read = []
    monkeypatch.setattr(
        hdf5_images.Hdf5Dataset, "read",
        lambda self, row, plain=hdf5_images.Hdf5Dataset.read: read.append(row) or plain(self, row),
    )  # fmt: skip
    stimuli = tv.load_stimuli(file)
    assert stimuli.sizes[0] == (8, 6) and read == []
    stimuli[3:5].image(1)
    stimuli.select(["000011"]).image(0)
    assert read == [4, 11] and len(opened) == 2  # once to look, once to read


def test_many_rows_are_quickly_there(tmp_path: Path) -> None:
    """As many as NSD has; space is not even allocated."""
    with h5py.File(tmp_path / "nsd.hdf5", "w") as file:
        file.create_dataset("imgBrick", (73_000, 425, 425, 3), np.uint8)
    stimuli = tv.load_stimuli(tmp_path / "nsd.hdf5")
    assert len(stimuli) == 73_000 and stimuli.ids[-1] == "072999"
    assert np.asarray(stimuli.image(72_999)).shape == (425, 425, 3)
    assert (tmp_path / "nsd.hdf5").stat().st_size < 10_000


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(3, 8, 6), (3, 8, 6, 1), (3, 8, 6, 4)])
def test_other_kinds_of_images(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    samples = np.random.default_rng(0).random(shape)
    scale = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    array = (samples * scale).astype(dtype)
    stimuli = tv.load_stimuli(written(tmp_path / "a.h5", {"group/images": array}))
    expected = tv.load_stimuli(list(array))
    assert np.asarray(stimuli.image(2)).tolist() == np.asarray(expected.image(2)).tolist()


def test_what_could_be_meant_is_asked(tmp_path: Path) -> None:
    several = written(tmp_path / "two.h5", {"shown": BRICKS, "masks": BRICKS[..., 0]})
    with pytest.raises(InvalidArgument, match=r"masks, shown.*dataset='masks'"):
        tv.load_stimuli(several)
    assert len(tv.load_stimuli(several, dataset="/shown")) == 12
    with pytest.raises(UnknownName, match="dataset 'show'.*shown"):
        tv.load_stimuli(several, dataset="show")
    features = written(tmp_path / "fc.h5", {"features": np.ones((4, 5), "f4")})
    with pytest.raises(StimulusError, match=r"no dataset of images.*features \(4 × 5, float32\)"):
        tv.load_stimuli(features)
    with pytest.raises(StimulusError, match=r"shape \(4, 5\)"):
        tv.load_stimuli(features, dataset="features")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_group("group")
        file["names"] = ["a", "b"]
    with pytest.raises(StimulusError, match="names"):
        tv.load_stimuli(tmp_path / "empty.h5")


def test_rows_that_there_are_not(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"3 of 4 rows.*0 to 11: -1, 12, 99"):
        tv.load_stimuli(file, rows=[-1, 3, 12, 99])
    with pytest.raises(InvalidArgument, match="more than once: 4"):
        tv.load_stimuli(file, rows=[4, 1, 4])
    with pytest.raises(InvalidArgument, match="whole numbers"):
        tv.load_stimuli(file, rows=[1.5])
    with pytest.raises(StimulusError, match="no stimuli"):
        tv.load_stimuli(file, rows=[])
    with pytest.raises(InvalidArgument, match="choose among the images of an HDF5 file"):
        tv.load_stimuli(BRICKS, rows=[1])


def test_files_that_are_broken_or_gone(tmp_path: Path) -> None:
    (tmp_path / "broken.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n and nothing")
    with pytest.raises(StimulusError, match="cannot be read"):
        tv.load_stimuli(tmp_path / "broken.hdf5")
    file = written(tmp_path / "here.hdf5", {"imgBrick": BRICKS})
    stimuli = tv.load_stimuli(file)
    file.unlink()
    with pytest.raises(ImageError, match="here.hdf5"):
        stimuli.image(0)


def test_an_image_that_has_changed_is_noticed(tmp_path: Path) -> None:
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    tv.extract_features(toy_network(), tv.load_stimuli(file), "fc", out=tmp_path / "out")
    changed = BRICKS.copy()
    changed[5] = 0
    written(file, {"imgBrick": changed})
    with pytest.raises(StoreError, match="1 images have changed.*000005"):
        tv.extract_features(toy_network(), tv.load_stimuli(file), "fc", out=tmp_path / "out")


@pytest.mark.parametrize("rows", ["2-4", "2,3,4", "2, 3-4", "rows.txt"])
def test_the_command_line(tmp_path: Path, rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    (tmp_path / "rows.txt").write_text("2\n3\n4\n")
    args = ["extract", "torchvision/squeezenet1_1", "a.hdf5", "--dataset", "imgBrick", "--rows",
            rows, "-m", "features.0", "--random", "-o", "out"]  # fmt: skip
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert tv.open_features("out").only.ids == ("000002", "000003", "000004")


def test_mistakes_on_the_command_line(file: Path) -> None:
    args = ["extract", "torchvision/alexnet", str(file), "-m", "features.0", "-o", "out"]
    result = CliRunner().invoke(main, [*args, "--rows", "two"])
    assert result.exit_code == 2 and "'two' is no number of a row" in result.output
    result = CliRunner().invoke(main, [*args, "--rows", "1", "--text"])
    assert result.exit_code == 2 and "--rows cannot go with --text" in result.output
