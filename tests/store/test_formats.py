"""Each format read by a reader that is not ours: SciPy, h5py, zarr, torch, NumPy and Octave."""

from __future__ import annotations

import glob
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from thingsvision import extract_features, load_stimuli, open_features
from thingsvision.errors import StoreError
from thingsvision.store import STORES, mat
from thingsvision.testing import toy_network

Numbered = Callable[[int], np.ndarray]
MODULES = ["thin", "split[0]", "fc"]
FORMATS = [name for name in STORES if name not in STORES.missing()]
# Latin, Chinese, beyond 16 bits, nothing, a combining accent.
TEXTS = ["a b.jpg", "käse.jpg", "犬/猫.png", "😀 𝄞.png", "", "e\u0301.png"]
OCTAVE = shutil.which("octave")


def extract(out: Path, images: Any, format: str) -> Any:
    return extract_features(toy_network(), images, MODULES, out=out, format=format, batch_size=2)


@pytest.fixture
def stimuli(numbered: Numbered, tmp_path: Path) -> Any:
    from PIL import Image

    for row, pixels in enumerate(numbered(5)):
        file = tmp_path / "images" / ("käse" if row < 3 else "犬") / f"{row} a.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return load_stimuli(tmp_path / "images")


@pytest.fixture
def expected(stimuli: Any) -> Any:
    return extract_features(toy_network(), stimuli, MODULES, batch_size=2)


@pytest.mark.parametrize("format", FORMATS)
def test_a_round_trip_keeps_everything(
    format: str, stimuli: Any, expected: Any, tmp_path: Path
) -> None:
    extract(tmp_path / "out", stimuli, format)
    found = open_features(tmp_path / "out")
    for module in MODULES:
        item, wanted = found[module], expected[module]
        assert np.array_equal(item, wanted) and item.dtype == wanted.dtype
        assert item.ids == stimuli.ids and item.axes == wanted.axes
        assert np.array_equal(item.targets, stimuli.targets)
        assert np.array_equal(item[3], np.asarray(wanted)[3])
        assert np.array_equal(item[[4, 0, 0]], np.asarray(wanted)[[4, 0, 0]])
        assert np.array_equal(item[1:4], np.asarray(wanted)[1:4])
        swapped = item.select([stimuli.ids[3], stimuli.ids[1]])
        assert np.array_equal(swapped, np.asarray(wanted)[[3, 1]])


def test_hdf5_is_read_by_h5py(stimuli: Any, expected: Any, tmp_path: Path) -> None:
    extract(tmp_path / "out", stimuli, "hdf5")
    with h5py.File(tmp_path / "out" / "thin.h5") as file:
        assert np.array_equal(file["features"], expected["thin"])
        assert file["features"].attrs["module"] == "thin"
        assert tuple(file["features"].attrs["axes"]) == expected["thin"].axes
        assert tuple(file["file_names"].asstr()) == stimuli.ids
        assert file["targets"][:].tolist() == stimuli.targets.tolist()
        assert tuple(file["classes"].asstr()) == stimuli.classes
        assert file["features"].chunks[0] <= 5


def test_what_lies_beside_every_format_is_read_by_pandas(stimuli: Any, tmp_path: Path) -> None:
    """All that text and NumPy files have of names, and the same beside the others."""
    for format in FORMATS:
        out = tmp_path / format
        extract(out, stimuli, format)
        table = pd.read_csv(out / "stimuli.csv")
        assert table["id"].tolist() == list(stimuli.ids)
        assert table["target"].tolist() == stimuli.targets.tolist()
        assert table["class"].tolist() == [stimuli.classes[k] for k in stimuli.targets]
        names = (out / "file_names.txt").read_text(encoding="utf-8")
        assert names.splitlines() == list(stimuli.ids)
        arrays = json.loads((out / "meta.json").read_text(encoding="utf-8"))["arrays"]
        assert list(arrays) == MODULES
        for module, entry in arrays.items():
            assert unquote(entry["file"]) == module  # also without meta.json
            assert len(list(out.glob(f"{glob.escape(entry['file'])}.*"))) == 1


