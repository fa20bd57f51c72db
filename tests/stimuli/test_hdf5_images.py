"""Images in HDF5 files, such as the stimuli of NSD: one dataset, n × 425 × 425 × 3."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

import thingsvision as tv
from thingsvision.errors import (
    ImageError,
    InvalidArgument,
    StimulusError,
    StoreError,
    ThingsvisionWarning,
    UnknownName,
)
from thingsvision.stimuli import hdf5_images
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
    assert tv.load_stimuli(file, rows=slice(None, None, -5)).ids == ("000011", "000006", "000001")
    assert tv.load_stimuli(file, rows=slice(9, 99)).ids == ("000009", "000010", "000011")
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_have_a_handle_of_their_own(file: Path) -> None:
    """Parent and children read at once, after the parent has opened the file."""
    stimuli = tv.load_stimuli(file)
    stimuli.image(0)
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            same = [(stimuli.sources[k % 12].read() == BRICKS[k % 12]).all() for k in range(600)]
            opened = stimuli.sources[0].dataset._opened[0][0]
            os._exit(0 if all(same) and opened == os.getpid() else 1)
        children.append(child)
    same = [(stimuli.sources[k % 12].read() == BRICKS[k % 12]).all() for k in range(600)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0] and all(same)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts what Linux reads")
@pytest.mark.parametrize("chunks", [(20, 64, 64, 3), (20, 1, 64, 1)], ids=["one", "192 an image"])
def test_chunks_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, ...]
) -> None:
    """A chunk that has left the cache would be read from the file again."""
    monkeypatch.setattr(hdf5_images, "CACHE", 2**10)  # less than a chunk
    bricks = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
    file = written(tmp_path / "a.h5", {"a": bricks}, chunks=chunks, compression="gzip")
    stimuli = tv.load_stimuli(file)
    before = bytes_read()
    for image, brick in zip(stimuli.sources, bricks, strict=True):
        np.testing.assert_array_equal(image.read(), brick)
    assert bytes_read() - before < 1.5 * file.stat().st_size


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_the_cache_has_a_limit() -> None:
    """Chunks as h5py itself chooses them for the shape of NSD's stimuli, and larger ones."""
    shape = (73_000, 425, 425, 3)

    def cache(chunks: tuple[int, ...] | None) -> tuple[int, int]:
        dtype = np.dtype("u1")
        return hdf5_images.Hdf5Dataset(Path("a.h5"), "a", shape, dtype, chunks).cache

    own = (2282, 14, 14, 1)
    assert cache(own)[0] == 31 * 31 * 3 * np.prod(own) and cache(own)[1] > 10 * 31 * 31 * 3
    assert cache(shape)[0] == 2**31
    assert cache((1, 425, 425, 3))[0] == cache(None)[0] == 2**26


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


MEASURE = """
import sys, tracemalloc
from pathlib import Path
from thingsvision.stimuli import load_stimuli
rows = list(range(73_000))
tracemalloc.start()
stimuli = load_stimuli(Path(sys.argv[1]), rows=rows)
assert stimuli.sizes == ((425, 425),) * 73_000
print(tracemalloc.get_traced_memory()[1])
"""


def test_many_rows_take_little_memory(tmp_path: Path) -> None:
    """Measured in a process of its own, where no annotations are checked."""
    with h5py.File(tmp_path / "nsd.hdf5", "w") as file:
        file.create_dataset("imgBrick", (73_000, 425, 425, 3), np.float32)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "nsd.hdf5")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 300 * 73_000  # bytes; one image alone has 2 million


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
    with pytest.raises(
        InvalidArgument,
        match=r"masks \(12 × 8 × 6, uint8\), shown \(12 × 8 × 6 × 3, .*dataset='masks'",
    ):
        tv.load_stimuli(several)
    assert len(tv.load_stimuli(several, dataset="/shown")) == 12
    with pytest.raises(UnknownName, match="dataset 'show'.*shown"):
        tv.load_stimuli(several, dataset="show")


def test_datasets_that_are_no_images(tmp_path: Path) -> None:
    kinds = {"counts": BRICKS.astype("i4"), "many": BRICKS[None], "planes": BRICKS[..., :2]}
    file = written(tmp_path / "others.h5", {**kinds, "group/images": BRICKS})
    with h5py.File(file, "a") as opened:
        opened["names"] = ["a", "b"]
        opened["link"] = h5py.SoftLink("/group/images")
        opened["one"] = 3
        opened["empty"] = h5py.Empty("f4")
        opened.create_group("nothing")
    for name in (*kinds, "names", "one", "empty"):
        with pytest.raises(StimulusError, match=f"'{name}'.*no images.*uint8, uint16 or floating"):
            tv.load_stimuli(file, dataset=name)
    with pytest.raises(StimulusError, match="a group, not a dataset.*dataset='group/images'"):
        tv.load_stimuli(file, dataset="group")
    for name in ("nothing", "", "/", "group/image"):
        with pytest.raises(UnknownName, match="There is no dataset"):
            tv.load_stimuli(file, dataset=name)
    assert len(tv.load_stimuli(file)) == len(tv.load_stimuli(file, dataset="link")) == 12
    with h5py.File(file, "a") as opened:
        del opened["group/images"]
    with pytest.raises(
        StimulusError, match=r"no dataset of images.*counts \(12 × 8 × 6 × 3, int32"
    ):
        tv.load_stimuli(file)
    with pytest.raises(StimulusError, match="it holds no dataset"):
        tv.load_stimuli(written(tmp_path / "none.h5", {}))


