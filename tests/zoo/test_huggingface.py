"""Hugging Face as a source; the truths are the library's own classes, processors and tokenizers."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import thingsvision as tv
from thingsvision.errors import (
    InvalidArgument,
    ModuleError,
    ThingsvisionWarning,
    UnknownName,
    WeightsError,
)
from thingsvision.preprocessing import Preprocessing, preprocess
from thingsvision.testing import check_backend, check_source
from thingsvision.zoo import Choice, describe_model, list_models, load_model

tf = pytest.importorskip("transformers")

from thingsvision.zoo import huggingface_inputs as inputs  # noqa: E402
from thingsvision.zoo import huggingface_models as models  # noqa: E402
from thingsvision.zoo.huggingface import SOURCE  # noqa: E402

BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 24}  # fmt: skip
VIT = {**BLOCKS, "image_size": 32, "patch_size": 8}
DINO = {**VIT, "mlp_ratio": 2}
TEXT = {**BLOCKS, "vocab_size": 40, "max_position_embeddings": 10}
SQUARE = {"size": {"height": 32, "width": 32}}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
EFFICIENT = {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.25,
             "hidden_dim": 320}  # fmt: skip


def masked() -> Any:
    config = tf.ViTMAEConfig(
        **VIT, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )  # fmt: skip
    return tf.ViTMAEForPreTraining(config)


def segmenting() -> Any:
    vision = {
        **VIT, "mlp_dim": 24, "output_channels": 8, "num_pos_feats": 4, "window_size": 2,
        "global_attn_indexes": [1], "image_size": 64,
    }  # fmt: skip
    prompt = {"hidden_size": 8, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    decoder = {"hidden_size": 8, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 8}
    return tf.SamModel(
        tf.SamConfig(vision_config=vision, prompt_encoder_config=prompt,
                     mask_decoder_config=decoder)
    )  # fmt: skip


def contrastive(config: Any, model: Any, vision: dict[str, Any], **more: Any) -> Any:
    return model(config(vision_config=vision, text_config={**TEXT, **more}, projection_dim=12))


CLASSES = 5
# Name of a folder -> the network in it, and the processor beside it.
ZOO: dict[str, tuple[Any, Any]] = {
    "vit": (lambda: tf.ViTForImageClassification(tf.ViTConfig(**VIT, num_labels=CLASSES)),
            lambda: tf.ViTImageProcessorPil(**SQUARE)),
    "deit": (lambda: tf.DeiTForImageClassificationWithTeacher(
                 tf.DeiTConfig(**VIT, num_labels=CLASSES)),
             lambda: tf.DeiTImageProcessorPil(
                 size={"height": 37, "width": 37}, crop_size={"height": 32, "width": 32})),
    "beit": (lambda: tf.BeitForImageClassification(tf.BeitConfig(**VIT, num_labels=CLASSES)),
             lambda: tf.BeitImageProcessorPil(
                 size={"height": 37, "width": 37}, do_center_crop=True,
                 crop_size={"height": 32, "width": 32})),
    "swin": (lambda: tf.SwinForImageClassification(tf.SwinConfig(
                 image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2],
                 window_size=4, num_labels=CLASSES)),
             lambda: tf.ViTImageProcessorPil(**SQUARE, resample=3)),
    "convnext": (lambda: tf.ConvNextForImageClassification(
                     tf.ConvNextConfig(**STAGES, num_labels=CLASSES)),
                 lambda: tf.ConvNextImageProcessorPil(size={"shortest_edge": 32})),
    "resnet": (lambda: tf.ResNetForImageClassification(tf.ResNetConfig(
                   **STAGES, embedding_size=8, layer_type="basic", num_labels=CLASSES)),
               lambda: tf.ConvNextImageProcessorPil(size={"shortest_edge": 33}, crop_pct=0.9)),
    "efficientnet": (lambda: tf.EfficientNetForImageClassification(
                         tf.EfficientNetConfig(**EFFICIENT, num_labels=CLASSES)),
                     lambda: tf.EfficientNetImageProcessorPil(
                         size={"height": 70, "width": 64}, do_center_crop=True,
                         crop_size={"height": 63, "width": 63})),
    "dinov2": (lambda: tf.Dinov2Model(tf.Dinov2Config(**DINO)),
               lambda: tf.BitImageProcessorPil(size={"shortest_edge": 37}, crop_size=32)),
    "registers": (lambda: tf.Dinov2WithRegistersModel(
                      tf.Dinov2WithRegistersConfig(**DINO, num_register_tokens=3)),
                  lambda: tf.BitImageProcessorPil(size={"shortest_edge": 37}, crop_size=32)),
    "dinov3": (lambda: tf.DINOv3ViTModel(tf.DINOv3ViTConfig(**VIT, num_register_tokens=4)),
               lambda: tf.DINOv3ViTImageProcessor(**SQUARE)),
    "dinov3_convnext": (lambda: tf.DINOv3ConvNextModel(tf.DINOv3ConvNextConfig(**STAGES)),
                        lambda: tf.DINOv3ViTImageProcessor(size={"height": 64, "width": 64})),
    "mae": (masked, lambda: tf.ViTImageProcessorPil(**SQUARE)),
    "sam": (segmenting, lambda: tf.SamImageProcessorPil(
                size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})),
    "clip": (lambda: contrastive(tf.CLIPConfig, tf.CLIPModel, VIT, eos_token_id=3),
             lambda: tf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)),
    "siglip": (lambda: tf.SiglipModel(tf.SiglipConfig(vision_config=VIT, text_config={
                   **TEXT, "projection_size": 16})),
               lambda: tf.SiglipImageProcessorPil(**SQUARE)),
    "align": (lambda: contrastive(tf.AlignConfig, tf.AlignModel, EFFICIENT),
              lambda: tf.EfficientNetImageProcessorPil(
                  size={"height": 70, "width": 70}, do_center_crop=True, do_normalize=False,
                  crop_size={"height": 64, "width": 64}, rescale_factor=1 / 127.5,
                  rescale_offset=True, include_top=False)),
}  # fmt: skip
PAIRED = ("clip", "siglip", "align")
WORDS = ["a", "photo", "of", "an", "aardvark", "cat", "on", "the", "mat"]
TEXTS = ["a photo of an aardvark", "the cat on the mat"]


def tokenizer(**options: Any) -> Any:
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel

    known = {word: n for n, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    made = Tokenizer(WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<s>",
        eos_token="</s>", model_max_length=10, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the folder of a tiny model, made when it is first asked for."""
    root = tmp_path_factory.mktemp("hub")

    def made(name: str) -> Path:
        if not (root / name).exists():
            build, processor = ZOO[name]
            with torch.random.fork_rng(), models.silent():
                torch.manual_seed(3)
                build().save_pretrained(root / name)
                processor().save_pretrained(root / name)
                if name == "siglip":
                    tokenizer(model_input_names=["input_ids"]).save_pretrained(root / name)
                elif name in PAIRED:
                    tokenizer().save_pretrained(root / name)
        return root / name

    return made


