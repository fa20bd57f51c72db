"""OpenCLIP as a source; the truths are its own transforms, tokenizers and encoders."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import thingsvision as tv
from thingsvision.errors import InvalidArgument, ThingsvisionWarning, UnknownName, WeightsError
from thingsvision.preprocessing import preprocess
from thingsvision.testing import check_backend, check_source
from thingsvision.zoo import Choice

open_clip = pytest.importorskip("open_clip")

from thingsvision.zoo import openclip as source  # noqa: E402

TEXTS = ["a photo of an aardvark", "a cat on a mat", "ein Käse"]
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
CONFIGS: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny-quickgelu": {
        "embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True,
    },
    "tiny-custom": {"embed_dim": 12, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True},
    "tiny-resnet": {
        "embed_dim": 12, "text_cfg": TEXT,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    },
    "tiny-timm": {
        "embed_dim": 12, "text_cfg": TEXT, "custom_text": True,
        "vision_cfg": {"timm_model_name": "resnet10t", "timm_model_pretrained": False,
                       "timm_pool": "", "timm_proj": "linear", "image_size": 64},
    },
    "tiny-coca": {
        "embed_dim": 12, "custom_text": True,
        "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 2,
                       "output_tokens": True},
        "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2,
                           "layers": 1, "attn_pooler_heads": 2},
    },
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Add small architectures to open_clip's own registry, in the way it offers."""
    from open_clip import factory

    known = dict(factory._MODEL_CONFIGS), list(factory._MODEL_CONFIG_PATHS)
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(known[0])
    factory._MODEL_CONFIG_PATHS[:] = known[1]


def load(name: str, **options: Any) -> Any:
    return source.SOURCE.load(name, Choice(pretrained=False, device="cpu", **options))


def pictures(size: int, count: int = 3) -> Any:
    return np.random.default_rng(0).integers(0, 255, (count, size, size, 3), np.uint8)


def tensors(network: Any, images: Any) -> Any:
    rows = [preprocess(network.preprocessing, Image.fromarray(image)) for image in images]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("name", CONFIGS)
def test_embeddings_are_those_of_the_librarys_encoders(name: str) -> None:
    network = load(name)
    size = network.example_size[0]
    images = pictures(size)
    found = tv.extract_features(network, images, ["visual", "penultimate"], exact=True)
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    texts = tv.extract_features(network, tv.load_texts(TEXTS), ["text", "penultimate"])
    with torch.no_grad():
        model = network.model.eval()
        given = tensors(network, images)
        assert np.array_equal(found["visual"], model.encode_image(given, normalize=False))
        assert np.array_equal(
            texts["text"], network.text.model.encode_text(tokens, normalize=False)
        )
    assert found["visual"].shape == texts["text"].shape == (3, 12)
    assert np.array_equal(found["penultimate"], found["visual"])
    assert np.array_equal(texts["penultimate"], texts["text"])
    assert texts["text"].ids == tuple(TEXTS)


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-resnet"])
def test_every_module_of_both_towers(name: str) -> None:
    network = load(name)
    check_backend(network.backend, network.model, network.example_size)
    survey = network.text.modules()
    block = "text.transformer.resblocks.1" if "custom" in name else "transformer.resblocks.1"
    capture = survey.resolve([block])[0]
    assert capture.shape == (16, 16) and capture.axes[0] == "stimulus"
    seen: list[Any] = []
    hook = network.model.get_submodule(block).register_forward_hook(
        lambda module, args, output: seen.append(output.clone())
    )
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    with torch.no_grad():
        network.model.eval().encode_text(tokens)
    hook.remove()
    found = tv.extract_features(network, tv.load_texts(TEXTS), block)
    wanted = seen[0] if seen[0].shape[0] == 3 else seen[0].movedim(1, 0)
    assert np.array_equal(found[block], wanted)


def test_modules_of_the_other_tower_are_refused() -> None:
    network = load("tiny")
    with pytest.raises(tv.errors.ModuleError, match="never called"):
        tv.extract_features(network, pictures(32), "transformer.resblocks.1")


