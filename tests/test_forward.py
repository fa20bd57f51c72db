"""The choice between the faster way and the plain one, what is recorded of it, and precision."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thingsvision.backends.torch import TorchBackend
from thingsvision.backends.torch_way import check_precision
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import InvalidArgument, StoreError, UnknownName
from thingsvision.extraction import extract_features
from thingsvision.forward import CHECKED, TOLERANCE, choose_forward, deviation
from thingsvision.planning import plan
from thingsvision.preprocessing import Preprocessing
from thingsvision.store import open_features
from thingsvision.testing import toy_network
from thingsvision.zoo import Network, wrap_model

IMAGES = np.random.default_rng(0).integers(0, 255, (13, 20, 18, 3), np.uint8)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(self.relu(self.norm(self.conv(x))).mean((2, 3)))


def network() -> Network:
    torch.manual_seed(0)
    model = Small()
    model.norm.running_mean.normal_()
    return wrap_model(model, Preprocessing(resize=None, crop=None))


def forward_of(features: Any) -> dict[str, Any]:
    return features["fc"].provenance["forward"]


def test_the_deviation_is_in_the_provenance() -> None:
    features = extract_features(network(), IMAGES, ["relu", "fc"], batch_size=6)
    record = forward_of(features)
    assert "1 batch norms folded" in record["way"]
    assert set(record["deviation"]) == {"relu", "fc"}
    exact = extract_features(network(), IMAGES, ["relu", "fc"], batch_size=6, exact=True)
    assert forward_of(exact) == {"way": "plain"}
    for address, array in exact.items():
        found = deviation(np.asarray(features[address]), np.asarray(array))
        assert 0 < found <= TOLERANCE
        checked = slice(0, CHECKED)
        figure = record["deviation"][address]
        assert figure == pytest.approx(
            deviation(features[address].array[checked], array.array[checked]), rel=1
        )


def test_exact_is_the_network_itself_to_the_bit() -> None:
    made = network()
    features = extract_features(made, IMAGES, "fc", batch_size=5, exact=True)
    pixels = (IMAGES / np.float32(255)).astype(np.float32)
    work = plan(made, IMAGES, "fc", exact=True)
    pixels = (pixels - np.float32(work.network.preprocessing.mean)) / np.float32(
        work.network.preprocessing.std
    )
    with torch.no_grad():
        model = made.model.eval()
        rows = [
            model(torch.from_numpy(pixels[k : k + 5].transpose(0, 3, 1, 2).copy()))
            for k in range(0, 13, 5)
        ]
    assert np.array_equal(features["fc"].array, torch.cat(rows))


@dataclass(frozen=True)
class Careless(TorchBackend):
    """Its faster way is off by more than the last bits."""

    gap: float = 1e-3

    def run(self, *args: Any, way: Any = None, **options: Any) -> dict[str, Any]:
        found = super().run(*args, way=way or self.plain_way, **options)
        is_fast = way is not None and way != self.plain_way
        return {k: v * (1 + self.gap) if is_fast else v for k, v in found.items()}


@pytest.mark.parametrize("gap", [1e-3, float("nan"), 2e-5])
def test_too_large_a_deviation_takes_the_plain_way(gap: float) -> None:
    exact = extract_features(network(), IMAGES, "fc", exact=True)
    careless = replace(network(), backend=Careless("cpu", gap=gap))
    features = extract_features(careless, IMAGES, "fc")
    record = forward_of(features)
    assert record["way"] == "plain"
    assert "folded" in record["refused"]["way"]
    assert not record["refused"]["deviation"]["fc"] <= TOLERANCE
    assert np.array_equal(features["fc"].array, exact["fc"].array)


def test_every_part_of_a_run_chooses_by_the_same_images() -> None:
    made = network()
    seen: list[np.ndarray] = []

    class Spying(TorchBackend):
        def run(self, model: Any, batch: Any, *args: Any, **options: Any) -> dict[str, Any]:
            seen.append(batch.copy())
            return super().run(model, batch, *args, **options)

    spying = replace(made, backend=Spying("cpu"))
    for batch_size in (2, 13):
        seen.clear()
        choose_forward(plan(spying, IMAGES, "fc", batch_size=batch_size))
        whole = [batch for batch in seen if len(batch) == CHECKED]
        assert len(whole) == 2 and np.array_equal(whole[0], whole[1])
    few = choose_forward(plan(spying, IMAGES[:2], "fc"))
    assert "folded" in few.record["way"]


def test_a_resumed_run_gives_the_same_bytes(tmp_path: Path) -> None:
    made = network()
    options: dict[str, Any] = {"batch_size": 4, "progress": False}
    extract_features(made, IMAGES, ["relu", "fc"], out=tmp_path / "whole", **options)

    class Stops(TorchBackend):
        def run(self, model: Any, batch: Any, *args: Any, **more: Any) -> dict[str, Any]:
            if len(batch) == 4 and (batch[0] == last[0]).all():
                raise KeyboardInterrupt
            return super().run(model, batch, *args, **more)

    last = plan(made, IMAGES, "fc").network.preprocessing
    from thingsvision.preprocessing import preprocess
    from thingsvision.stimuli import load_stimuli

    last = preprocess(last, load_stimuli(IMAGES).image(8))[None]
    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        extract_features(
            replace(made, backend=Stops("cpu")), IMAGES, ["relu", "fc"], out=out, **options
        )
    assert json.loads((out / "meta.json").read_text())["status"] == "unfinished"
    extract_features(made, IMAGES, ["relu", "fc"], out=out, **options)
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (out / file.name).read_bytes(), file.name


def test_a_store_of_another_setting_is_not_continued(tmp_path: Path) -> None:
    extract_features(network(), IMAGES, "fc", out=tmp_path / "out")
    with pytest.raises(StoreError, match="exact was false, is now true"):
        extract_features(network(), IMAGES, "fc", out=tmp_path / "out", exact=True)
    # As written before there was a choice.
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    for key in ("exact", "precision"):
        del meta["request"][key]
    (tmp_path / "out" / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(StoreError, match=r"exact was absent.*precision was absent"):
        extract_features(network(), IMAGES, "fc", out=tmp_path / "out")
    assert open_features(tmp_path / "out")["fc"].shape == (13, 4)


def test_backends_with_one_way_are_exact_whatever_is_asked(tmp_path: Path) -> None:
    for number, exact in enumerate((False, True)):
        work = plan(toy_network(), IMAGES, "fc", exact=exact)
        assert work.request["exact"] is True
        features = extract_features(
            toy_network(), IMAGES, "fc", exact=exact, out=tmp_path / str(number)
        )
        assert forward_of(features) == {"way": "plain"}


def test_precision_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="bfloat16"):
        plan(network(), IMAGES, "fc", precision="bfloat61")
    with pytest.raises(InvalidArgument, match="toy networks are run in float32 only"):
        plan(toy_network(backend=ToyBackend()), IMAGES, "fc", precision="bfloat16")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    check_precision("float32", "cpu")
    with pytest.raises(InvalidArgument, match="no instructions for it"):
        extract_features(network(), IMAGES, "fc", precision="bfloat16")


@pytest.mark.parametrize("exact", [True, False])
def test_bfloat16_states_its_deviation(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Computed everywhere, if slowly.
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    features = extract_features(network(), IMAGES, "fc", precision="bfloat16", exact=exact)
    record = forward_of(features)
    assert features["fc"].array.dtype == np.float32
    assert "bfloat16" in record["way"] and ("folded" in record["way"]) is not exact
    assert 1e-5 < record["deviation"]["fc"] < 0.05
    assert features["fc"].provenance["precision"] == "bfloat16"


def test_float16_is_for_gpus() -> None:
    for device in ("cuda", "cuda:1", "mps"):
        check_precision("float16", device)
    with pytest.raises(InvalidArgument, match="'cpu' gains nothing by it"):
        plan(network(), IMAGES, "fc", precision="float16")


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a precision be used where it gains nothing; processors compute it all the same."""
    monkeypatch.setattr("thingsvision.backends.torch.check_precision", lambda *_: None)


