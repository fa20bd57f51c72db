"""timm's registry as a source; the truths are timm's own transforms, configurations and passes."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import thingsvision as tv
from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import InvalidArgument, UnknownName, WeightsError
from thingsvision.preprocessing import Preprocessing, preprocess
from thingsvision.testing import check_source
from thingsvision.zoo import Choice, describe_model
from thingsvision.zoo.timm import SOURCE

# Families whose smallest member is run by default; all others are slow.
QUICK = ("convnext", "mobilenetv3", "vision_transformer", "levit")
SMALL = ("atto", "femto", "pico", "nano", "micro", "tiny", "xxs", "_xs", "_x", "small", "_s", "b0")


@cache
def configurations() -> dict[tuple[Any, ...], str]:
    """Find a name, with its tag, for each way in which timm prepares images."""
    found: dict[tuple[Any, ...], str] = {}
    for name in SOURCE.names():
        for key, config in timm.models.get_arch_pretrained_cfgs(name).items():
            kind = (config.input_size, config.crop_pct, config.crop_mode, config.interpolation,
                    config.mean, config.std)  # fmt: skip
            is_default = config is timm.models.get_pretrained_cfg(name)
            if config.has_weights or is_default:
                found.setdefault(kind, key if config.has_weights else name)
    return found


# (height, width): landscape, portrait, both odd, smaller than any crop, narrow, larger than most
SIZES = ((375, 500), (501, 333), (301, 433), (40, 31), (31, 300), (1201, 803))


def picture(height: int, width: int) -> Image.Image:
    """Sharp noise on coarse patches: every grey level."""
    random = np.random.default_rng(height * width)
    coarse = Image.fromarray(random.integers(0, 255, (9, 11, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = random.integers(-40, 40, smooth.shape)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def record_of(name: str) -> Preprocessing:
    architecture, _, tag = name.partition(".")
    record = SOURCE.card(architecture, tag or None).preprocessing
    assert record is not None
    return record


def check_transform(name: str, sizes: Sequence[tuple[int, int]]) -> None:
    config = timm.models.get_pretrained_cfg(name).to_dict()
    data = timm.data.resolve_data_config(pretrained_cfg=config)
    truth = timm.data.create_transform(**data, is_training=False)
    record = record_of(name)
    for height, width in sizes:
        image = picture(height, width)
        wanted = truth(image).permute(1, 2, 0).numpy()
        assert record.shape(height, width) == wanted.shape[:2]
        assert np.array_equal(preprocess(record, image), wanted), (name, height, width)


def test_preprocessing_is_timms_own_in_every_distinct_configuration() -> None:
    kinds = configurations()
    assert len(kinds) > 100
    assert {kind[2] for kind in kinds} >= {"center", "squash", "border"}
    for position, (kind, name) in enumerate(kinds.items()):
        every = kind[2] == "border" or kind[0][1] != kind[0][2]
        check_transform(name, SIZES[:5] if every else [SIZES[position % 4]])


@pytest.mark.slow
def test_preprocessing_is_timms_own_for_pictures_of_many_sizes() -> None:
    for name in configurations().values():
        check_transform(name, SIZES)


def test_preprocessing_is_what_timm_makes_for_a_network() -> None:
    """Of the two sizes of these weights, timm's functions choose that of training."""
    model = timm.create_model("resnet10t.c3_in1k", pretrained=False)
    assert model.pretrained_cfg["test_input_size"] != model.pretrained_cfg["input_size"]
    truth = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    image = picture(375, 500)
    ours = preprocess(record_of("resnet10t.c3_in1k"), image)
    assert np.array_equal(ours, truth(image).permute(1, 2, 0).numpy())


def test_names_and_weights_are_those_of_the_registry() -> None:
    assert SOURCE.names() == timm.list_models()
    ours = {f"{n}.{tag}" for n in SOURCE.names() for tag in SOURCE.card(n).all_weights}
    assert ours == set(timm.list_pretrained())
    for name in SOURCE.names():
        card = SOURCE.card(name)
        if card.all_weights:
            assert card.weights == card.all_weights[0] == timm.models.get_pretrained_cfg(name).tag


