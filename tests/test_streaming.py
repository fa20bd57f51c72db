"""RDMs in one pass are those of stored features, whatever the memory; nothing is left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import thingsvision
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import InvalidArgument, StimulusError, StoreError, ThingsvisionWarning
from thingsvision.extraction import extract_features
from thingsvision.memory import free_memory, read_memory
from thingsvision.rsa import compute_rdm
from thingsvision.stimuli import StimulusSet, load_stimuli
from thingsvision.store import scratch
from thingsvision.streaming import iterate_rdms, stream_rdms
from thingsvision.testing import toy_network

MODULES = ["thin", "double", "split[0]", "fc"]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 16, 12, 3), np.uint8)


# All in memory; one module in a file; all but the smallest, read again and again; and the pairs.
@pytest.mark.parametrize("memory, is_exact", [("1GB", 1), ("92KB", 1), ("30KB", 0), ("20KB", 0)])
@pytest.mark.parametrize(
    "name", ["correlation", "cosine", "euclidean", "squared_euclidean", "gaussian"]
)
def test_the_same_as_from_features(
    images: np.ndarray, tmp_path: Path, memory: str, is_exact: int, name: str
) -> None:
    options: Any = {"batch_size": 7, "seed": 3}
    features = extract_features(toy_network(), images, MODULES, **options)
    rdms = stream_rdms(
        toy_network(), images, MODULES, dissimilarity=name, memory=memory, out=tmp_path / "rdms",
        scratch=tmp_path / "scratch", **options,
    )  # fmt: skip
    assert list(rdms) == list(features)
    assert sorted(path.name for path in (tmp_path / "rdms").iterdir()) == sorted(
        f"{module}.npz" for module in features
    )
    for module in features:
        wanted, found = compute_rdm(features[module], name), rdms[module]
        assert (found.ids, found.dissimilarity, found.name) == (wanted.ids, name, wanted.name)
        assert dict(found.provenance) == dict(wanted.provenance)
        pairs = found.dissimilarities
        if is_exact:
            np.testing.assert_array_equal(pairs, wanted.dissimilarities)
        else:  # float32 products over other blocks
            np.testing.assert_allclose(pairs, wanted.dissimilarities, rtol=2e-6, atol=2e-6)
    assert not (tmp_path / "scratch").exists()


def test_without_a_folder_they_stay_in_memory(images: np.ndarray) -> None:
    with pytest.warns(ThingsvisionWarning, match="Left out: table, unused"):
        rdms = stream_rdms(toy_network(), images, "*", dissimilarity="cosine", memory="1GB")
        features = extract_features(toy_network(), images, "*")
    assert list(rdms) == list(features)
    wanted = compute_rdm(features["noise"], "cosine")
    np.testing.assert_array_equal(rdms["noise"].dissimilarities, wanted.dissimilarities)
    with pytest.raises(InvalidArgument, match="Give a folder as out="):
        stream_rdms(toy_network(), images, "*", memory="20KB")


def test_several_networks_decode_each_image_once(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = StimulusSet.read

    def counting(self: StimulusSet, row: int, *rest: Any) -> Any:
        read.append(row)
        return original(self, row, *rest)

    monkeypatch.setattr(StimulusSet, "read", counting)
    # Of other origin, but with the same steps.
    networks = [toy_network(0), toy_network(1, origin="elsewhere")]
    both = stream_rdms(networks, images, MODULES, batch_size=8)
    assert sorted(read) == list(range(len(images)))
    for network, rdms in zip(networks, both, strict=True):
        features = extract_features(network, images, MODULES, batch_size=8)
        for module in MODULES:
            wanted = compute_rdm(features[module])
            np.testing.assert_array_equal(rdms[module].dissimilarities, wanted.dissimilarities)
            assert dict(rdms[module].provenance) == dict(wanted.provenance)
    assert (both[0]["fc"].dissimilarities != both[1]["fc"].dissimilarities).any()


def test_networks_of_other_preprocessing_take_a_pass_of_their_own(images: np.ndarray) -> None:
    networks = [toy_network(), toy_network(resize=8, crop=8), toy_network(1)]
    modules = [["fc"], ["thin"], ["split[0]", "fc"]]
    found = stream_rdms(networks, images, modules)
    for network, names, rdms in zip(networks, modules, found, strict=True):
        assert list(rdms) == names
        for name in names:
            wanted = compute_rdm(extract_features(network, images, name)[name])
            np.testing.assert_array_equal(rdms[name].dissimilarities, wanted.dissimilarities)


def test_networks_of_one_name_need_others_for_files(images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="called local/toy"):
        stream_rdms([toy_network(0), toy_network(1)], images, "fc", out=tmp_path / "rdms")
    with pytest.raises(InvalidArgument, match="1 list for 2 networks"):
        stream_rdms([toy_network(0), toy_network(1)], images, [["fc"]])


def test_a_module_without_an_rdm_does_not_lose_the_others(
    images: np.ndarray, tmp_path: Path
) -> None:
    images[3] = 100
    with pytest.warns(ThingsvisionWarning, match=r"thin: Correlation is undefined[^\n]* 000003"):
        rdms = stream_rdms(toy_network(), images, MODULES, out=tmp_path)
    assert list(rdms.failed) == ["thin", "double", "split[0]"] and list(rdms) == ["fc"]
    assert [path.name for path in tmp_path.iterdir()] == ["fc.npz"]
    with pytest.raises(InvalidArgument, match="all equal"):
        rdms["thin"]
    with pytest.raises(InvalidArgument, match="no module 'fd'"):
        rdms["fd"]


@pytest.mark.parametrize("memory", ["1GB", "30KB"])
def test_failed_images_end_the_pass_or_are_left_out(
    image_folder: Callable[..., Path], tmp_path: Path, memory: str
) -> None:
    folder = image_folder([f"{row}.png" for row in range(9)])
    rng = np.random.default_rng(0)
    for path in folder.iterdir():
        Image.fromarray(rng.integers(0, 255, (16, 12, 3), np.uint8)).save(path)
    whole = (folder / "4.png").read_bytes()
    (folder / "4.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StimulusError, match="4.png(.|\n)*drop_failed=True"):
        stream_rdms(toy_network(), folder, "*", batch_size=4, memory=memory)
    with pytest.warns(ThingsvisionWarning, match="1 of 9 stimuli failed and were dropped"):
        found = stream_rdms(
            toy_network(), folder, "*", batch_size=4, memory=memory, drop_failed=True,
            out=tmp_path / "rdms",
        )  # fmt: skip
    with pytest.warns(ThingsvisionWarning):
        features = extract_features(toy_network(), folder, "*", batch_size=4)
    for module in features:
        with pytest.warns(ThingsvisionWarning):
            wanted = compute_rdm(features[module], drop_failed=True)
        assert found[module].ids == wanted.ids and "4.png" not in wanted.ids
        assert found[module].provenance["rdm"] == wanted.provenance["rdm"]
        np.testing.assert_allclose(
            found[module].dissimilarities, wanted.dissimilarities, rtol=2e-6, atol=2e-6
        )


class WithNaN(ToyBackend):
    """Gives NaN in the rows of dark images."""

    def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
        found = super().run(model, batch, *args, **options)
        found["thin"][batch.max(axis=(1, 2, 3)) < 10, 0] = np.nan
        return found


@pytest.mark.parametrize("memory", ["1GB", "30KB"])
def test_nan_is_refused_or_dropped(images: np.ndarray, tmp_path: Path, memory: str) -> None:
    images[[0, 5, 39]] //= 40
    network = toy_network(backend=WithNaN())
    options: Any = {"memory": memory, "out": tmp_path / "rdms"}
    with pytest.warns(ThingsvisionWarning, match="local/toy thin: Features have to be finite"):
        assert list(stream_rdms(network, images, MODULES, **options).failed) == ["thin"]
    with pytest.warns(ThingsvisionWarning, match="3 of 40 stimuli hold NaN"):
        found = stream_rdms(network, images, MODULES, nan="drop", **options)
    with pytest.warns(ThingsvisionWarning):
        wanted = compute_rdm(extract_features(network, images, "thin"), nan="drop")
    assert found["thin"].ids == wanted.ids and len(found["fc"]) == 40
    assert found["thin"].provenance["rdm"] == wanted.provenance["rdm"]
    np.testing.assert_allclose(
        found["thin"].dissimilarities, wanted.dissimilarities, rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize("name", ["correlation", "cosine", "euclidean", "gaussian"])
def test_projections_are_as_near_as_they_say(name: str) -> None:
    images = np.random.default_rng(1).integers(0, 255, (60, 96, 96, 3), np.uint8)
    images[30:] = images[:30] // 2 + images[30:] // 3  # some pairs are alike
    exact = stream_rdms(toy_network(), images, "thin", dissimilarity=name)["thin"]
    rdm = stream_rdms(toy_network(), images, "thin", dissimilarity=name, project=400)["thin"]
    assert rdm.dissimilarity == name
    told = rdm.provenance["rdm"]["projected"]
    assert (told["features"], told["components"]) == (48 * 48 * 3, 400)
    ((what, stated),) = [item for item in told.items() if "error" in item[0]]
    error = rdm.dissimilarities - exact.dissimilarities
    if what.startswith("relative"):
        error = error / exact.dissimilarities
        assert np.sqrt(np.mean(error**2)) > stated / 2  # the figure says something
    assert np.sqrt(np.mean(error**2)) < 1.15 * stated
    # Correlations are not taken for cosines, which are far from them where means are not zero.
    assert abs(error.mean()) < stated / 2


def test_projected_rows_that_are_constant_are_still_refused(images: np.ndarray) -> None:
    images[3] = 77
    with pytest.warns(ThingsvisionWarning, match="Correlation is undefined"):
        rdms = stream_rdms(toy_network(), images, ["thin", "fc"], project={"thin": 20})
    assert list(rdms.failed) == ["thin"]


def test_what_cannot_be_done_is_refused_before_the_pass(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyBackend, "run", lambda *_, **__: pytest.fail("the pass began"))

    def refused(message: str, some: Any = images, **options: Any) -> None:
        with pytest.raises(InvalidArgument, match=message):
            stream_rdms(toy_network(), some, "fc", **options)

    refused("mahalanobis needs all features", dissimilarity="mahalanobis")
    refused("Nearest: correlation", dissimilarity="correlaton")
    refused("has no option bandwidth", bandwidth=3.0)
    refused("is no bandwidth", dissimilarity="gaussian", bandwidth=-3.0)
    refused("nan='keep'", nan="keep")
    refused("1 stimulus given; an RDM needs two or more", images[:1])
    refused("is no amount of memory", memory="much")
    with pytest.raises(InvalidArgument, match="No network"):
        stream_rdms([], images, "fc")


def test_a_full_disk_is_an_error_before_the_first_batch_is_kept(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(scratch, "reserve", full)
    with pytest.raises(StoreError, match="project="):
        stream_rdms(toy_network(), images, "*", memory="30KB", scratch=tmp_path, out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_an_end_in_the_middle_keeps_what_is_written_and_no_scratch(
    images: np.ndarray, tmp_path: Path
) -> None:
    place = tmp_path / "scratch"
    coming = iterate_rdms([toy_network()], images, MODULES, memory="20KB", scratch=place)
    assert next(coming).module == "thin"
    coming.close()
    assert not place.exists()


KILLED = """
import os, signal, sys
import numpy as np
from thingsvision.rsa import rdm
from thingsvision import streaming
from thingsvision.testing import toy_network