def test_preprocessing_is_open_clips_own_in_every_distinct_configuration() -> None:
    kinds: dict[Any, tuple[str, str]] = {}
    for name, tag in open_clip.list_pretrained():
        config = open_clip.get_pretrained_cfg(name, tag)
        size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
        keys = ("mean", "std", "interpolation", "resize_mode", "fill_color")
        kinds.setdefault((size, *(str(config.get(key)) for key in keys)), (name, tag))
    assert len(kinds) > 15
    for name, tag in kinds.values():
        config = open_clip.get_pretrained_cfg(name, tag)
        merged = open_clip.transform.merge_preprocess_dict(
            open_clip.transform.PreprocessCfg(), config
        )
        size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
        truth = open_clip.image_transform(
            size, is_train=False, mean=merged["mean"], std=merged["std"],
            interpolation=merged["interpolation"], resize_mode=merged["resize_mode"],
            fill_color=merged["fill_color"],
        )  # fmt: skip
        record = source.SOURCE.card(name, tag).preprocessing
        for height, width in ((375, 500), (301, 203)):
            random = np.random.default_rng(height)
            image = Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8))
            wanted = truth(image).permute(1, 2, 0).numpy()
            assert np.array_equal(preprocess(record, image), wanted), (name, tag)


def test_names_and_weights_are_those_of_the_registry() -> None:
    names = source.SOURCE.names()
    assert set(open_clip.list_models()) < set(names)
    ours = {(n, t) for n in names if n not in source.PAPER
            for t in source.SOURCE.card(n).all_weights}  # fmt: skip
    assert ours == set(open_clip.list_pretrained())
    with pytest.raises(UnknownName, match="openai"):
        source.SOURCE.card("ViT-B-32", "openay")


def activations(model: Any) -> set[str]:
    kinds = {"QuickGELU", "GELU"}
    return {type(module).__name__ for module in model.modules()} & kinds


@pytest.mark.parametrize("bare", ["clip-RN", "clip-ViT"])
def test_the_papers_names_are_openais_networks_with_their_activation(bare: str) -> None:
    network = tv.load_model(bare, device="meta")
    assert network.card.all_weights == ("openai",)
    assert activations(network.model) == {"QuickGELU"}
    architecture, tag = source.PAPER[bare]
    assert open_clip.get_pretrained_cfg(architecture, tag)["quick_gelu"]


def test_weights_bring_their_activation() -> None:
    for name, tag in open_clip.list_pretrained():
        needs = open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
        if needs:
            assert source._is_quick(name, tag), (name, tag)
    assert not source._is_quick("ViT-B-32", "laion2b_s34b_b79k")


def test_a_file_of_weights(tmp_path: Path) -> None:
    other = load("tiny", seed=3)
    torch.save(other.model.state_dict(), tmp_path / "mine.pth")
    with pytest.warns(ThingsvisionWarning, match="GELU is used.*openclip/tiny-quickgelu"):
        network = tv.load_model("openclip/tiny", weights=tmp_path / "mine.pth")
    assert network.digest == other.digest
    with pytest.warns(ThingsvisionWarning, match="QuickGELU is used"):
        quick = tv.load_model("openclip/tiny-quickgelu", weights=tmp_path / "mine.pth")
    assert activations(quick.model) == {"QuickGELU"}


def tags(monkeypatch: pytest.MonkeyPatch, table: dict[str, dict[str, Any]]) -> None:
    """Let open_clip list these weights, and no others, for every architecture."""
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: table.get(tag, {}))
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: list(table))


def test_random_networks_have_the_activation_of_the_default_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert activations(load("tiny").model) == {"GELU"}
    tags(monkeypatch, {"first": {"quick_gelu": True}, "second": {}})
    assert activations(load("tiny").model) == {"QuickGELU"}
    assert activations(load("tiny", weights="second").model) == {"GELU"}


def test_weights_named_with_a_file_decide_its_activation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    file = tmp_path / "mine.pth"
    torch.save(load("tiny").model.state_dict(), file)
    tags(monkeypatch, {"quick": {"quick_gelu": True}, "plain": {}})
    for tag, kind in (("quick", "QuickGELU"), ("plain", "GELU")):
        network = tv.load_model(f"openclip/tiny.{tag}", weights=file)
        assert activations(network.model) == {kind}
        assert network.preprocessing.origin == f"open_clip tiny.{tag}"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    url = f"http://127.0.0.1:9/quick-{digest[:8]}.pt"
    tags(monkeypatch, {"plain": {}, "quick": {"quick_gelu": True, "url": url}})
    assert activations(tv.load_model("openclip/tiny", weights=file).model) == {"QuickGELU"}
    assert not [w for w in recwarn if issubclass(w.category, ThingsvisionWarning)]