def test_every_card_has_all_that_loading_needs() -> None:
    for name in SOURCE.names():
        for weights in (None, *SOURCE.card(name).all_weights):
            card = SOURCE.card(name, weights)
            assert card.preprocessing is not None and not card.refusal
            assert card.weights is None or (card.url.startswith("http") and card.training_data)
            assert not card.classes or (len(card.classes) == 1000 and "in1k" in str(card.weights))


def test_a_card_says_what_timm_says() -> None:
    card = describe_model("timm/vit_base_patch16_224.augreg_in21k")
    assert card.weights == "augreg_in21k" and card.licence == "apache-2.0"
    assert card.url == "https://huggingface.co/timm/vit_base_patch16_224.augreg_in21k"
    assert card.preprocessing.mean == (0.5, 0.5, 0.5) and card.classes == ()
    assert card.training_data == "ImageNet-21k, by the tag augreg_in21k"
    assert "arXiv:2106.10270" in card.citation or "Wightman" in card.citation
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


def test_a_tag_tells_the_number_of_classes_and_whether_there_is_a_head() -> None:
    many = tv.load_model("timm/vit_base_patch16_224.augreg_in21k", device="meta")
    assert many.modules().root.outputs[0].shape == (21843,)
    none = tv.load_model("timm/vit_small_patch16_224.dino", device="meta")
    assert none.modules().root.outputs[0].shape == (384,)


@pytest.mark.parametrize(
    ("name", "classes"), [("test_vit", 0), ("test_vit", 5), ("convnextv2_atto.fcmae", 3)]
)
def test_weights_of_ones_own_may_have_no_head_or_another(
    name: str, classes: int, tmp_path: Path
) -> None:
    model = timm.create_model(name, num_classes=classes).eval()
    save_file(model.state_dict(), tmp_path / "mine.safetensors")
    network = tv.load_model(f"timm/{name}", weights=tmp_path / "mine.safetensors", device="cpu")
    image = torch.rand(1, 3, *network.example_size)
    with torch.no_grad():
        assert torch.equal(network.model.eval()(image), model(image))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="do not fit") as caught:
        tv.load_model("timm/test_vit", weights=tmp_path / "other.safetensors")
    assert "patch_embed.proj.weight" in str(caught.value)


def test_networks_of_patches_take_images_as_well() -> None:
    """NaFlex networks, too: the numbers are those of their forward pass on images."""
    network = tv.load_model("timm/naflexvit_base_patch16_gap", pretrained=False, device="cpu")
    small = network.preprocessed(resize=64, crop=64)
    batch = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    captures = small.modules().resolve(["blocks.1", "output"])
    found = small.backend.run(small.model, batch, captures, {})
    with torch.no_grad():
        truth = small.model.eval()(torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(found["output"], truth, rtol=1e-4, atol=1e-5)
    assert captures[0].axes == ("stimulus", "token", "channel")


def changed_config(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """Let timm say other things of some weights."""
    known = timm.models._registry._model_pretrained_cfgs
    monkeypatch.setitem(known, name, replace(known[name], **changes))
    source = importlib.import_module("thingsvision.zoo.timm")
    uncached = getattr(source._published, "__wrapped__", source._published)
    monkeypatch.setattr(source, "_published", uncached)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input_size": (1, 64, 64)}, "images of 1 channels"),
        ({"interpolation": "random"}, "interpolation, 'random', is not known"),
    ],
)
def test_images_that_cannot_be_made_are_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str
) -> None:
    changed_config(monkeypatch, "resnet10t.c3_in1k", **changes)
    assert reason in describe_model("timm/resnet10t").refusal
    with pytest.raises(InvalidArgument, match=reason):
        tv.load_model("timm/resnet10t", pretrained=False)


def test_what_timm_has_not_published_is_refused() -> None:
    with pytest.raises(WeightsError, match="published no weights for coatnet_0_224"):
        tv.load_model("timm/coatnet_0_224")
    network = tv.load_model("timm/coatnet_0_224", pretrained=False, device="meta")
    assert network.preprocessing.origin == "timm coatnet_0_224, its architecture"
    with pytest.raises(UnknownName, match="There are none"):
        describe_model("timm/coatnet_0_224.in1k")


