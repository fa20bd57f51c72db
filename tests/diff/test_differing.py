"""diff: each cause is made on purpose, and must be the one that is named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import thingsvision as tv
from thingsvision.diff.reading import read_given
from thingsvision.diff.rows import join_rows, match_rows
from thingsvision.diff.values import as_bfloat16
from thingsvision.errors import InvalidArgument
from thingsvision.features import Features
from thingsvision.store.array_files import write_array
from thingsvision.store.parts import split_array
from thingsvision.testing import toy_network

COUNT = 12
MAPS = np.random.default_rng(0).standard_normal((COUNT, 6, 4, 4)).astype(np.float32)
ROWS = MAPS.reshape(COUNT, -1)
IDS = tuple(f"class {k % 3}/image{k}.jpg" for k in range(COUNT))

CAUSES: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], str]] = {
    "rectified": (lambda x: np.maximum(x, 0), "B is A after a ReLU"),
    "unit": (lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), "length one (L2)"),
    "scaled": (lambda x: x * 0.25, "B is 0.25 times A"),
    "float16": (lambda x: x.astype(np.float16), "B is A rounded to float16"),
    "bfloat16": (lambda x: torch.from_numpy(x).bfloat16().float().numpy(), "rounded to bfloat16"),
    "centred": (lambda x: x - x.mean(axis=0), "mean over stimuli removed"),
    "z-scored": (lambda x: (x - x.mean(axis=0)) / x.std(axis=0), "linear function of A's"),
    "z-scored rows": (
        lambda x: (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True), "Each row of B",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_what_was_done_to_the_numbers_is_named(cause: str) -> None:
    change, words = CAUSES[cause]
    found = tv.diff_features(ROWS + 0.5, change(ROWS + np.float32(0.5)))
    assert not found.agree
    [finding] = found.about("values")
    assert words in finding.says
    assert finding.figure is not None and finding.figure < 1e-5


@pytest.mark.parametrize("cause", ["rectified", "unit", "float16", "bfloat16"])
def test_and_the_other_way_round(cause: str) -> None:
    change, words = CAUSES[cause]
    [finding] = tv.diff_features(change(ROWS), ROWS).about("values")
    swapped = words.replace("B is A", "A is B")
    assert swapped in finding.says


def test_the_same_features_agree() -> None:
    assert tv.diff_features(ROWS, ROWS.copy()).agree
    found = tv.diff_features(ROWS, ROWS * np.float32(1 + 2e-6))
    assert found.agree
    assert "last digits" in found.about("values")[0].says


LAYOUTS: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], str]] = {
    "channels last": (lambda x: x.transpose(0, 2, 3, 1), "height, width, channel"),
    "flat, channels last": (
        lambda x: x.transpose(0, 2, 3, 1).reshape(len(x), -1), "height, width, channel",
    ),
    "mean": (lambda x: x.mean(axis=(2, 3)), "averaged over height, width"),
    "max": (lambda x: x.max(axis=(2, 3)), "largest over height, width"),
    "mean of a ReLU": (lambda x: np.maximum(x.max(axis=(2, 3)), 0), "largest over height, width"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_layout_is_named(layout: str) -> None:
    change, words = LAYOUTS[layout]
    found = tv.diff_features(MAPS, change(MAPS))
    assert not found.agree
    assert any(words in f.says for f in found.findings)
    assert found.about("shape")


def test_flat_rows_of_both_layouts_need_no_axes() -> None:
    other = MAPS.transpose(0, 2, 3, 1).reshape(COUNT, -1)
    [finding] = tv.diff_features(ROWS, other).about("layout")
    assert "4 × 4 × 6 (channels last, NHWC)" in finding.says
    [finding] = tv.diff_features(other, ROWS).about("layout")
    assert "6 × 4 × 4 (channels first, NCHW)" in finding.says


def test_the_cls_token_and_the_mean_of_patches() -> None:
    tokens = np.random.default_rng(1).standard_normal((COUNT, 5, 8))
    [finding] = tv.diff_features(tokens, tokens[:, 0]).about("layout")
    assert "(CLS)" in finding.says
    [finding] = tv.diff_features(tokens, tokens[:, 1:].mean(axis=1)).about("layout")
    assert "without the first" in finding.says


@pytest.mark.parametrize("flat", [False, True])
def test_rows_in_another_order_are_found_by_their_numbers(flat: bool) -> None:
    order = np.random.default_rng(2).permutation(COUNT)
    other = (MAPS.transpose(0, 2, 3, 1) if flat else MAPS).reshape(COUNT, -1)[order]
    found = tv.diff_features(Features(MAPS, IDS, "conv"), other)
    [finding] = found.about("order")
    assert f"row 0 of B is row {order[0]} of A ({IDS[order[0]]})" in finding.says
    assert finding.figure == pytest.approx(np.mean(order != np.arange(COUNT)))


def test_rows_are_found_also_after_a_change_of_their_numbers() -> None:
    order = np.roll(np.arange(COUNT), 1)
    found = match_rows(ROWS, np.maximum(ROWS, 0)[order])
    assert found is not None and found.tolist() == order.tolist()
    [finding] = tv.diff_features(ROWS, np.maximum(ROWS, 0)[order]).about("values")
    assert "In that order: B is A after a ReLU" in finding.says
    assert match_rows(ROWS, np.random.default_rng(3).standard_normal(ROWS.shape)) is None


def test_the_order_of_sorted_names_is_recognised() -> None:
    ids = tuple(f"image{k}.jpg" for k in range(COUNT))
    order = sorted(range(COUNT), key=lambda k: ids[k])
    [finding] = tv.diff_features(Features(ROWS, ids), ROWS[order]).about("order")
    assert "sorted as texts" in finding.says


def test_rows_are_compared_by_id() -> None:
    order = np.random.default_rng(2).permutation(COUNT)
    other = Features(ROWS[order], tuple(IDS[k] for k in order), "features")
    found = tv.diff_features(Features(ROWS, IDS, "features"), other)
    assert found.about("values")[0].figure == 0
    assert "another order" in found.about("order")[0].says


def test_ids_that_name_the_wrong_rows() -> None:
    found = tv.diff_features(Features(ROWS, IDS), Features(ROWS[::-1], IDS))
    assert "ids of one of them name the wrong rows" in found.about("order")[0].says


def test_single_rows_that_differ_are_named() -> None:
    other = ROWS.copy()
    other[[2, 5]] += 1
    found = tv.diff_features(Features(ROWS, IDS), Features(other, IDS))
    [finding] = found.about("rows")
    assert finding.figure == 2
    assert IDS[2] in finding.says and IDS[5] in finding.says and IDS[3] not in finding.says
    other[5] = np.nan
    assert tv.diff_features(Features(ROWS, IDS), Features(other, IDS)).about("rows")[0].figure == 2


def test_ids_that_one_side_lacks() -> None:
    found = tv.diff_features(Features(ROWS, IDS), Features(ROWS[2:], IDS[2:]))
    assert not found.agree
    [finding] = found.about("ids")
    assert finding.says.startswith("2 ids in A alone") and finding.figure == 2
    nothing = tv.diff_features(Features(ROWS, IDS), ROWS[1:])
    assert not nothing.agree and "nothing joins them" in str(nothing)


def test_what_is_not_known_is_measured() -> None:
    noise = np.random.default_rng(4).standard_normal(ROWS.shape)
    [finding] = tv.diff_features(ROWS, ROWS + 0.2 * noise).about("preprocessing")
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(ROWS, ROWS + 0.2 * noise)])  # noqa: B905
    assert f"correlate with {expected:.4f}" in finding.says
    assert tv.diff_features(ROWS, noise).about("module")
    assert tv.diff_features(ROWS, ROWS + 0.003 * noise).about("precision")


def test_another_module_is_named() -> None:
    a = {"conv": MAPS, "relu": np.maximum(MAPS, 0), "fc": ROWS[:, :7]}
    a = {name: Features(array, IDS, name) for name, array in a.items()}
    found = tv.diff_features(tv.FeatureSet(a), Features(np.asarray(a["fc"]), IDS, "features"))
    assert "B's 'features' is A's 'fc'" in found.about("module")[0].says
    swapped = tv.FeatureSet({"fc": Features(MAPS, IDS, "fc")})
    found = tv.diff_features(tv.FeatureSet(a), swapped)
    assert "holds what A has as 'conv'" in found.about("module")[0].says


def test_records_are_compared(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 6, 3), np.uint8)
    a = tv.extract_features(toy_network(0), images, "fc", out=tmp_path / "a")
    b = tv.extract_features(toy_network(1, divisor=2.0), images, "fc", out=tmp_path / "b")
    found = tv.diff_features(tmp_path / "a", tmp_path / "b")
    digests = (network["weights"]["digest"] for network in (a.provenance, b.provenance))
    assert all(digest in found.about("weights")[0].says for digest in digests)
    assert found.about("preprocessing")[0].says == "preprocessing.divisor: 1.0 in A, 2.0 in B"
    assert not tv.diff_features(tmp_path / "a", tmp_path / "a").about("weights")


def test_preprocessing_makes_small_systematic_differences(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for k in range(8):
        small = generator.integers(0, 255, (5, 5, 3), np.uint8)
        Image.fromarray(small).resize((90, 70), Image.Resampling.BICUBIC).save(
            tmp_path / f"{k}.png"
        )
    network = tv.load_model("torchvision/squeezenet1_1", pretrained=False)
    network = network.preprocessed(resize=64, crop=56)
    other = network.preprocessed(interpolation="nearest")
    a, b = (tv.extract_features(n, tmp_path, "features.4", flatten=True) for n in (network, other))
    found = tv.diff_features(a, b)
    assert [f.about for f in found.findings].count("preprocessing") >= 2
    assert any("bilinear" in f.says and "nearest" in f.says for f in found.findings)
    assert any("Small but systematic" in f.says for f in found.findings)


def test_images_without_features_are_named_and_left_out(tmp_path: Path) -> None:
    for k in range(6):
        pixels = np.random.default_rng(k).integers(0, 255, (8, 6, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    whole = tv.extract_features(toy_network(), tmp_path, "fc", batch_size=2)
    broken = tmp_path / "3.png"
    broken.write_bytes(broken.read_bytes()[:-40])
    with pytest.warns(match="could not be decoded"):
        part = tv.extract_features(toy_network(), tmp_path, "fc", batch_size=2)
    for a, b, side in ((part, whole, "A"), (whole, part, "B")):
        found = tv.diff_features(a, b)
        assert not found.agree
        [failed] = found.about("failed")
        assert f"1 image could not be decoded and has no features in {side}: 3.png" in failed.says
        assert [f.says for f in found.about("values")] == ["The same to the last bit"]
    nothing = part["fc"].select(["3.png"])
    assert not tv.diff_features(nothing, nothing).agree


def test_another_precision_is_not_taken_for_other_preprocessing() -> None:
    features = tv.extract_features(toy_network(), np.zeros((9, 8, 6, 3), np.uint8), "fc")["fc"]
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((9, 400)).astype(np.float32)
    coarse = exact + 0.03 * rng.standard_normal((9, 400)).astype(np.float32)
    made = dict(features.provenance)
    a = Features(exact, features.ids, "fc", ("feature",), provenance=made)
    b = Features(
        coarse, features.ids, "fc", ("feature",), provenance={**made, "precision": "bfloat16"}
    )
    assert tv.diff_features(a, b).about("precision")[-1].says.startswith("Small differences")
    assert not tv.diff_features(a, b).about("preprocessing")


def test_what_only_some_rows_agree_on_is_no_explanation() -> None:
    rows = np.random.default_rng(0).standard_normal((100, 40)).astype(np.float32)
    other = rows + np.float32(0.5) * (np.arange(100) % 3)[:, None]
    some = np.linspace(0, 99, 8).astype(int)  # those that are looked at first
    other[some] = as_bfloat16(rows[some])
    found = tv.diff_features(rows, other)
    assert not found.agree and not found.about("values")
    assert found.about("module") or found.about("preprocessing")


FOREIGN = ("npy", "hdf5", "mat", "txt", "pt")


@pytest.mark.parametrize("format", FOREIGN)
def test_folders_of_versions_1_and_2(tmp_path: Path, format: str) -> None:
    (tmp_path / "file_names.txt").write_text("".join(f"{name}\n" for name in IDS))
    write_array(tmp_path, "features", ROWS, format)
    found = tv.diff_features(Features(ROWS, IDS, "conv"), tmp_path)
    assert found.about("values")[0].figure < 1e-6
    assert read_given(tmp_path).ids == IDS


def test_a_folder_of_parts(tmp_path: Path) -> None:
    (tmp_path / "file_names.txt").write_text("".join(f"{name}\n" for name in IDS))
    split_array(tmp_path, "features", ROWS, "npy", 3)
    np.testing.assert_array_equal(read_given(tmp_path).arrays["features"], ROWS)


@pytest.mark.parametrize("per", ["image", "layer"])
def test_folders_of_net2brain(tmp_path: Path, per: str) -> None:
    layers = {"conv": MAPS, "fc": ROWS[:, :7]}
    stems = [f"image{k}" for k in range(COUNT)]
    if per == "image":
        for k, stem in enumerate(stems):
            np.savez(tmp_path / f"{stem}.npz", **{n: x[k : k + 1] for n, x in layers.items()})
    else:
        for name, x in layers.items():
            rows = {stem: x[k : k + 1] for k, stem in enumerate(stems)}
            np.savez_compressed(tmp_path / f"{name}.npz", **rows)
    ours = tv.FeatureSet({name: Features(x, IDS, name) for name, x in layers.items()})
    found = tv.diff_features(ours, tmp_path)
    assert "file name without suffix" in found.about("ids")[0].says
    assert [f.figure for f in found.about("values")] == [0, 0]


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    for path in (tmp_path, tmp_path / "none", tmp_path / "thesis.doc"):
        with pytest.raises(InvalidArgument):
            tv.diff_features(path, ROWS)


@pytest.mark.parametrize(
    ("a", "b", "by"),
    [
        (["x/1.jpg", "x/2.jpg"], ["x/2.jpg", "x/1.jpg"], "id"),
        (["x\\1.jpg", "x/é.jpg"], ["x/1.jpg", "x/é.jpg"], "id"),
        (["x/1.jpg", "x/2.jpg"], ["/data/1.jpg"], "file name"),
        (["x/1.jpg", "x/2.jpg"], ["2", "1"], "file name without suffix"),
    ],
)
def test_names_are_joined_in_the_strictest_spelling_that_agrees(
    a: list[str], b: list[str], by: str
) -> None:
    join = join_rows(a, b)
    assert join is not None and join.by == by


def test_names_that_would_collide_are_not_joined() -> None:
    assert join_rows(["x/1.jpg", "y/1.jpg"], ["1.jpg"]) is None


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True))
def test_bfloat16_rounds_as_torch_does(number: float) -> None:
    found = as_bfloat16(np.array([number]))[0]
    wanted = float(torch.tensor([number], dtype=torch.float32).bfloat16().float()[0])
    assert struct.pack("d", found) == struct.pack("d", wanted)