def test_float16_states_its_deviation(anywhere: None) -> None:
    features = extract_features(network(), IMAGES, "fc", precision="float16")
    record = forward_of(features)
    assert features["fc"].array.dtype == np.float32 and "float16" in record["way"]
    assert 1e-6 < record["deviation"]["fc"] < 0.005


def test_numbers_too_large_for_a_precision_are_refused(anywhere: None) -> None:
    large = network()
    with torch.no_grad():
        large.model.fc.weight.fill_(1e5)
    with pytest.raises(InvalidArgument, match="In float16 .* not finite.*: fc.*bfloat16"):
        extract_features(large, IMAGES, "fc", precision="float16")
    extract_features(large, IMAGES, "fc", precision="bfloat16")


def test_deviation() -> None:
    one = np.array([[1.0, -4.0], [np.nan, np.inf]], np.float32)
    assert deviation(one, one) == 0
    assert deviation(one + np.float32(2), one) == 0.5
    assert deviation(np.nan_to_num(one), one) == np.inf
    assert deviation(np.zeros(3), np.zeros(3)) == 0
    assert deviation(np.ones(3), np.zeros(3)) == np.inf
    assert deviation(np.empty((0, 2)), np.empty((0, 2))) == 0
    assert deviation(np.ones((2, 2)), np.ones((2, 1))) == np.inf