def load(path: Path, **options: Any) -> Any:
    return load_model(f"hf/{path}", device="cpu", **options)


def pictures() -> list[Any]:
    noise = np.random.default_rng(5)
    return [noise.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((50, 71), (64, 41), (90, 90))]


def given_to(network: Any, images: Any) -> Any:
    rows = [preprocess(network.preprocessing, Image.fromarray(image)) for image in images]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous()


def own(path: Path) -> Any:
    """Load a folder as the library's manual says."""
    name = json.loads((path / "config.json").read_text())["architectures"][0]
    name = {"ViTMAEForPreTraining": "ViTMAEModel"}.get(name, name)
    with models.silent():
        return getattr(tf, name).from_pretrained(path).eval()


def reference(path: Path, given: Any) -> dict[str, Any]:
    model = own(path)
    with torch.no_grad():
        if path.name in PAIRED:
            return {"output": model.get_image_features(pixel_values=given).pooler_output}
        if path.name == "sam":
            return {"output": model.get_image_embeddings(given)}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return {f"output[{key}]": value for key, value in model(given).items()}


@pytest.mark.parametrize("name", ZOO)
def test_a_folder_gives_what_the_library_gives(name: str, folder: Any) -> None:
    path = folder(name)
    network = load(path)
    images = pictures()
    wanted = reference(path, given_to(network, images))
    found = tv.extract_features(network, images, list(wanted), exact=True)
    for address, expected in wanted.items():
        assert np.array_equal(found[address], expected), address
    assert network.weights["kind"] == "pretrained"
    assert network.weights["folder"] == str(path)
    assert network.weights["attention"] == network.model.config._attn_implementation
    mine, theirs = network.model.state_dict(), own(path).state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


