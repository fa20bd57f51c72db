"""rdm with a network and images: the same as extract and rdm, without what lies between."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import thingsvision as tv

from .conftest import Run

NET = "torchvision/squeezenet1_1"


def test_all_modules_in_one_pass(run: Run, place: Path) -> None:
    wanted = ("-m", "features.3", "-m", "features.1?", "--random")
    assert run("extract", NET, "images", *wanted, "-o", "out").code == 0
    assert run("rdm", "out", "-o", "two-steps").code == 0
    result = run("rdm", NET, "images", *wanted, "-o", "one-step", "--memory", "1MB", "--json")
    assert result.code == 0, result.err
    assert "do not fit the memory" in result.err
    rows = json.loads(result.out)
    assert [row["module"] for row in rows] == list(tv.open_features("out"))
    assert sorted(p.name for p in Path("one-step").iterdir()) == sorted(
        p.name for p in Path("two-steps").iterdir()
    )
    for row in rows:
        found, expected = tv.load_rdm(row["file"]), tv.load_rdm(f"two-steps/{row['module']}.npz")
        assert (found.ids, found.name) == (expected.ids, expected.name)
        np.testing.assert_allclose(found.dissimilarities, expected.dissimilarities, atol=2e-6)
        assert row["mean"] == pytest.approx(found.dissimilarities.mean())


def test_one_module_to_one_file_and_a_figure(run: Run, place: Path) -> None:
    result = run("rdm", NET, "images", "-m", "features.3", "--random", "-o", "one.npy",
                 "--plot", "one.png", "--images", "images")  # fmt: skip
    assert result.code == 0, result.err
    features = tv.extract_features(tv.load_model(NET, False, seed=0), "images", "features.3")
    wanted = tv.compute_rdm(features["features.3"])
    np.testing.assert_array_equal(np.load("one.npy"), wanted.dissimilarities)
    assert Path("one.png").is_file()


def test_two_networks_in_folders_of_their_own(run: Run, place: Path) -> None:
    result = run("rdm", NET, "images", "-m", "features.3", "--random", "--project", "100",
                 "--model", "torchvision/squeezenet1_0@features.?", "-o", "two")  # fmt: skip
    assert result.code == 0, result.err
    assert Path(f"two/{NET}/features.3.npz").is_file()
    assert len(list(Path("two/torchvision/squeezenet1_0").iterdir())) == 10
    assert "projected" in result.out and max(map(len, result.out.splitlines())) <= 80
    told = tv.load_rdm(f"two/{NET}/features.3.npz").provenance["rdm"]["projected"]
    assert told["error (s.d., at most)"] == 0.1
    same = run("rdm", NET, "images", "-m", "features.3", "--random", "--model", NET, "-o", "two")
    assert same.code == 1 and "Several networks are called" in same.err


def test_modules_that_fail_are_named_at_the_end(run: Run, place: Path) -> None:
    Image.new("RGB", (30, 30)).save("images/black.png")
    Path("networks.py").write_text(
        "import thingsvision as tv\nfrom torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.ReLU(), nn.Conv2d(3, 4, 5))\n"
        "def make_network():\n"
        "    return tv.wrap_model(Net(), tv.Preprocessing(resize=32, crop=24))\n"
    )
    result = run("rdm", "networks.py:make_network", "images", "-m", "*", "-o", "rdms")
    assert result.code == 1
    assert [path.name for path in Path("rdms").iterdir()] == ["1.npz"]
    said = " ".join(result.err.split())
    assert "The RDMs of 1 module are not defined" in said and "black.png" in said


def test_fast_decoding(run: Run, place: Path) -> None:
    result = run("rdm", NET, "images", "-m", "output", "--random", "-o", "fast.npz",
                 "--decode", "fast")  # fmt: skip
    assert result.code == 0, result.err
    found = tv.load_rdm("fast.npz")
    network = tv.load_model(NET, False, seed=0)
    wanted = tv.stream_rdms(network, "images", "output", decode="fast")["output"]
    np.testing.assert_array_equal(found.dissimilarities, wanted.dissimilarities)
    assert found.provenance["preprocessing"]["decode"] == "fast"
    unknown = run("rdm", NET, "images", "-m", "output", "--random", "--decode", "quick")
    assert unknown.code == 2 and "no way to decode 'quick'" in unknown.err
    stored = run("rdm", "out", "--decode", "fast")
    assert "--decode: only with a network and images" in " ".join(stored.err.split())


def test_mistakes_are_explained(run: Run, place: Path) -> None:
    def refused(*words: str) -> str:
        result = run("rdm", *words)
        assert result.code in (1, 2), result.out
        return " ".join(result.err.split())

    assert "Say which modules" in refused(NET, "images", "--random")
    assert "is no amount of memory" in refused(NET, "images", "-m", "*", "--memory", "much")
    assert "--repeats and --covariance need all" in refused(
        NET, "images", "-m", "*", "--covariance", "diag"
    )
    assert "needs all features of a module at once" in refused(
        NET, "images", "-m", "features.3", "--random", "--dissimilarity", "mahalanobis"
    )
    said = refused("out", "--random", "--batch-size", "3")
    assert "--random, --batch-size: only with a network and images" in said
    assert "is one file, for 2 networks" in refused(
        NET, "images", "-m", "features.3", "--random", "--model", NET, "-o", "one.npz"
    )


def test_a_refused_command_leaves_nothing_behind(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(place.rglob("*"))
    words = ("rdm", NET, "images", "--random", "-o", "new/rdms", "--scratch", "scratch/here")
    several = run(*words, "-m", "features.*", "--plot", "one.png")
    assert several.code == 1 and "--plot one.png is one file, for" in several.err
    unknown = run(*words, "-m", "features.3", "--plot", "one.xyz")
    assert unknown.code == 1 and "cannot be written as 'xyz'" in unknown.err

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thingsvision.store.scratch.reserve", full)
    no_room = run(*words, "-m", "features.3", "--memory", "1KB")
    assert no_room.code == 1 and "there is no room" in " ".join(no_room.err.split())
    assert sorted(place.rglob("*")) == before


def test_files_are_checked_before_networks_are_loaded(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the network was loaded")

    monkeypatch.setattr("thingsvision.zoo.load_model", load)
    two = run("rdm", NET, "images", "-m", "features.3", "--model", NET, "-o", "one.npz")
    assert "is one file, for 2 networks" in " ".join(two.err.split())
    unknown = run("rdm", NET, "images", "-m", "features.3", "-o", "one.xyz")
    assert "There is no RDM file format '.xyz'" in " ".join(unknown.err.split())
