"""timm's registry as a source; the truths are timm's own transforms, configurations and passes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import thingsvision as tv
from thingsvision.errors import InvalidArgument, UnknownName, WeightsError
from thingsvision.preprocessing import preprocess
from thingsvision.testing import check_source
from thingsvision.zoo import Choice, describe_model
from thingsvision.zoo.timm import SOURCE

# Families whose smallest member is run by default; all others are slow.
QUICK = ("convnext", "mobilenetv3", "vision_transformer", "levit")
SMALL = ("atto", "femto", "pico", "nano", "micro", "tiny", "xxs", "_xs", "_x", "small", "_s", "b0")


@cache
def configurations() -> dict[tuple[Any, ...], tuple[str, str]]:
    """Find a name and a tag for each way in which timm prepares images."""
    found: dict[tuple[Any, ...], tuple[str, str]] = {}
    for name in SOURCE.names():
        for key, config in timm.models.get_arch_pretrained_cfgs(name).items():
            kind = (config.input_size, config.crop_pct, config.crop_mode, config.interpolation,
                    config.mean, config.std)  # fmt: skip
            if config.has_weights:
                found.setdefault(kind, (name, key.partition(".")[2]))
    return found


def picture(height: int, width: int) -> Image.Image:
    random = np.random.default_rng(height * width)
    coarse = Image.fromarray(random.integers(0, 255, (9, 11, 3), np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def check_transform(name: str, tag: str, sizes: list[tuple[int, int]]) -> None:
    config = timm.models.get_pretrained_cfg(f"{name}.{tag}")
    data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
    truth = timm.data.create_transform(**data, is_training=False)
    record = SOURCE.card(name, tag).preprocessing
    assert record is not None
    for height, width in sizes:
        image = picture(height, width)
        wanted = truth(image).permute(1, 2, 0).numpy()
        assert record.shape(height, width) == wanted.shape[:2]
        assert np.array_equal(preprocess(record, image), wanted), (name, tag, height, width)


def test_preprocessing_is_timms_own_in_every_distinct_configuration() -> None:
    kinds = configurations()
    assert len(kinds) > 100
    modes = {kind[2] for kind in kinds}
    assert {"center", "squash", "border"} <= modes
    for kind, (name, tag) in kinds.items():
        sizes = [(375, 500)] if kind[2] == "center" else [(375, 500), (501, 333), (40, 30)]
        check_transform(name, tag, sizes)


@pytest.mark.slow
def test_preprocessing_is_timms_own_for_odd_pictures() -> None:
    for name, tag in configurations().values():
        check_transform(name, tag, [(501, 333), (40, 30), (31, 300), (1201, 803)])


def test_names_and_weights_are_those_of_the_registry() -> None:
    assert SOURCE.names() == timm.list_models()
    ours = {f"{n}.{tag}" for n in SOURCE.names() for tag in SOURCE.card(n).all_weights}
    assert ours == set(timm.list_pretrained())
    for name in ("vit_base_patch16_224", "resnet50", "convnext_tiny"):
        assert SOURCE.card(name).weights == timm.models.get_pretrained_cfg(name).tag


def test_a_card_says_what_timm_says() -> None:
    card = describe_model("timm/vit_base_patch16_224.augreg_in21k")
    assert card.weights == "augreg_in21k" and card.licence == "apache-2.0"
    assert card.url == "https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k"
    assert card.preprocessing.mean == (0.5, 0.5, 0.5) and card.classes == ()
    assert describe_model("timm/resnet50").classes[1].startswith("goldfish")
    with pytest.raises(UnknownName, match="augreg_in21k"):
        describe_model("timm/vit_base_patch16_224.augreg_in21")


def test_the_contract() -> None:
    check_source(SOURCE, "resnet10t")


def test_random_networks_are_reproducible_and_take_other_initialisations() -> None:
    options = {"pretrained": False, "device": "cpu"}
    first = tv.load_model("timm/mobilenetv3_small_050", **options)
    other = tv.load_model("timm/mobilenetv3_small_050", **options, init="orthogonal")
    again = tv.load_model("timm/mobilenetv3_small_050", **options, init="orthogonal")
    assert first.digest != other.digest == again.digest
    assert other.weights["init"] == "orthogonal"
    weight = other.model.conv_head.weight.detach().flatten(1)
    identity = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
    torch.testing.assert_close(identity, torch.eye(len(identity)), atol=1e-4, rtol=0)


def test_weights_of_ones_own_may_have_other_classes(tmp_path: Path) -> None:
    model = timm.create_model("resnet10t", num_classes=7)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    network = tv.load_model("timm/resnet10t", weights=tmp_path / "mine.pth")
    assert network.modules().resolve(["output"])[0].shape == (7,)
    assert network.weights["preprocessing"].startswith("assumed")


def test_what_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="patches of images of any size"):
        tv.load_model("timm/naflexvit_base_patch16_gap", pretrained=False)
    with pytest.raises(WeightsError, match="published no weights for coatnet_0_224"):
        tv.load_model("timm/coatnet_0_224")


FROM_HUB = """
import thingsvision as tv, thingsvision.errors
try:
    network = tv.load_model("timm/resnet10t")
    print("loaded", network.name, float(network.model.fc.bias.sum()))