def stop(path):
    print("stopped", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

original = streaming.save_whole
def second(rdm, path):
    return stop(path) if path.name == "double.npz" else original(rdm, path)
streaming.save_whole = second
images = np.random.default_rng(0).integers(0, 255, (40, 16, 12, 3), np.uint8)
streaming.stream_rdms(toy_network(), images, ["thin", "double"], memory="60KB",
                      scratch=sys.argv[1] + "/scratch", out=sys.argv[1] + "/rdms")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
def test_nothing_is_left_in_scratch_after_a_kill(tmp_path: Path) -> None:
    source = Path(thingsvision.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    assert done.stdout == "stopped\n" and done.returncode == -signal.SIGKILL, done.stderr
    assert not list((tmp_path / "scratch").iterdir())
    assert [path.name for path in (tmp_path / "rdms").iterdir()] == ["thin.npz"]


def test_fast_decoding_is_that_of_extraction(tmp_path: Path) -> None:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (90, 120, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
    network = toy_network().preprocessed(resize=12, crop=(8, 6))
    exact = stream_rdms(network, tmp_path, "fc")["fc"]
    fast = stream_rdms(network, tmp_path, "fc", decode="fast")["fc"]
    wanted = compute_rdm(extract_features(network, tmp_path, "fc", decode="fast")["fc"])
    np.testing.assert_array_equal(fast.dissimilarities, wanted.dissimilarities)
    assert dict(fast.provenance) == dict(wanted.provenance)
    assert fast.provenance["preprocessing"]["decode"] == "fast"
    assert not np.array_equal(fast.dissimilarities, exact.dissimilarities)
    with pytest.raises(InvalidArgument, match="way to decode.*fast"):
        stream_rdms(network, tmp_path, "fc", decode="quick")


def test_texts_and_stimuli_are_taken_as_in_extraction(images: np.ndarray) -> None:
    stimuli = load_stimuli(images)
    rdms = stream_rdms(toy_network(), stimuli, "fc", reduction="flatten")
    assert rdms["fc"].ids == stimuli.ids


def test_amounts_of_memory() -> None:
    assert read_memory("2 GiB") == read_memory("2gb") == read_memory("2048MB") == 2**31
    assert read_memory(None) <= free_memory()
    for wrong in ("-1GB", "0", "GB", True, "1.5.2MB", "3 PB"):
        with pytest.raises(InvalidArgument):
            read_memory(wrong)
