"""verify: what was spoilt on purpose is found, and what was not is right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import thingsvision as tv
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import InvalidArgument, StoreError
from thingsvision.reduction import Reduce
from thingsvision.store import STORES
from thingsvision.testing import toy_network
from thingsvision.verification.verify import OK, UNCHECKED, WRONG, Verification

MODULES = ["thin", "fc", "noise"]
COUNT, BATCH = 7, 2


@pytest.fixture
def images(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    folder = tmp_path / "images"
    for k in range(COUNT):
        path = folder / f"class {k % 2}" / f"é{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (8, 6, 3), np.uint8)).save(path)
    return folder


@pytest.fixture
def folder(tmp_path: Path, images: Path) -> Path:
    out = tmp_path / "features"
    tv.extract_features(toy_network(), images, MODULES, out=out, batch_size=BATCH, seed=3)
    return out


def verify(folder: Path, *args: Any, **options: Any) -> Verification:
    return tv.verify_features(folder, *args, network=toy_network(), **options)


def result(found: Verification, what: str) -> str:
    return next(check.result for check in found.checks if check.what == what)


def says(found: Verification, what: str) -> str:
    return next(check.says for check in found.checks if check.what == what)


def edit_meta(folder: Path, *keys: str, value: Any) -> None:
    file = folder / "meta.json"
    meta = part = json.loads(file.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    file.write_text(json.dumps(meta), encoding="utf-8")


def test_features_as_they_were_written_are_right_to_the_last_bit(folder: Path) -> None:
    found = verify(folder, sample=100)
    assert found.is_right and found.is_complete
    # Also the network's own randomness, which is seeded by the place of a batch in the grid.
    assert found.differences == dict.fromkeys(MODULES, 0.0)
    assert found.rows == tuple(range(COUNT))


@pytest.mark.parametrize("format", STORES)
def test_every_format(tmp_path: Path, images: Path, format: str) -> None:
    out = tmp_path / "out"
    tv.extract_features(toy_network(), images, "fc", out=out, batch_size=BATCH, format=format)
    found = verify(out)
    assert found.is_right and found.is_complete and found.differences == {"fc": 0.0}


def test_a_sample_is_whole_batches_of_the_grid(folder: Path) -> None:
    seen = set()
    for seed in range(20):
        found = verify(folder, sample=3, seed=seed)
        starts = sorted({row // BATCH * BATCH for row in found.rows})
        whole = [row for start in starts for row in range(start, min(start + BATCH, COUNT))]
        assert found.rows == tuple(whole) and len(starts) == 2
        assert found.is_right and set(found.differences.values()) == {0.0}
        seen |= set(starts)
    assert seen == set(range(0, COUNT, BATCH))


def test_a_changed_number_is_found_and_measured(folder: Path) -> None:
    array = np.load(folder / "fc.npy", mmap_mode="r+")
    scale = np.abs(array).max()
    array[4, 2] += 0.5
    found = verify(folder, sample=100)
    assert not found.is_right
    assert result(found, "fc") == WRONG and result(found, "thin") == OK
    assert found.differences["fc"] == pytest.approx(0.5 / scale, rel=1e-4)


def test_last_digits_may_differ_and_more_may_not(folder: Path) -> None:
    array = np.load(folder / "fc.npy", mmap_mode="r+")
    original = array.copy()
    array[:] = original * np.float32(1 + 4e-6)
    edit_meta(folder, "provenance", "versions", "numpy", value="1.0")
    edit_meta(folder, "checksums", value=[])  # of these numbers they are not
    found = verify(folder)
    assert found.is_right and 0 < found.differences["fc"] <= 1e-5
    assert 'numpy was "1.0"' in says(found, "versions")
    array[:] = original * np.float32(1 + 4e-5)
    assert not verify(folder).is_right


def test_zeros_and_nan_are_looked_at_whatever_the_sample(folder: Path) -> None:
    np.load(folder / "thin.npy", mmap_mode="r+")[4] = 0  # what a file system may leave of a row
    found = verify(folder, sample=1)
    assert 4 in found.rows and result(found, "thin") == WRONG
    np.load(folder / "thin.npy", mmap_mode="r+")[4, 0, 0] = np.nan
    found = verify(folder, sample=1)
    assert "NaN or infinity in 1 row: class 1/é1.png" in says(found, "numbers")
    assert found.differences["thin"] == np.inf


def test_nan_that_the_network_gives_is_right(tmp_path: Path) -> None:
    class Infinite(ToyBackend):
        def run(self, *args: Any, **options: Any) -> dict[str, Any]:
            return {name: array / 0 for name, array in super().run(*args, **options).items()}

    images = np.random.default_rng(0).integers(1, 255, (3, 8, 6, 3), np.uint8)
    network = toy_network(backend=Infinite())
    with np.errstate(all="ignore"), pytest.warns(match="NaN or infinity"):
        tv.extract_features(network, images, "fc", out=tmp_path)
    with np.errstate(all="ignore"):
        found = tv.verify_features(tmp_path, images, network=network)
    assert found.is_right and "3 rows" in says(found, "numbers")


def test_changed_images_are_named_and_the_rest_is_checked(folder: Path, images: Path) -> None:
    Image.new("RGB", (6, 8), "red").save(images / "class 1" / "é1.png")
    found = verify(folder, sample=100)
    assert result(found, "stimuli") == WRONG
    assert says(found, "stimuli") == "1 image changed since: class 1/é1.png"
    row = next(k for k, name in enumerate(tv.open_features(folder)["fc"].ids) if "é1" in name)
    assert row not in found.rows and found.rows
    assert set(found.differences.values()) == {0.0}


def test_images_that_moved(folder: Path, images: Path, tmp_path: Path) -> None:
    images.rename(tmp_path / "elsewhere")
    found = verify(folder)
    assert found.is_right and not found.is_complete
    assert result(found, "stimuli") == UNCHECKED and "--images" in says(found, "stimuli")
    assert verify(folder, tmp_path / "elsewhere").is_complete
    for k, path in enumerate(sorted((tmp_path / "elsewhere").rglob("*.png"))):
        path.rename(tmp_path / "elsewhere" / f"renamed{9 - k}.png")  # found by what is in them
    found = verify(folder, tmp_path / "elsewhere", sample=100)
    assert found.is_complete and set(found.differences.values()) == {0.0}


def test_ids_that_are_no_paths(tmp_path: Path, images: Path) -> None:
    paths = sorted(images.rglob("*.png"))[::-1]
    stimuli = tv.load_stimuli(paths, ids=[f"s{k}" for k in range(COUNT)])
    features = tv.extract_features(toy_network(), stimuli, "fc", out=tmp_path / "out")
    assert features.provenance["origin"] == {"kind": "files", "root": str(images)}
    found = verify(tmp_path / "out")
    assert found.is_complete and found.is_right and found.differences == {"fc": 0.0}


def test_images_in_an_hdf5_file(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (9, 8, 6, 3), np.uint8)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["stimuli"] = pictures
    stimuli = tv.load_stimuli(tmp_path / "images.h5", rows=[5, 1, 7])
    tv.extract_features(toy_network(), stimuli, "fc", out=tmp_path / "out")
    found = verify(tmp_path / "out")
    assert found.is_complete and found.is_right and found.differences == {"fc": 0.0}


def test_arrays_must_be_given_again(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, 8, 6, 3), np.uint8)
    tv.extract_features(toy_network(), pictures, "fc", out=tmp_path)
    found = verify(tmp_path)
    assert found.is_right and "they were arrays" in says(found, "stimuli")
    assert verify(tmp_path, pictures).is_complete
    assert not verify(tmp_path, 255 - pictures).is_right


def test_tables_that_were_changed(folder: Path) -> None:
    names = folder / "file_names.txt"
    whole = names.read_text(encoding="utf-8")
    names.write_text("\n".join(whole.splitlines()[::-1]) + "\n", encoding="utf-8")
    assert says(verify(folder), "rows") == "file_names.txt does not name the rows"
    names.write_text(whole, encoding="utf-8")
    table = folder / "stimuli.csv"
    text = table.read_text(encoding="utf-8")
    digests = [line.split(",")[4] for line in text.splitlines()[1:]]
    table.write_text(text.replace(digests[0], digests[1], 1), encoding="utf-8")
    assert "digests in stimuli.csv were changed" in says(verify(folder), "rows")
    table.write_text(text.replace("é1", "é9"), encoding="utf-8")
    found = verify(folder)
    assert result(found, "files") == WRONG and "its ids" in says(found, "files")


def test_files_that_are_gone_or_cut(folder: Path) -> None:
    data = (folder / "fc.npy").read_bytes()
    (folder / "fc.npy").write_bytes(data[:-4])
    assert not verify(folder).is_right
    (folder / "fc.npy").unlink()
    assert "missing or damaged" in says(verify(folder), "files")
    with pytest.raises(StoreError, match="There is no folder"):
        verify(folder / "none")


def test_an_unfinished_store_is_not_right(folder: Path) -> None:
    edit_meta(folder, "status", value="unfinished")
    assert "unfinished" in says(verify(folder), "files")


def test_other_weights_are_no_base_for_a_comparison(folder: Path) -> None:
    found = tv.verify_features(folder, network=toy_network(seed=9))
    assert result(found, "network") == WRONG and not found.differences


def test_a_model_of_ones_own_has_no_name_to_be_loaded_by(tmp_path: Path, images: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    network = tv.wrap_model(model, tv.Preprocessing(), name="mine")
    tv.extract_features(network, images, "0", out=tmp_path / "out")
    found = tv.verify_features(tmp_path / "out")
    assert found.is_right and not found.is_complete
    assert "network=wrap_model" in says(found, "network")
    assert [result(found, what) for what in ("files", "rows", "numbers", "stimuli")] == [OK] * 4
    # Its preprocessing is taken from the record.
    other = tv.wrap_model(model, tv.Preprocessing(divisor=3.0))
    again = tv.verify_features(tmp_path / "out", network=other)
    assert again.is_complete and again.differences["0"] <= 1e-6


def test_a_network_is_loaded_with_all_its_settings(tmp_path: Path, images: Path) -> None:
    network = tv.load_model("torchvision/squeezenet1_1", False, seed=5, init="orthogonal")
    network = network.preprocessed(resize=70, crop=64)
    tv.extract_features(
        network, images, ["features.0", "features.3", "output"], out=tmp_path / "out",
        reduction={"features.3": "mean"}, project={"features.0": 20}, batch_size=3, seed=4,
    )  # fmt: skip
    found = tv.verify_features(tmp_path / "out", sample=6)
    assert found.is_right and found.is_complete, str(found)
    assert set(found.differences.values()) == {0.0} and len(found.rows) >= 4
    assert "torchvision/squeezenet1_1, the same weights" in says(found, "network")


def test_weights_of_ones_own(tmp_path: Path, images: Path) -> None:
    weights = tmp_path / "mine.pth"
    network = tv.load_model("torchvision/squeezenet1_1", False, seed=5)
    torch.save(network.model.state_dict(), weights)
    mine = tv.load_model("torchvision/squeezenet1_1", weights=weights)
    mine = mine.preprocessed(resize=70, crop=64)
    tv.extract_features(mine, images, "features.3", out=tmp_path / "out")
    assert tv.verify_features(tmp_path / "out").is_complete
    other = tv.load_model("torchvision/squeezenet1_1", False, seed=6)
    torch.save(other.model.state_dict(), weights)
    found = tv.verify_features(tmp_path / "out")
    assert result(found, "network") == WRONG and "other weights" in says(found, "network")
    weights.unlink()
    found = tv.verify_features(tmp_path / "out")
    assert result(found, "network") == UNCHECKED and "mine.pth" in says(found, "network")
    assert found.is_right


def test_a_function_in_a_file(tmp_path: Path, images: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import thingsvision as tv\nfrom torch import nn\n"
        "def make():\n    return tv.wrap_model(nn.Conv2d(3, 2, 3), tv.Preprocessing())\n"
    )
    network = tv.load_model(f"{tmp_path / 'nets.py'}:make", seed=8)
    tv.extract_features(network, images, "output", out=tmp_path / "out")
    assert tv.verify_features(tmp_path / "out").is_complete


def test_texts(tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason="the extra 'openclip' is absent")
    network = tv.load_model("openclip/RN50", pretrained=False)
    tv.extract_features(network, tv.load_texts(["a cat", "ein Käse"]), "text", out=tmp_path / "a")
    found = tv.verify_features(tmp_path / "a")
    assert found.is_complete and found.differences == {"text": 0.0}, str(found)
    named = tv.load_texts(["a cat", "ein Käse"], ids=["1", "2"])
    tv.extract_features(network, named, "text", out=tmp_path / "b")
    assert result(tv.verify_features(tmp_path / "b", network=network), "stimuli") == UNCHECKED
    assert tv.verify_features(tmp_path / "b", named, network=network).is_complete


def test_a_network_that_computes_otherwise_now(folder: Path) -> None:
    class Otherwise(ToyBackend):
        def run(self, model: Any, batch: Any, captures: Any, reductions: dict[str, Reduce],
                **options: Any) -> dict[str, Any]:  # fmt: skip
            found = super().run(model, batch, captures, reductions, **options)
            return {name: array * np.float32(1.01) for name, array in found.items()}

    found = tv.verify_features(folder, network=toy_network(backend=Otherwise()))
    assert not found.is_right
    assert found.differences["fc"] == pytest.approx(0.01 / 1.01, rel=1e-3)


def test_the_sample_may_be_nothing_but_not_less(folder: Path) -> None:
    found = verify(folder, sample=0)
    assert found.is_right and not found.is_complete and found.rows == ()
    with pytest.raises(InvalidArgument, match="sample is -1"):
        verify(folder, sample=-1)


def test_nothing_is_written(folder: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*"))}
    verify(folder)
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*"))} == before


def test_a_store_that_moved_is_verified_where_it_is(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "moved")
    assert verify(tmp_path / "moved").is_complete


def test_rows_of_images_that_failed_are_left_out(tmp_path: Path, images: Path) -> None:
    broken = images / "class 1" / "é3.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.warns(match="could not be decoded"):
        features = tv.extract_features(toy_network(), images, "fc", out=tmp_path / "out")
    assert list(features.failures) == ["class 1/é3.png"]
    found = verify(tmp_path / "out")
    assert found.is_right and found.failed == ("class 1/é3.png",)
    assert "1 image could not be decoded" in says(found, "numbers")
    assert "could not be decoded" in tv.describe_methods(tmp_path / "out")
