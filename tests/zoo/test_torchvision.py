"""The torchvision source: asked what it has; weights from files, a server, a seed."""

import hashlib
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torchvision import models

from thingsvision.errors import (
    InvalidArgument,
    ThingsvisionWarning,
    UnknownName,
    WeightsError,
)
from thingsvision.zoo import Choice, describe_model, list_models, load_model, torchvision
from thingsvision.zoo.torchvision import SOURCE
from thingsvision.zoo.weights import quiet

NAMES = models.list_models()


def equal(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_registry_is_asked():
    assert SOURCE.names() == NAMES
    assert list_models(source="torchvision") == [f"torchvision/{name}" for name in NAMES]
    assert len(NAMES) > 110


def test_a_model_that_was_registered_today_is_there(monkeypatch):
    registry = models._api.BUILTIN_MODELS
    monkeypatch.setitem(registry, "resnet_of_today", models.resnet18)
    assert "torchvision/resnet_of_today" in list_models("resnet_of*")
    assert load_model("resnet_of_today", pretrained=False).modules().resolve(["layer4"])


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_card(name):
    card = describe_model(f"torchvision/{name}")
    entries = models.get_model_weights(name)
    assert card.name == f"torchvision/{name}"
    assert set(card.all_weights) == {entry.name for entry in entries}
    assert card.all_weights[0] == card.weights == entries.DEFAULT.name
    assert card.parameters == entries.DEFAULT.meta["num_params"]
    assert list(card.classes) == list(entries.DEFAULT.meta.get("categories") or [])
    assert bool(card.refusal) == name.startswith("raft")
    assert (card.preprocessing is None) == bool(card.refusal)
    assert card.url.startswith("https://")
    assert card.task and card.licence and card.training_data and card.citation


# These have no skeleton: they are really built, and quantized.
LONG = ("quantized",)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n.startswith(LONG) else n
     for n in NAMES if not n.startswith("raft")],
)  # fmt: skip
def test_every_model_can_be_built_without_weights(name):
    network = load_model(f"torchvision/{name}", device="meta")
    assert network.weights == {"kind": "none"}
    card = describe_model(f"torchvision/{name}")
    parameters = sum(p.numel() for p in network.model.parameters())
    # torchvision counts GoogLeNet without its auxiliary classifiers.
    if card.task in ("classification", "video") and name != "googlenet":
        assert parameters == card.parameters


def test_optical_flow_is_refused_with_the_reason():
    for name in ("raft_small", "raft_large"):
        with pytest.raises(InvalidArgument, match="two frames of a film"):
            load_model(f"torchvision/{name}")


def test_unknown_weights_are_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="IMAGENET1K_V1"):
        describe_model("torchvision/resnet50.IMAGENET1K_V9")
    with pytest.raises(UnknownName, match="IMAGENET1K_V2"):
        load_model("torchvision/resnet50", weights="IMAGENET1K_V9")


def test_a_preset_that_is_not_known_is_refused_with_its_name(monkeypatch):
    monkeypatch.delitem(torchvision.PRESETS, "ImageClassification")
    card = describe_model("torchvision/alexnet")
    assert card.preprocessing is None and "ImageClassification" in card.refusal
    with pytest.raises(InvalidArgument, match="ImageClassification"):
        load_model("torchvision/alexnet", pretrained=False)