# --- published weights, from servers on this machine


class Hub(BaseHTTPRequestHandler):
    """Answers as a hub does: the file's name, tag and revision in headers, then the file."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        if content is None and not any(path.startswith(self.repository()) for path in self.files):
            self.send_header("X-Error-Code", "RepoNotFound")
        elif content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if content is not None and self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def repository(self) -> str:
        return self.path.partition("/resolve/")[0] + "/resolve/"

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfFiles", (Hub,), {"files": files}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def made(tmp_path: Path) -> tuple[torch.nn.Module, dict[str, bytes]]:
    """A network and its weights in two formats; a third file would run code."""
    model = timm.create_model("test_resnet")
    torch.nn.init.ones_(model.fc.bias)
    save_file(model.state_dict(), tmp_path / "safe")
    torch.save(model.state_dict(), tmp_path / "plain")

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path / "made by the file").mkdir, ()

    torch.save({**model.state_dict(), "x": Evil()}, tmp_path / "evil")
    return model, {n: (tmp_path / n).read_bytes() for n in ("safe", "plain", "evil")}


FROM_HUB = """
import json, sys
import thingsvision as tv
said = {}
for name in sys.argv[1:]:
    try:
        network = tv.load_model(f"timm/{name}", device="cpu")
        said[name] = [network.name, network.digest, dict(network.weights)]
    except tv.errors.WeightsError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