def test_older_names_of_weights_are_understood(tmp_path: Path) -> None:
    old, new = load("tiny", seed=3).model, load("tiny-custom", seed=4).model
    state = {f"module.{name}": value for name, value in old.state_dict().items()}
    state["module.logit_scale"] = state["module.logit_scale"].reshape(1)
    torch.save({"state_dict": state}, tmp_path / "old.pt")
    network = tv.load_model("openclip/tiny-custom", weights=tmp_path / "old.pt")
    tokens = open_clip.get_tokenizer("tiny")(TEXTS)
    with torch.no_grad():
        wanted = old.eval().encode_text(tokens)
        assert torch.equal(network.model.eval().encode_text(tokens), wanted)
        assert not torch.equal(new.eval().encode_text(tokens), wanted)


def test_the_elements_of_cocas_towers() -> None:
    network = load("tiny-coca")
    images = pictures(32)
    found = tv.extract_features(network, images, ["visual", "visual[0]", "visual[1]"], exact=True)
    with torch.no_grad():
        latent, tokens = network.model.eval().visual(tensors(network, images))
    assert np.array_equal(found["visual"], latent) and np.array_equal(found["visual[0]"], latent)
    assert np.array_equal(found["visual[1]"], tokens) and tokens.ndim == 3


@pytest.mark.parametrize("name", ["tiny", "tiny-coca"])
def test_the_contract(name: str) -> None:
    check_source(source.SOURCE, name)


def test_weights_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    wanted = load("tiny", seed=5)
    torch.save(wanted.model.state_dict(), served / "tiny.pt")
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    monkeypatch.setattr("open_clip.pretrained._PRETRAINED", {})
    monkeypatch.setenv("HOME", str(tmp_path))  # where open_clip keeps its files
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    config = {"url": f"{address}/tiny.pt", "hf_hub": "", "mean": (0.5,) * 3, "std": (0.5,) * 3,
              "interpolation": "bilinear", "resize_mode": "squash"}  # fmt: skip
    missing = {**config, "url": f"{address}/missing.pt"}
    from open_clip import pretrained

    table = {"tag": config, "gone": missing}
    for module in (pretrained, open_clip, __import__("open_clip.factory").factory):
        if hasattr(module, "get_pretrained_cfg"):
            monkeypatch.setattr(module, "get_pretrained_cfg", lambda name, tag: table.get(tag, {}))
        if hasattr(module, "list_pretrained_tags_by_model"):
            monkeypatch.setattr(module, "list_pretrained_tags_by_model", lambda name: list(table))
    try:
        network = tv.load_model("openclip/tiny")
        assert network.name == "openclip/tiny.tag" and network.digest == wanted.digest
        assert network.preprocessing.resize == (32, 32)
        with pytest.raises(WeightsError, match=r"missing\.pt.*weights="):
            tv.load_model("openclip/tiny.gone")
    finally:
        server.shutdown()
        server.server_close()
    assert "WARNING" not in capfd.readouterr().err


def test_long_texts_are_named() -> None:
    network = load("tiny")
    texts = tv.load_texts(["short", "long " * 30])
    with pytest.warns(ThingsvisionWarning, match="1 texts have more than 16 tokens.*long long"):
        tv.extract_features(network, texts, "text")


def test_there_are_no_weights_for_some() -> None:
    with pytest.raises(WeightsError, match="no published weights for openclip/tiny"):
        tv.load_model("openclip/tiny")


def test_similarity_is_the_normalised_product() -> None:
    network = load("tiny")
    images = pictures(32)
    table = tv.image_text_similarity(network, images, TEXTS, batch_size=2)
    model = network.model.eval()
    with torch.no_grad():
        seen = model.encode_image(tensors(network, images), normalize=True)
        read = model.encode_text(open_clip.get_tokenizer("tiny")(TEXTS), normalize=True)
    np.testing.assert_allclose(table, seen @ read.T, atol=1e-6)
    assert list(table.index) == ["000000", "000001", "000002"] and list(table.columns) == TEXTS
    alone = tv.wrap_model(model.visual, network.preprocessing)
    with pytest.raises(InvalidArgument, match="takes images only"):
        tv.image_text_similarity(alone, images, TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RN50", "ViT-B-32", "coca_ViT-B-32", "ViT-B-16-SigLIP"])
def test_real_architectures(name: str) -> None:
    network = load(name)
    size = network.example_size[0]
    found = tv.extract_features(network, pictures(size, 1), ["visual"])
    with torch.no_grad():
        wanted = network.model.eval().encode_image(tensors(network, pictures(size, 1)))
    assert np.array_equal(found["visual"], wanted)


def test_an_embedding_without_direction_is_named() -> None:
    network = load("tiny")
    with torch.no_grad():
        network.model.text_projection.zero_()
    with pytest.raises(InvalidArgument, match="3 embeddings are zero.*a photo of an aardvark"):
        tv.image_text_similarity(network, pictures(32), TEXTS)