@pytest.mark.parametrize("format", [name for name in ("csv", "parquet") if name in FORMATS])
def test_tables_are_read_by_pandas(
    format: str, stimuli: Any, expected: Any, tmp_path: Path
) -> None:
    extract(tmp_path / "out", stimuli, format)
    if format == "csv":
        # The quick parser of pandas may be off by the last bit.
        table = pd.read_csv(tmp_path / "out" / "thin.csv", engine="python")
    else:
        table = pd.read_parquet(tmp_path / "out" / "thin.parquet")
        assert table.attrs == {"module": "thin"}
    wanted = np.asarray(expected["thin"]).reshape(5, -1)
    assert list(table)[:4] == ["id", "target", "class", "f0"]
    assert np.array_equal(table.filter(regex=r"^f\d+$").to_numpy(np.float32), wanted)
    assert table["id"].tolist() == list(stimuli.ids)
    assert table["target"].tolist() == stimuli.targets.tolist()
    assert table["class"].tolist() == [stimuli.classes[k] for k in stimuli.targets]


def test_text_is_read_by_numpy(stimuli: Any, expected: Any, tmp_path: Path) -> None:
    extract(tmp_path / "out", stimuli, "txt")
    thin = np.loadtxt(tmp_path / "out" / "thin.txt", dtype=np.float32)
    assert np.array_equal(thin, np.asarray(expected["thin"]).reshape(5, -1))