@pytest.mark.parametrize("dataset", [None, "features"])
def test_features_are_not_images(tmp_path: Path, dataset: str | None) -> None:
    """Not even activations of three channels, whose shape is that of images."""
    names = ["fc", "double"]
    made = tv.extract_features(toy_network(), BRICKS, names, out=tmp_path / "o", format="hdf5")
    assert made["double"].shape == (12, 4, 3, 3)
    foreign = written(tmp_path / "foreign.h5", {"features": np.ones((4, 5), "f4")})
    for file in (tmp_path / "o" / "fc.h5", tmp_path / "o" / "double.h5", foreign):
        with pytest.raises(StimulusError, match="holds features, not images"):
            tv.load_stimuli(file, dataset=dataset)


def test_rows_that_there_are_not(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"3 of 4 rows.*0 to 11: -1, 12, 99"):
        tv.load_stimuli(file, rows=[-1, 3, 12, 99])
    with pytest.raises(InvalidArgument, match="more than once: 4"):
        tv.load_stimuli(file, rows=[4, 1, 4])
    with pytest.raises(InvalidArgument, match=r"1 of 4 rows.*0 to 11: -3. 1 row asked .*once: 5"):
        tv.load_stimuli(file, rows=[5, -3, 5, 5])
    mask = np.arange(12) < 3
    for wrong in ([1.5], 5, "5", ["5"], [None], [True, False], mask, mask.tolist(), [[1, 2]]):
        with pytest.raises(InvalidArgument, match="whole numbers"):
            tv.load_stimuli(file, rows=wrong)
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
    seen = tv.load_stimuli(file)
    seen.image(0)
    file.unlink()
    for gone in (stimuli, seen):
        with pytest.raises(ImageError, match="'000001'.*here.hdf5.*No such file"):
            gone.image(1)


@pytest.mark.parametrize("opened", [False, True], ids=["before", "after it was read"])
@pytest.mark.parametrize(
    "now",
    [
        {"imgBrick": BRICKS[:3]},
        {"imgBrick": BRICKS[:, :4]},
        {"imgBrick": BRICKS.astype("u2")},
        {"imgBrick/inside": BRICKS},
        {"other": BRICKS},
    ],
    ids=["rows", "height", "type", "a group", "gone"],
)
def test_a_file_that_changes_in_between(
    tmp_path: Path, opened: bool, now: dict[str, np.ndarray]
) -> None:
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    stimuli = tv.load_stimuli(file)
    if opened:
        stimuli.image(5)
    written(tmp_path / "new.hdf5", now).replace(file)
    reason = "was 12 × 8 × 6 × 3, uint8 when .* now; load them again"
    with pytest.raises(ImageError, match=f"'000005'.*Row 5 of 'imgBrick'.*{reason}"):
        stimuli.image(5)
    with pytest.raises(StimulusError, match=r"'000000'.*Row 0"):
        tv.extract_features(toy_network(), stimuli, "fc")


def test_other_images_in_the_same_file_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    stimuli = tv.load_stimuli(file)
    before = stimuli.digest(5)
    written(tmp_path / "new.hdf5", {"imgBrick": BRICKS[::-1]}).replace(file)
    np.testing.assert_array_equal(np.asarray(stimuli.image(5)), BRICKS[6])
    assert stimuli.digest(5) != before


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    """The rows in other chunks can still be read."""
    file = written(
        tmp_path / "a.hdf5", {"imgBrick": BRICKS}, chunks=(1, 8, 6, 3), compression="gzip"
    )
    with h5py.File(file) as opened:
        chunk = opened["imgBrick"].id.get_chunk_info_by_coord((5, 0, 0, 0))
    with file.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    stimuli = tv.load_stimuli(file)
    with pytest.warns(ThingsvisionWarning, match=r"(?s)1 of \d+ images.*'000005'.*Row 5 of"):
        features = tv.extract_features(toy_network(), stimuli, "fc")["fc"]
    assert list(features.failures) == ["000005"]
    assert np.isnan(np.asarray(features)[5]).all() and np.isfinite(np.asarray(features)[6]).all()
    np.testing.assert_array_equal(np.asarray(stimuli.image(6)), BRICKS[6])


def test_an_image_that_has_changed_is_noticed(tmp_path: Path) -> None:
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    tv.extract_features(toy_network(), tv.load_stimuli(file), "fc", out=tmp_path / "out")
    changed = BRICKS.copy()
    changed[5] = 0
    written(file, {"imgBrick": changed})
    with pytest.raises(StoreError, match="1 image changed.*000005"):
        tv.extract_features(toy_network(), tv.load_stimuli(file), "fc", out=tmp_path / "out")


def test_an_interrupted_run_goes_on_unless_its_images_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "a.hdf5", {"imgBrick": BRICKS})
    plain = hdf5_images.Hdf5Dataset.read

    def stop(self: hdf5_images.Hdf5Dataset, row: int) -> np.ndarray:
        if row == 9:
            raise KeyboardInterrupt
        return plain(self, row)

    def extract() -> np.ndarray:
        stimuli = tv.load_stimuli(file)
        made = tv.extract_features(toy_network(), stimuli, "fc", out=tmp_path / "o", batch_size=2)
        return np.array(made.only.array)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(hdf5_images.Hdf5Dataset, "read", stop)
        extract()
    changed = BRICKS.copy()
    changed[1] = 0
    new = tmp_path / "new.hdf5"
    written(new, {"imgBrick": changed}).replace(file)
    with pytest.raises(StoreError, match="1 image changed.*000001"):
        extract()
    written(new, {"imgBrick": BRICKS}).replace(file)
    whole = tv.extract_features(toy_network(), BRICKS, "fc", batch_size=2).only.array
    np.testing.assert_array_equal(extract(), whole)