@pytest.mark.parametrize("name", ["vit", "resnet", "registers", "mae", "sam", "clip"])
def test_every_module_of_a_network(name: str, folder: Any) -> None:
    network = load(folder(name))
    check_backend(network.backend, network.model, network.example_size)


@pytest.mark.parametrize("name", ["vit", "beit", "swin", "convnext", "resnet", "efficientnet"])
def test_penultimate_is_the_input_of_the_classifier(name: str, folder: Any) -> None:
    network = load(folder(name))
    found = tv.extract_features(network, pictures(), ["penultimate", "output[logits]"], exact=True)
    with torch.no_grad():
        layers = [m for m in network.model.modules() if isinstance(m, torch.nn.Linear)]
        scores = layers[-1](torch.from_numpy(np.asarray(found["penultimate"])))
    assert found["output[logits]"].shape == (3, CLASSES)
    np.testing.assert_allclose(found["output[logits]"], scores, rtol=1e-4, atol=1e-6)


def test_the_mean_of_two_classifiers_has_no_penultimate(folder: Any) -> None:
    with pytest.raises(ModuleError, match="penultimate"):
        load(folder("deit")).modules().resolve(["penultimate"])


def test_the_mask_of_mae_follows_the_seed(folder: Any) -> None:
    network = load(folder("mae"))
    address = "output[last_hidden_state]"
    first, again, other = (
        tv.extract_features(network, pictures(), address, seed=seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(first[address], again[address])
    assert not np.array_equal(first[address], other[address])
    assert first[address].provenance["seed"] == 0 and other[address].provenance["seed"] == 1


@pytest.mark.parametrize("name", ["vit", "dinov2", "registers", "dinov3"])
def test_tokens_before_the_patches_are_counted(name: str, folder: Any) -> None:
    survey = load(folder(name)).modules()
    extra = {"vit": 1, "dinov2": 1, "registers": 4, "dinov3": 5}[name]
    assert survey.tokens is not None
    assert (len(survey.tokens.prefix), survey.tokens.patches) == (extra, 16)


# --- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ZOO if not name.startswith("dinov3")])
def test_preprocessing_is_that_of_the_processor_to_the_bit(name: str, folder: Any) -> None:
    path = folder(name)
    with models.silent():
        processor = tf.AutoImageProcessor.from_pretrained(path, backend="pil")
    record = load(path).preprocessing
    noise = np.random.default_rng(8)
    levels = np.arange(3 * 256, dtype=np.uint8).reshape(16, 16, 3)
    sizes = ((50, 71), (64, 41), (500, 375), (7, 9), (32, 32), (33, 64), (5, 64), (300, 301))
    for image in [levels, *(noise.integers(0, 256, (*size, 3), np.uint8) for size in sizes)]:
        expected = processor(images=Image.fromarray(image), return_tensors="np")["pixel_values"][0]
        found = preprocess(record, Image.fromarray(image)).transpose(2, 0, 1)
        assert np.array_equal(found, expected), image.shape
    assert "grey levels" not in record.origin


def test_a_processor_without_pillow_is_met_within_a_stated_distance(folder: Any) -> None:
    record = load(folder("dinov3")).preprocessing
    assert "resized by Pillow, within" in record.origin
    processor = tf.AutoImageProcessor.from_pretrained(folder("dinov3"))
    assert 0 < inputs.deviation(processor, record) < 1.5
    assert inputs.deviation(processor, replace(record, interpolation="bicubic")) > inputs.LEVELS
    assert inputs.deviation(processor, replace(record, resize=(32, 33))) == np.inf


OTHERS: dict[str, Any] = {
    "large ConvNeXt": lambda: tf.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "LeViT": lambda: tf.LevitImageProcessorPil(),
    "MobileNet": lambda: tf.MobileNetV2ImageProcessorPil(),
    "MobileViT, blue first": lambda: tf.MobileViTImageProcessorPil(),
    "grey levels": lambda: tf.ViTImageProcessorPil(do_rescale=False, do_normalize=False),
    "no resize": lambda: tf.CLIPImageProcessorPil(do_resize=False, crop_size=33),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_processors(name: str, tmp_path: Path, folder: Any) -> None:
    processor = OTHERS[name]()
    processor.save_pretrained(tmp_path)
    place, config = models.Place(str(tmp_path), True), tf.ViTConfig(**VIT)
    record = inputs.preprocessing_of(place, config)
    assert inputs.deviation(processor, record) == 0
    assert record.channel_order == ("BGR" if "blue" in name else "RGB")


@pytest.mark.parametrize(
    "processor",
    [
        lambda: tf.PerceiverImageProcessorPil(),  # crops before it resizes
        lambda: tf.DetrImageProcessorPil(),  # shortest and longest edge
        lambda: tf.Siglip2ImageProcessorPil(),  # patches
    ],
)
def test_a_processor_that_no_record_expresses_is_refused(processor: Any, tmp_path: Path) -> None:
    made = processor()
    made.save_pretrained(tmp_path)
    name = type(made).__name__.removesuffix("Pil")
    with pytest.raises(InvalidArgument, match=f"{name}.*wrap_model"):
        inputs.preprocessing_of(models.Place(str(tmp_path), True), tf.ViTConfig(**VIT))


def test_without_a_processor_the_record_is_assumed_and_says_so(tmp_path: Path, folder: Any) -> None:
    own(folder("vit")).save_pretrained(tmp_path)
    with pytest.warns(ThingsvisionWarning, match="so it was assumed"):
        network = load(tmp_path)
    assert network.preprocessing.origin.startswith("assumed")
    assert network.preprocessing.resize == (32, 32)
    assert network.preprocessing.mean == network.preprocessing.std == (0.5, 0.5, 0.5)


def test_a_processor_that_cannot_be_read_is_not_taken_for_absent(
    tmp_path: Path, folder: Any
) -> None:
    path = changed(folder("vit"), tmp_path, lambda state: state)
    (path / "preprocessor_config.json").write_text("{broken")
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        load(path)


def test_the_corner_takes_the_picture_and_the_rest_is_zero() -> None:
    record = Preprocessing(resize=(64, 64), fit="corner", crop=64, mean=(0.5,) * 3)
    found = preprocess(record, Image.new("RGB", (128, 5), "white"))
    assert found.shape == (64, 64, 3)
    assert np.all(found[:3] == 0.5) and np.all(found[3:] == 0)  # 2.5 rows are rounded up
    assert not record.pads(5, 128)


@pytest.mark.parametrize(("side", "begin"), [(33, 0), (34, 1), (35, 1), (36, 2), (31, -1)])
def test_halves_of_a_margin_below(side: int, begin: int) -> None:
    image = Image.new("RGB", (40, side))
    image.putdata([(row + 1,) * 3 for row in range(side) for _ in range(40)])
    found = preprocess(Preprocessing(crop=32, halves="below", divisor=1), image)
    assert found[max(0, -begin), 0, 0] == max(0, begin) + 1


# --- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRED)
def test_embeddings_of_images_and_texts_are_the_models_own(name: str, folder: Any) -> None:
    path = folder(name)
    network, model = load(path), own(path)
    images = pictures()
    found = tv.extract_features(network, images, ["visual", "penultimate"], exact=True)
    texts = tv.extract_features(network, tv.load_texts(TEXTS), ["text", "penultimate"])
    with models.silent():
        words = tf.AutoTokenizer.from_pretrained(path)
    length = network.text.preprocessing.shape[-1]
    tokens = words(
        TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    tokens.pop("token_type_ids", None)
    with torch.no_grad():
        expected = model.get_text_features(**tokens).pooler_output
        seen = model.get_image_features(pixel_values=given_to(network, images)).pooler_output
    assert np.array_equal(found["visual"], seen)
    assert np.array_equal(texts["text"], expected)
    assert np.array_equal(found["penultimate"], found["visual"])
    assert np.array_equal(texts["penultimate"], texts["text"])
    rows = 1 if name == "siglip" else 2
    assert network.text.preprocessing.shape == (rows, 10)
    assert network.digest == network.text.digest


def test_modules_of_the_text_tower_and_texts_that_are_too_long(folder: Any) -> None:
    network = load(folder("clip"))
    with pytest.warns(ThingsvisionWarning, match="1 texts have more than 10 tokens"):
        found = tv.extract_features(
            network, tv.load_texts(["a cat", "cat " * 20]), "text_model.encoder.layers.1"
        )
    assert found["text_model.encoder.layers.1"].shape == (2, 10, 16)


def test_without_a_tokenizer_only_texts_are_refused(tmp_path: Path, folder: Any) -> None:
    own(folder("clip")).save_pretrained(tmp_path)
    ZOO["clip"][1]().save_pretrained(tmp_path)
    network = load(tmp_path)
    assert tv.extract_features(network, pictures(), "visual")["visual"].shape == (3, 12)
    assert network.text.modules().resolve(["text"])
    with pytest.raises(WeightsError, match="no tokenizer"):
        tv.extract_features(network, tv.load_texts(TEXTS), "text")


# --- names and cards ---------------------------------------------------------------------------


def test_the_types_are_asked_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.auto import modeling_auto

    names = SOURCE.names()
    assert {"vit", "dinov2", "dinov3_vit", "vit_mae", "sam", "clip", "siglip", "align"} <= {*names}
    assert "bert" not in names
    monkeypatch.setitem(modeling_auto.MODEL_FOR_IMAGE_MAPPING_NAMES, "vit_of_today", "ViTModel")
    assert "hf/vit_of_today" in list_models("hf/vit*")
    assert "hf/vit_of_today cannot be built" in describe_model("hf/vit_of_today").refusal


def test_what_may_be_a_name(tmp_path: Path) -> None:
    assert SOURCE.accepts("google/vit-base-patch16-224")
    assert SOURCE.accepts(str(tmp_path)) and SOURCE.accepts("./folder")
    assert not SOURCE.accepts("vitt") and not SOURCE.accepts("a/b/c")
    with pytest.raises(UnknownName, match="Nearest"):
        SOURCE.card("vitt")
    with pytest.raises(UnknownName, match="no folder './nowhere'"):
        load_model("hf/./nowhere")


def test_a_folder_by_a_relative_path(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder("vit")
    monkeypatch.chdir(path.parent)
    assert load_model("hf/./vit", device="cpu").digest == load(path).digest


def test_cards_without_a_connection(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("A card has asked the network.")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    hub = describe_model("hf/owner/never-downloaded")
    assert hub.name == "hf/owner/never-downloaded" and hub.url.endswith("owner/never-downloaded")
    assert hub.weights == "main" and "when it is loaded" in hub.training_data
    assert SOURCE.card("owner/never-downloaded", "v2").weights == "v2"
    local = describe_model(f"hf/{folder('vit')}")
    assert (local.task, local.weights) == ("classification", "local")
    assert describe_model(f"hf/{folder('clip')}").task == "images and texts"
    bare = describe_model("hf/vit")
    assert bare.weights is None and bare.preprocessing is not None
    assert bare.preprocessing.origin.startswith("assumed")


def test_classes_are_named_where_the_configuration_names_them(tmp_path: Path) -> None:
    config = tf.ViTConfig(**VIT, id2label={0: "cat", 1: "dog"})
    config.architectures = ["ViTForImageClassification"]
    config.save_pretrained(tmp_path)
    card = describe_model(f"hf/{tmp_path}")
    assert card.classes == ("cat", "dog") and card.weights is None


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCE.names())
def test_every_type_shows_its_modules_or_says_why_not(name: str) -> None:
    card = describe_model(f"hf/{name}")
    if card.refusal or name in ABSENT:
        with pytest.raises(InvalidArgument, match=re.escape(ABSENT.get(name, card.refusal)[:60])):
            load_model(f"hf/{name}", pretrained=False, device="meta")
        return
    network = load_model(f"hf/{name}", pretrained=False, device="meta")
    try:
        survey = network.modules()
    except ModuleError:  # its course depends on the data
        network = load_model(f"hf/{name}", pretrained=False, device="cpu")
        if name in UNFIT:
            with pytest.raises(ModuleError, match=UNFIT[name]):
                network.modules()
            return
        survey = network.modules()
    assert survey.resolve([f"output{survey.root.address(survey.root.outputs[0])}"])


# Without another package, or without a default: said when they are loaded.
ABSENT = {"dinat": "requires the natten library", "timm_backbone": "backbone is not set"}
# Whose default configuration names no size, or does not agree with itself.
UNFIT = {"depth_pro": "too small to be scaled", "edgetam": "to have 384 channels"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("imagegpt", "input_ids, not images"),
        ("siglip2", "patches"),
        ("videomae", "films"),
    ],
)
def test_what_takes_no_single_image_is_refused(name: str, reason: str) -> None:
    assert reason in describe_model(f"hf/{name}").refusal
    with pytest.raises(InvalidArgument, match=reason):
        load_model(f"hf/{name}", pretrained=False, device="meta")


# --- weights -----------------------------------------------------------------------------------


def test_a_type_has_no_trained_weights() -> None:
    with pytest.raises(WeightsError, match=r"hub, e\.g\. hf/google/vit-base-patch16-224"):
        load_model("hf/vit")


def test_a_type_passes_the_battery_of_sources() -> None:
    check_source(SOURCE, "mobilenet_v2")


def test_random_networks_follow_the_seed_as_the_library_draws(folder: Any) -> None:
    path = folder("vit")
    one, again, other = (load(path, pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert one.digest == again.digest != other.digest
    with torch.random.fork_rng():
        torch.manual_seed(1)
        drawn = tf.ViTForImageClassification(tf.AutoConfig.from_pretrained(path))
    state = drawn.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in one.model.state_dict().items())
    assert one.weights["kind"] == "random" and one.weights["seed"] == 1
    orthogonal = load(path, pretrained=False, init="orthogonal").model
    weight = orthogonal.vit.layers[0].mlp.fc1.weight.detach()
    torch.testing.assert_close(weight.T @ weight, torch.eye(16), atol=1e-5, rtol=0)


def test_weights_from_a_file(tmp_path: Path, folder: Any) -> None:
    model = load(folder("vit"), pretrained=False, seed=7).model
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    mine = load(folder("vit"), weights=tmp_path / "mine.pth")
    assert torch.equal(mine.model.classifier.weight, model.classifier.weight)
    assert mine.weights["kind"] == "file"
    with pytest.raises(WeightsError, match="missing"):
        load(folder("swin"), weights=tmp_path / "mine.pth")


def changed(path: Path, target: Path, change: Any) -> Path:
    """Copy a folder, its weights changed."""
    target.mkdir(exist_ok=True)
    for file in path.glob("*.json"):
        (target / file.name).write_bytes(file.read_bytes())
    state = change(load_file(path / "model.safetensors"))
    save_file(state, target / "model.safetensors", {"format": "pt"})
    return target


def test_a_head_that_is_missing_is_refused_not_drawn(tmp_path: Path, folder: Any) -> None:
    path = changed(
        folder("vit"), tmp_path,
        lambda state: {k: v for k, v in state.items() if not k.startswith("classifier")},
    )  # fmt: skip
    with pytest.raises(WeightsError, match=r"2 missing: classifier\.bias, classifier\.weight"):
        load(path)
    assert load(path, pretrained=False).weights["kind"] == "random"


def test_weights_of_another_shape_are_refused(tmp_path: Path, folder: Any) -> None:
    path = changed(
        folder("vit"), tmp_path, lambda state: {**state, "classifier.bias": torch.zeros(9)}
    )
    with pytest.raises(WeightsError, match=r"classifier\.bias \(9,\) in place of \(5,\)"):
        load(path)


def test_a_pooling_layer_that_was_not_trained_is_left_away(tmp_path: Path) -> None:
    with models.silent():
        tf.ViTForMaskedImageModeling(tf.ViTConfig(**VIT)).save_pretrained(tmp_path)
        tf.ViTImageProcessorPil(**SQUARE).save_pretrained(tmp_path)
    network = load(tmp_path)
    assert network.weights["add_pooling_layer"] is False
    assert "decoder.0.weight" in network.weights["unused"]
    found = network.modules()
    assert "pooler" not in [module.name for module in found.modules]


@pytest.mark.parametrize("name", ["vit", "dinov2", "swin", "clip"])
def test_weights_from_a_published_file(name: str, tmp_path: Path, folder: Any) -> None:
    """Files of the hub name some modules otherwise than the library's networks do."""
    published = folder(name) / "model.safetensors"
    mine = load(folder(name), weights=published)
    assert mine.weights["kind"] == "file" and mine.digest == load(folder(name)).digest
    state = load_file(published)
    state.pop(next(iter(state)))
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match="missing"):
        load(folder(name), weights=tmp_path / "less.safetensors")


def test_tensors_in_a_pickled_file_are_read_and_code_is_not(tmp_path: Path, folder: Any) -> None:
    path = changed(folder("vit"), tmp_path, lambda state: state)
    (path / "model.safetensors").unlink()
    model = own(folder("vit"))
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    assert load(path).digest == load(folder("vit")).digest
    marker = tmp_path / "was-run"

    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(marker),)

    (path / "pytorch_model.bin").write_bytes(pickle.dumps({"classifier.bias": Harmful()}))
    with pytest.raises(WeightsError, match="holds no model that can be loaded"):
        load(path)
    assert not marker.exists()


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')")
    with pytest.raises(WeightsError, match="never run"):
        load(tmp_path)
    assert not (tmp_path / "was-run").exists()


def test_nothing_is_printed(folder: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(folder("mae"))
        load(folder("vit"), pretrained=False)
    assert capfd.readouterr() == ("", "")


# --- the hub -----------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
import thingsvision as tv
from thingsvision.zoo.huggingface import SOURCE
network = tv.load_model("hf/owner/tiny", device="cpu", **eval(sys.argv[1]))
print(network.digest, network.weights["commit"], network.preprocessing.origin, sep="|")
print(SOURCE.card("owner/tiny", network.weights["weights"]).task)
"""


class Hub(SimpleHTTPRequestHandler):
    """Answers for one repository as the hub does: files, their tags, and the commit."""

    revisions = ("main", "v1", COMMIT)

    def translate_path(self, path: str) -> str:
        parts = path.partition("?")[0].strip("/").split("/")
        is_file = parts[:3] == ["owner", "tiny", "resolve"] and parts[3] in self.revisions
        return str(Path(self.directory) / (parts[4] if is_file and len(parts) == 5 else "none"))

    def end_headers(self) -> None:
        self.send_header("ETag", f'"{abs(hash(self.path)):x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        super().end_headers()

    def send_error(self, code: int, *args: Any, **options: Any) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(folder: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(folder("vit"))))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(endpoint: str, home: Path, offline: bool = False, **options: Any) -> Any:
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home),
        "HF_HUB_OFFLINE": str(int(offline)),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, repr(options)], env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip


def test_a_model_from_the_hub(hub: str, tmp_path: Path, folder: Any) -> None:
    done = run(hub, tmp_path, weights="v1")
    assert done.returncode == 0, done.stderr
    digest, commit, origin = done.stdout.splitlines()[0].split("|")
    assert (digest, commit) == (load(folder("vit")).digest, COMMIT)
    assert origin == "transformers ViTImageProcessor of owner/tiny"
    assert done.stdout.splitlines()[1] == "classification"  # read from what was downloaded
    assert done.stderr == ""


@pytest.mark.slow
def test_a_repository_without_a_processor(hub: str, tmp_path: Path, folder: Any) -> None:
    file = folder("vit") / "preprocessor_config.json"
    content = file.read_bytes()
    file.unlink()
    done = run(hub, tmp_path)
    file.write_bytes(content)
    assert done.returncode == 0, done.stderr
    assert "assumed, with the size of a vit" in done.stdout and "so it was assumed" in done.stderr


@pytest.mark.parametrize(
    "offline",
    [True, pytest.param(False, marks=pytest.mark.slow)],  # the hub's library tries for 24 s
)
def test_a_hub_that_cannot_be_reached(tmp_path: Path, offline: bool) -> None:
    done = run("http://127.0.0.1:9", tmp_path, offline)
    assert "WeightsError" in done.stderr
    assert "'owner/tiny' cannot be had" in done.stderr and "hf/./tiny" in done.stderr


def test_a_choice_of_weights_is_a_revision_on_the_hub_only(folder: Any) -> None:
    with pytest.raises(UnknownName):
        SOURCE.card("vit", "v1")
    with pytest.raises(UnknownName, match="local"):
        SOURCE.load(str(folder("vit")), Choice(weights="v1"))