def test_zarr_is_read_by_zarr(stimuli: Any, expected: Any, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    extract(tmp_path / "out", stimuli, "zarr")
    array = zarr.open_array(tmp_path / "out" / "thin.zarr", mode="r")
    assert np.array_equal(array[:], expected["thin"])
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == expected["thin"].axes
    assert tuple(array.attrs["file_names"]) == stimuli.ids
    assert array.attrs["module"] == "thin"
    assert array.attrs["targets"] == stimuli.targets.tolist()
    assert tuple(array.attrs["classes"]) == stimuli.classes
    assert array.chunks[0] == 2  # a batch


def test_pt_is_read_by_torch(stimuli: Any, expected: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    extract(tmp_path / "out", stimuli, "pt")
    content = torch.load(tmp_path / "out" / "fc.pt", weights_only=True)
    assert np.array_equal(content["features"], expected["fc"])
    assert content["file_names"] == list(stimuli.ids) and content["module"] == "fc"
    assert content["targets"].tolist() == stimuli.targets.tolist()
    assert content["classes"] == list(stimuli.classes)
    assert tuple(content["axes"]) == expected["fc"].axes


def test_mat_is_read_by_scipy(stimuli: Any, expected: Any, tmp_path: Path) -> None:
    extract(tmp_path / "out", stimuli, "mat")
    content = scipy.io.loadmat(tmp_path / "out" / "thin.mat")
    assert np.array_equal(content["features"], expected["thin"])
    assert content["features"].dtype == np.float32
    assert [cell[0] for cell in content["file_names"][:, 0]] == list(stimuli.ids)
    assert content["targets"][:, 0].tolist() == stimuli.targets.tolist()
    assert [cell[0] for cell in content["classes"][:, 0]] == list(stimuli.classes)
    assert content["module"][0] == "thin"


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "u1", "bool"])
@pytest.mark.parametrize("shape", [(5,), (5, 1), (1, 7), (5, 3), (5, 2, 3, 4)])
def test_both_versions_are_read_back(
    version: str, dtype: str, shape: tuple[int, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if version == "7.3":
        monkeypatch.setattr(mat, "LARGEST", 0)
    monkeypatch.setattr(mat, "BLOCK", 64)  # several blocks
    array = (np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)
    file = tmp_path / "a.mat"
    mat.write_mat(file, array, {"file_names": ["a"], "targets": np.arange(3)})
    assert h5py.is_hdf5(file) == (version == "7.3")
    assert np.array_equal(mat.read_mat(file, shape, array.dtype), array)
    assert np.array_equal(mat.read_mat(file, shape, array.dtype, slice(0, 1)), array[:1])


def octave(lines: list[str], folder: Path) -> None:
    """Run lines in Octave, which must reach the end."""
    assert OCTAVE is not None
    result = subprocess.run(
        [OCTAVE, "--no-gui", "--norc", "--eval", "\n".join([*lines, "disp('all equal')"])],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "all equal" in result.stdout, result.stderr


needs_octave = pytest.mark.skipif(
    OCTAVE is None, reason="Octave (Debian package octave) is not installed"
)


@needs_octave
def test_octave_reads_arrays_of_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    shapes = [(5,), (5, 1), (1, 7), (5, 3), (5, 2, 3, 4)]
    lines = []
    for limit in (mat.LARGEST, 0):
        monkeypatch.setattr(mat, "LARGEST", limit)
        for dtype in ("f4", "f8", "f2", "i4", "u1"):
            for shape in shapes:
                array = (random.standard_normal(shape) * 9).astype(dtype)
                name = f"{limit}-{dtype}-{'x'.join(map(str, shape))}"
                mat.write_mat(tmp_path / f"{name}.mat", array, {"file_names": TEXTS})
                # Octave's own order, written as text to the last digit.
                np.savetxt(tmp_path / f"{name}.txt", array.ravel(order="F").astype("f8"), "%.17g")
                size = " ".join(map(str, shape if len(shape) > 1 else (*shape, 1)))
                lines.append(
                    f"x = load('{name}.mat').features; t = load('{name}.txt');"
                    f"assert(isequal(size(x), [{size}])); assert(isequal(double(x(:)), t));"
                )
    octave(lines, tmp_path)


def spelled(text: str) -> str:
    """Spell a text for Octave, which counts in bytes of UTF-8."""
    return f"char([{' '.join(map(str, text.encode()))}])" if text else "''"


@needs_octave
def test_octave_reads_what_belongs_to_an_array(
    stimuli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"file_names": TEXTS, "module": TEXTS[1], "targets": np.array([2, 0, -5])}
    mat.write_mat(tmp_path / "five.mat", np.eye(3), others)
    lines = ["x = load('five.mat'); assert(isequal(double(x.targets), [2; 0; -5]));",
             f"assert(isequal(x.module, {spelled(TEXTS[1])}));"]  # fmt: skip
    for row, text in enumerate(TEXTS, 1):
        lines.append(f"assert(isequal(x.file_names{{{row}}}, {spelled(text)}));")
    extract(tmp_path / "out", stimuli, "mat")
    monkeypatch.setattr(mat, "LARGEST", 0)
    extract(tmp_path / "out73", stimuli, "mat")
    targets = f"[{'; '.join(map(str, stimuli.targets))}]"
    for folder, module in (("out", "x.module"), ("out73", "char(x.module)")):
        lines.append(f"x = load('{folder}/thin.mat'); assert(isequal({module}, 'thin'));")
        lines.append(f"assert(isequal(double(x.targets), {targets}));")
    lines.append("x = load('out/thin.mat');")
    for name, texts in (("file_names", stimuli.ids), ("classes", stimuli.classes)):
        for row, text in enumerate(texts, 1):
            lines.append(f"assert(isequal(x.{name}{{{row}}}, {spelled(text)}));")
    # What the file of version 7.3 lacks, Octave reads beside it.
    lines.append("n = strsplit(strtrim(fileread('out73/file_names.txt')), char(10));")
    lines += [f"assert(isequal(n{{{row}}}, {spelled(text)}));"
              for row, text in enumerate(stimuli.ids, 1)]  # fmt: skip
    octave(lines, tmp_path)


def test_scipy_reads_texts_of_any_script(tmp_path: Path) -> None:
    mat.write_mat(tmp_path / "a.mat", np.eye(3), {"file_names": TEXTS, "module": TEXTS[3]})
    content = scipy.io.loadmat(tmp_path / "a.mat", chars_as_strings=True)
    assert ["".join(cell) for cell in content["file_names"][:, 0]] == TEXTS
    assert content["module"][0] == TEXTS[3]


def test_an_unfinished_file_is_not_found_under_its_name(numbered: Numbered, tmp_path: Path) -> None:
    from contextlib import closing

    from thingsvision.planning import plan

    for format in FORMATS:
        work = plan(toy_network(), numbered(4), "fc", batch_size=2)
        with closing(STORES[format](tmp_path / format)) as store:
            store.begin(work.request, work.provenance, work.stimuli)
            rows = np.ones((2, 5), np.float32)
            store.write(0, {"fc": rows}, {"fc": ("stimulus", "feature")}, ["0" * 64] * 2)
        names = {path.name for path in (tmp_path / format).iterdir()}
        assert not {"fc.h5", "fc.mat", "fc.txt", "fc.pt", "fc.zarr", "fc.npy"} & names
        with pytest.raises(StoreError, match="unfinished"):
            open_features(tmp_path / format)