except tv.errors.WeightsError as error:
    print(error)
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_weights_come_from_the_hub(is_there: bool, tmp_path: Path) -> None:
    model = timm.create_model("resnet10t")
    torch.nn.init.ones_(model.fc.bias)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = is_there and self.path.endswith("model.safetensors")
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(data)) if known else "0")
            self.send_header("ETag", '"0123"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if known and self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub")}
    run = subprocess.run(
        [sys.executable, "-c", FROM_HUB], env=environment, capture_output=True, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    if is_there:
        assert run.stdout.strip() == "loaded timm/resnet10t.c3_in1k 1000.0", run.stderr
    else:
        assert "cannot be had from https://huggingface.co/timm/resnet10t.c3_in1k" in run.stdout
        assert "weights=" in run.stdout and "Traceback" not in run.stderr


def families() -> list[Any]:
    marks = {False: [pytest.mark.slow], True: []}
    modules = sorted(timm.list_modules())
    return [pytest.param(module, marks=marks[module in QUICK]) for module in modules]


def smallest(module: str) -> str | None:
    """Find a small member of a family that takes images."""
    names = [n for n in timm.list_models(module=module) if not SOURCE.card(n).refusal]
    likely = [n for n in names if any(word in n for word in SMALL)] or names
    sized = []
    for name in likely[:6]:
        with torch.device("meta"):
            model = timm.create_model(name)
        side = SOURCE.card(name).preprocessing.shape(256, 256)[0]  # type: ignore[union-attr]
        sized.append((sum(p.numel() for p in model.parameters()) * side**2, name))
    return min(sized)[1] if sized else None


@pytest.mark.parametrize("module", families())
def test_a_member_of_each_family(module: str) -> None:
    """Three modules of two images are what the full pass has there."""
    name = smallest(module)
    if name is None:
        pytest.skip("its networks do not take images of a fixed size")
    network = SOURCE.load(name, Choice(pretrained=False, device="cpu"))
    survey = network.modules()
    addresses = [
        m.address(o) for m in survey.modules for o in m.last if o.batch_axis is not None
    ]  # fmt: skip
    chosen = [addresses[0], addresses[len(addresses) // 2], addresses[-1]]
    captures = survey.resolve(list(dict.fromkeys([*chosen, "output"])))
    batch = np.random.default_rng(0).random((2, *network.example_size, 3), np.float32)
    found = network.backend.run(network.model, batch, captures[:-1], {})
    full = network.backend.run(network.model, batch, captures, {}, full=True)
    for address in found:
        assert np.array_equal(found[address], full[address]), (name, address)
    model = network.model.eval()
    given = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        output = model(given.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(full["output"], output, rtol=1e-3, atol=1e-4)
