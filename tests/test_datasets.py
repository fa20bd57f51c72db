from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import thingsvision as tv
from thingsvision import datasets
from thingsvision.errors import InvalidArgument, UnknownName

pytest.importorskip("pooch", reason="pooch is not installed")


@pytest.fixture
def local(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the fetcher find the files beside the repository."""
    monkeypatch.setenv(datasets.VARIABLE, str(shared))
    datasets._pooch.cache_clear()
    yield shared
    datasets._pooch.cache_clear()


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(datasets.VARIABLE, str(tmp_path))
    datasets._pooch.cache_clear()
    yield tmp_path
    datasets._pooch.cache_clear()


def fetched(name: str) -> datasets.Dataset:
    return tv.fetch_dataset(name)


def test_the_92_objects(local: Path) -> None:
    data = fetched("objects92")
    assert {name: len(rdms) for name, rdms in data.rdms.items()} == {
        "human IT": 4, "human IT group": 1, "monkey IT": 1, "behaviour": 16,
        "behaviour group": 1,
    }  # fmt: skip
    assert data.stimuli is not None and len(data.stimuli) == 92
    assert all(rdm.ids == data.stimuli.ids for rdms in data.rdms.values() for rdm in rdms)
    human, monkey = data.rdms["human IT group"][0], data.rdms["monkey IT"][0]
    # Kriegeskorte et al. 2008; as measured on these files.
    assert tv.compare_rdms(human, monkey, "spearman") == pytest.approx(0.439, abs=0.001)
    mean = np.mean([rdm.dissimilarities for rdm in data.rdms["human IT"]], axis=0)
    assert spearmanr(mean, human.dissimilarities).statistic == pytest.approx(1, abs=1e-3)
    assert np.asarray(data.stimuli.image(0)).shape == (175, 175, 3)
    assert "10.1016/j.neuron.2008.10.043" in data.citation
    # ids say the category, so an animate-inanimate split must agree with both brains
    animate = np.array(["animal" in name or "human" in name for name in data.stimuli.ids])
    assert 40 < animate.sum() < 60


def test_the_78_photographs(local: Path) -> None:
    data = fetched("fmri78")
    assert {name: len(rdms) for name, rdms in data.rdms.items()} == {"EVC": 15, "IT": 15}
    assert data.stimuli is not None and data.stimuli.ids[0] == "image_01.jpg"
    with np.load(local / "fmri78" / "fmri_IT_RDMs.npz") as arrays:
        np.testing.assert_allclose(data.rdms["IT"][3].square(), arrays["arr_0"][3], atol=1e-6)


def test_things(local: Path) -> None:
    data = fetched("things48")
    (human,) = data.rdms["odd one out"]
    embedding = np.asarray(data.features["SPoSE of the 48"])
    similarity = embedding @ embedding.T
    upper = np.triu_indices(48, 1)
    rho = spearmanr(similarity[upper], 1 - human.dissimilarities).statistic
    assert rho == pytest.approx(0.878, abs=0.01)
    assert human.ids == data.features["SPoSE of the 48"].ids
    assert data.features["SPoSE"].shape == (1854, 66)


def test_every_digest_is_that_of_the_file_beside_us(shared: Path) -> None:
    lines = (Path(datasets.__file__).parent / "datasets.txt").read_text().splitlines()[1:]
    assert len(lines) == 86
    for line in lines:
        file, digest, address = line.split()
        assert digest == "sha256:" + hashlib.sha256((shared / file).read_bytes()).hexdigest()
        assert address.startswith("https://") and address.endswith(Path(file).name)


def test_a_file_is_fetched_and_checked(nothing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a local address, since tests use no network."""
    published = nothing / "published.mat"
    published.write_bytes(b"as published")
    digest = hashlib.sha256(b"as published").hexdigest()
    registry = datasets._pooch()
    file = "things/RDM48_triplet.mat"
    monkeypatch.setitem(registry.urls, file, "http://127.0.0.1:9/nothing")
    with pytest.raises(InvalidArgument, match=r"cannot be had.*THINGSVISION_DATA"):
        datasets._fetch(file)

    def downloader(url: str, out: str, pooch: object) -> None:
        Path(out).write_bytes(published.read_bytes())

    monkeypatch.setattr(registry, "retry_if_failed", 0)
    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar=False: downloader)
    with pytest.raises(InvalidArgument, match="hash"):
        datasets._fetch(file)
    assert not (nothing / file).exists()
    monkeypatch.setitem(registry.registry, file, f"sha256:{digest}")
    assert datasets._fetch(file).read_bytes() == b"as published"


def test_unknown_names() -> None:
    assert tv.list_datasets() == ["fmri78", "objects92", "things48"]
    with pytest.raises(UnknownName, match="dataset 'object92'. Nearest: objects92"):
        fetched("object92")
