"""Weights of timm: one's own, and published ones, which servers on this machine hand out."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import timm
import torch
from safetensors.torch import save_file

import thingsvision as tv
from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import InvalidArgument, UnknownName, WeightsError
from thingsvision.zoo import describe_model
from thingsvision.zoo.timm import SOURCE


def test_weights_of_ones_own_may_have_other_classes(tmp_path: Path) -> None:
    model = timm.create_model("resnet10t", num_classes=7)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    network = tv.load_model("timm/resnet10t", weights=tmp_path / "mine.pth")
    assert network.modules().resolve(["output"])[0].shape == (7,)
    assert network.weights["preprocessing"].startswith("assumed")


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