def from_hub(tmp_path: Path, *names: str, **variables: str) -> dict[str, Any]:
    """Load in another process, since the hub's address is read when its library is imported."""
    environment = os.environ | {"HF_HOME": str(tmp_path / "hub"), **variables}
    run = subprocess.run(
        [sys.executable, "-c", FROM_HUB, *names], env=environment, capture_output=True, text=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return said


def test_weights_come_from_the_hub(made: Any, tmp_path: Path) -> None:
    model, content = made
    at = "/timm/{}/resolve/main/{}".format
    files = {
        at("test_resnet.r160_in1k", "model.safetensors"): content["safe"],
        at("test_vit.r160_in1k", "pytorch_model.bin"): content["evil"],
        at("test_byobnet.r160_in1k", "model.safetensors"): content["safe"],
    }
    names = ("test_resnet", "test_vit", "test_byobnet", "test_convnext")
    with serving(files) as address:
        said = from_hub(tmp_path, *names, HF_ENDPOINT=address)
    name, digest, record = said["test_resnet"]
    assert name == "timm/test_resnet.r160_in1k"
    assert digest == TorchBackend("cpu").digest(model)
    assert record == {
        "kind": "pretrained", "weights": "r160_in1k",
        "url": f"{address}/timm/test_resnet.r160_in1k",
    }  # fmt: skip
    assert "weights_only" in said["test_vit"]
    assert not (tmp_path / "made by the file").exists()
    assert "Error(s) in loading" in said["test_byobnet"]
    missing = said["test_convnext"]
    assert f"{address}/timm/test_convnext.r160_in1k" in missing and "404" in missing
    place = tmp_path / "hub" / "hub" / "models--timm--test_convnext.r160_in1k"
    assert str(place) in missing and place.with_name("models--timm--test_resnet.r160_in1k").is_dir()
    assert "weights=" in missing and "pretrained=False" in missing
    # What is in the cache needs no hub. (One that does not answer is asked again for 47 s.)
    said = from_hub(
        tmp_path, "test_resnet", "test_convnext", HF_ENDPOINT=address, HF_HUB_OFFLINE="1"
    )
    assert said["test_resnet"][1] == digest
    assert f"{address}/timm/test_convnext.r160_in1k" in said["test_convnext"]
    assert str(place) in said["test_convnext"]


@pytest.fixture
def published(
    made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, str], None]:
    """Let timm say that the weights of a network are at an address, not on the hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))

    def publish(address: str, name: str) -> None:
        url = f"{address}/{name}"
        changed_config(monkeypatch, "test_resnet.r160_in1k", hf_hub_id=None, url=url)
        assert SOURCE.card("test_resnet").url == url

    return publish


def named(content: bytes) -> str:
    return f"test-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def test_weights_come_from_an_address(made: Any, published: Any, tmp_path: Path) -> None:
    model, content = made
    name = named(content["plain"])
    with serving({f"/{name}": content["plain"]}) as address:
        published(address, name)
        network = tv.load_model("timm/test_resnet", device="cpu")
    assert network.digest == TorchBackend("cpu").digest(model)
    assert network.weights["url"] == f"{address}/{name}"
    again = tv.load_model("timm/test_resnet.r160_in1k", device="cpu")  # from the cache
    assert again.digest == network.digest
    assert (tmp_path / "torch home/hub/checkpoints" / name).read_bytes() == content["plain"]


def test_what_an_address_gives_is_checked(made: Any, published: Any, tmp_path: Path) -> None:
    _, content = made
    name, evil = named(content["plain"]), named(content["evil"])
    files = {f"/{name}": content["plain"][:-1] + b"?", f"/{evil}": content["evil"]}
    with serving(files) as address:
        published(address, name)
        with pytest.raises(WeightsError, match="not what was expected.*SHA-256"):
            tv.load_model("timm/test_resnet", device="cpu")
        published(address, evil)
        with pytest.raises(WeightsError, match="(?i)weights.only"):
            tv.load_model("timm/test_resnet", device="cpu")
    assert not (tmp_path / "made by the file").exists()
    published("http://127.0.0.1:9", name)
    with pytest.raises(WeightsError, match="http://127.0.0.1:9/") as caught:
        tv.load_model("timm/test_resnet", device="cpu")
    assert str(tmp_path / "torch home/hub/checkpoints" / name) in str(caught.value)


# --- networks


def families() -> list[Any]:
    marks = {False: [pytest.mark.slow], True: []}
    modules = sorted(timm.list_modules())
    return [pytest.param(module, marks=marks[module in QUICK]) for module in modules]


def smallest(module: str) -> str:
    """Find a small member of a family, in numbers of weights and pixels."""
    names = timm.list_models(module=module)
    likely = [n for n in names if any(word in n for word in SMALL)] or names
    sized = []
    for name in likely[:6]:
        with torch.device("meta"):
            model = timm.create_model(name)
        side = SOURCE.card(name).preprocessing.shape(256, 256)[0]  # type: ignore[union-attr]
        sized.append((sum(p.numel() for p in model.parameters()) * side**2, name))
    return min(sized)[1]


@pytest.mark.parametrize("module", families())
def test_a_member_of_each_family(module: str) -> None:
    """Three modules of two images are what plain hooks find in the full pass of timm's network."""
    name = smallest(module)
    network = SOURCE.load(name, Choice(pretrained=False, device="cpu"))
    survey = network.modules()
    addresses = [
        m.address(o) for m in survey.modules for o in m.last if o.batch_axis == 0 and not o.path
    ]  # fmt: skip
    chosen = dict.fromkeys([addresses[0], addresses[len(addresses) // 2], addresses[-1], "output"])
    captures = survey.resolve(list(chosen))
    batch = np.random.default_rng(0).random((2, *network.example_size, 3), np.float32)
    found = network.backend.run(network.model, batch, captures[:-1], {})
    found |= network.backend.run(network.model, batch, captures[-1:], {}, full=True)
    truth: dict[str, Any] = {}
    model = network.model.eval()
    for capture in captures:
        keep = partial(_kept, truth, capture.address)
        model.get_submodule(capture.module).register_forward_hook(keep)
    channels_last = torch.from_numpy(batch).permute(0, 3, 1, 2)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            model(channels_last.clone())
        except RuntimeError:  # its views need the other layout in memory
            model(channels_last.contiguous())
    assert set(found) == set(truth)
    for address in found:
        assert np.array_equal(found[address], truth[address], equal_nan=True), (name, address)


def _kept(truth: dict[str, Any], address: str, _: Any, args: Any, output: torch.Tensor) -> None:
    truth[address] = output.numpy(force=True).copy()  # of the last call