def test_random_networks_follow_the_seed_as_torchvision_draws():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    zero = load_model("torchvision/resnet18", pretrained=False)
    again = load_model("torchvision/resnet18", pretrained=False, seed=0)
    one = load_model("torchvision/resnet18", pretrained=False, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(zero.model, again.model) and zero.digest == again.digest
    assert not equal(zero.model, one.model) and zero.digest != one.digest
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert equal(one.model, models.resnet18(weights=None))
    assert one.weights == {
        "kind": "random", "seed": 1, "preprocessing": "assumed: that of IMAGENET1K_V1",
    }  # fmt: skip
    assert one.name == "torchvision/resnet18"


def save(tmp_path, name, seed=4, change=None, **options):
    model = quiet(partial(models.get_model, name), weights=None, seed=seed, **options)
    state = model.state_dict()
    if change:
        state = {k: v for k, v in state.items() if change(k)}
    torch.save(state, tmp_path / f"{name}.pth")
    return model, tmp_path / f"{name}.pth"


def test_weights_from_a_file(tmp_path):
    model, path = save(tmp_path, "resnet18")
    network = load_model("torchvision/resnet18", weights=path)
    assert equal(network.model, model)
    assert network.weights["kind"] == "file" and network.weights["file"] == str(path)
    assert network.weights["preprocessing"] == "assumed: that of IMAGENET1K_V1"
    assert equal(load_model("torchvision/resnet18", weights=str(path)).model, model)


def test_weights_that_belong_to_another_model(tmp_path):
    _, path = save(tmp_path, "resnet18")
    with pytest.raises(WeightsError, match=r"missing: (.*\n)*.*of another shape") as caught:
        load_model("torchvision/resnet50", weights=path)
    assert "resnet18.pth" in str(caught.value) and "layer1.0.conv3.weight" in str(caught.value)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_may_be_missing(tmp_path, name):
    model, path = save(tmp_path, name, change=lambda key: not key.lower().startswith("aux"))
    network = load_model(f"torchvision/{name}", weights=path)
    expected = {k: v for k, v in model.state_dict().items() if not k.lower().startswith("aux")}
    assert network.model.state_dict().keys() == expected.keys()
    # torchvision's trained weights of these two come with this, so the assumed record does.
    assert network.model.transform_input and network.weights["transform_input"]


def test_auxiliary_classifier_of_segmentation_may_be_there(tmp_path):
    for aux in (True, False):
        model, path = save(tmp_path, "fcn_resnet50", aux_loss=aux, weights_backbone=None)
        network = load_model("torchvision/fcn_resnet50", weights=path)
        assert equal(network.model, model)
        assert (network.model.aux_classifier is not None) == aux


def test_weights_of_a_vision_transformer_of_another_size(tmp_path):
    state = {
        k: torch.zeros(v.shape, dtype=v.dtype)
        for k, v in load_model("torchvision/vit_b_16.IMAGENET1K_SWAG_E2E_V1", device="meta")
        .model.state_dict().items()
    }  # fmt: skip
    torch.save(state, tmp_path / "vit.pth")
    name = "vit_b_16.IMAGENET1K_SWAG_E2E_V1"
    network = load_model(f"torchvision/{name}", weights=tmp_path / "vit.pth")
    assert network.example_size == (384, 384) and network.model.image_size == 384
    with pytest.raises(WeightsError, match="pos_embedding"):
        load_model("torchvision/vit_b_16", weights=tmp_path / "vit.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_weights_from_a_file(tmp_path):
    model, path = save(tmp_path, "quantized_resnet18", seed=2, quantize=True)
    network = load_model("torchvision/quantized_resnet18", weights=path)
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.model(picture), model(picture))
    with pytest.raises(InvalidArgument, match="'cpu' only"):
        load_model("torchvision/quantized_resnet18", pretrained=False, device="cuda")


def test_detectors_and_segmentation_download_no_backbone(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    for name in ("fasterrcnn_mobilenet_v3_large_320_fpn", "lraspp_mobilenet_v3_large"):
        assert load_model(f"torchvision/{name}", pretrained=False).weights["kind"] == "random"


# --- published weights, from a server on this machine


@pytest.fixture
def server():
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            content = files.get(self.path.lstrip("/"))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    running.files, running.asked = files, asked
    running.address = f"http://127.0.0.1:{running.server_port}"
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Weights of SqueezeNet, made here; returns the network, the content and its digest."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    model = quiet(models.squeezenet1_1, weights=None, seed=8)
    torch.save(model.state_dict(), tmp_path / "made.pth")
    content = (tmp_path / "made.pth").read_bytes()
    return model, content, hashlib.sha256(content).hexdigest()


def publish(monkeypatch, url):
    """Let the metadata of torchvision say that the weights are at an address."""
    entry = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    value = type(entry.value)(url, entry.transforms, entry.meta)
    monkeypatch.setattr(entry, "_value_", value)
    assert entry.url == url


def cached(tmp_path):
    return tmp_path / "torch home" / "hub" / "checkpoints"


def test_published_weights_are_downloaded_once(tmp_path, monkeypatch, server, published):
    model, content, digest = published
    name = f"squeezenet1_1-{digest[:8]}.pth"
    server.files[name] = content
    publish(monkeypatch, f"{server.address}/{name}")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    network = load_model("torchvision/squeezenet1_1")
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(network.model, model)
    assert network.name == "torchvision/squeezenet1_1.IMAGENET1K_V1"
    assert network.weights == {
        "kind": "pretrained", "weights": "IMAGENET1K_V1", "url": f"{server.address}/{name}",
    }  # fmt: skip
    assert (cached(tmp_path) / name).read_bytes() == content
    assert equal(load_model("torchvision/squeezenet1_1.IMAGENET1K_V1").model, model)
    assert server.asked == [f"/{name}"]


def test_file_addresses_work_too(tmp_path, monkeypatch, published):
    model, content, digest = published
    path = tmp_path / f"squeezenet1_1-{digest[:8]}.pth"
    path.write_bytes(content)
    publish(monkeypatch, path.as_uri())
    assert equal(load_model("torchvision/squeezenet1_1").model, model)


def test_a_published_file_is_taken_for_what_it_is(tmp_path, monkeypatch, published):
    model, content, digest = published
    path = tmp_path / "renamed.pth"
    path.write_bytes(content)
    publish(monkeypatch, f"http://127.0.0.1:9/squeezenet1_1-{digest[:8]}.pth")
    network = load_model("torchvision/squeezenet1_1", weights=path)
    assert equal(network.model, model)
    assert network.weights["kind"] == "pretrained"
    assert network.name == "torchvision/squeezenet1_1.IMAGENET1K_V1"


def test_a_foreign_file_for_a_detector_is_warned_of(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    path = tmp_path / "mine.pth"
    model = quiet(models.get_model, 0, name=name, weights=None, weights_backbone=None)
    torch.save(model.state_dict(), path)
    with pytest.warns(ThingsvisionWarning, match="frozen"):
        assert equal(load_model(f"torchvision/{name}", weights=path).model, model)


def test_a_file_put_by_hand_needs_no_server(tmp_path, monkeypatch, published):
    model, content, digest = published
    name = f"squeezenet1_1-{digest[:8]}.pth"
    publish(monkeypatch, f"http://127.0.0.1:9/{name}")
    cached(tmp_path).mkdir(parents=True)
    (cached(tmp_path) / name).write_bytes(content)
    assert equal(load_model("torchvision/squeezenet1_1").model, model)


@pytest.mark.parametrize("trouble", ["nobody answers", "not found"])
def test_a_hub_that_cannot_be_reached(tmp_path, monkeypatch, server, published, trouble):
    address = "http://127.0.0.1:9" if trouble == "nobody answers" else server.address
    url = f"{address}/squeezenet1_1-b8a52dc0.pth"
    publish(monkeypatch, url)
    with pytest.raises(WeightsError) as caught:
        load_model("torchvision/squeezenet1_1")
    text = str(caught.value)
    assert url in text
    assert str(cached(tmp_path) / "squeezenet1_1-b8a52dc0.pth") in text
    assert "weights=" in text and "pretrained=False" in text
    assert not any(cached(tmp_path).iterdir())


def test_a_download_of_something_else_is_not_kept(tmp_path, monkeypatch, server, published):
    server.files["squeezenet1_1-b8a52dc0.pth"] = published[1]
    publish(monkeypatch, f"{server.address}/squeezenet1_1-b8a52dc0.pth")
    with pytest.raises(WeightsError, match=r"not what was expected.*hash"):
        load_model("torchvision/squeezenet1_1")
    assert not any(cached(tmp_path).iterdir())


def test_a_cached_file_of_something_else_is_named(tmp_path, monkeypatch, published):
    cached(tmp_path).mkdir(parents=True)
    path = cached(tmp_path) / "squeezenet1_1-b8a52dc0.pth"
    path.write_bytes(published[1][:1000])
    publish(monkeypatch, f"http://127.0.0.1:9/{path.name}")
    with pytest.raises(WeightsError, match="not what its name says") as caught:
        load_model("torchvision/squeezenet1_1")
    assert str(path) in str(caught.value) and "Delete it" in str(caught.value)


def test_published_weights_are_read_without_running_code(tmp_path, monkeypatch, published):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "made by the file").mkdir, ()

    torch.save({"x": Evil(), "y": torch.ones(1)}, tmp_path / "evil.pth")
    content = (tmp_path / "evil.pth").read_bytes()
    cached(tmp_path).mkdir(parents=True)
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (cached(tmp_path) / name).write_bytes(content)
    publish(monkeypatch, f"http://127.0.0.1:9/{name}")
    with pytest.raises(WeightsError, match="could run code"):
        load_model("torchvision/squeezenet1_1")
    assert not (tmp_path / "made by the file").exists()


def test_video_networks_get_a_still_clip():
    network = load_model("torchvision/r3d_18", pretrained=False)
    assert network.backend.frames == 16 and network.example_size == (112, 112)
    captures = network.modules((32, 32)).resolve(["avgpool"])
    batch = np.zeros((1, 32, 32, 3), np.float32)
    assert network.backend.run(network.model, batch, captures, {})["avgpool"].shape[:2] == (1, 512)


def test_a_choice_is_enough_to_load():
    network = SOURCE.load("alexnet", Choice(pretrained=False, device="cpu"))
    assert network.backend.device == "cpu"
    assert "Network('torchvision/alexnet'" in repr(network)
