"""Hugging Face as a source; the truths are transformers' own models, processors and tokenizers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import thingsvision as tv
from thingsvision.errors import InvalidArgument, ModuleError, UnknownName, WeightsError
from thingsvision.preprocessing import preprocess
from thingsvision.testing import check_backend, check_source
from thingsvision.zoo import Choice, describe_model

transformers = pytest.importorskip("transformers")

from thingsvision.zoo import huggingface  # noqa: E402

WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 24}  # fmt: skip
IMAGE = {"image_size": 32, "patch_size": 8}
WORDS = {**WIDTHS, "vocab_size": 40, "max_position_embeddings": 12}
TEXTS = ["a cat", "a photo of a dog", "cup"]


def config(kind: str, **options: Any) -> Any:
    return getattr(transformers, f"{kind}Config")(**options)


def clip_config() -> Any:
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return config("CLIP", text_config={**WORDS, **ids}, vision_config={**WIDTHS, **IMAGE},
                  projection_dim=10)  # fmt: skip


def siglip_config() -> Any:
    return config("Siglip", text_config={**WORDS, "projection_size": 16},
                  vision_config={**WIDTHS, **IMAGE})  # fmt: skip


def align_config() -> Any:
    vision = {"image_size": 64, "width_coefficient": 0.1, "depth_coefficient": 0.1,
              "hidden_dim": 64, "kernel_sizes": [3, 3, 3, 5, 3, 5, 3]}  # fmt: skip
    return config("Align", text_config={**WORDS, "type_vocab_size": 1}, vision_config=vision,
                  projection_dim=32)  # fmt: skip


SMALL = {
    "ViTForImageClassification": lambda: config("ViT", **WIDTHS, **IMAGE, num_labels=5),
    "ViTModel": lambda: config("ViT", **WIDTHS, **IMAGE),
    "DeiTForImageClassification": lambda: config("DeiT", **WIDTHS, **IMAGE, num_labels=5),
    "BeitModel": lambda: config("Beit", **WIDTHS, **IMAGE),
    "Dinov2Model": lambda: config("Dinov2", **WIDTHS, **IMAGE),
    "Dinov2WithRegistersModel": lambda: config(
        "Dinov2WithRegisters", **WIDTHS, **IMAGE, num_register_tokens=2
    ),
    "DINOv3ViTModel": lambda: config("DINOv3ViT", **WIDTHS, **IMAGE, num_register_tokens=2),
    "SwinModel": lambda: config(
        "Swin", image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2],
        window_size=4,
    ),
    "ResNetForImageClassification": lambda: config(
        "ResNet", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5
    ),
    "ConvNextModel": lambda: config("ConvNext", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
    "SiglipVisionModel": lambda: config("SiglipVision", **WIDTHS, **IMAGE),
}  # fmt: skip
TOWERS = {"CLIPModel": clip_config, "SiglipModel": siglip_config, "AlignModel": align_config}


def saved(folder: Path, name: str, make: Any, processor: Any = None) -> Any:
    """Make a model as its authors would, with weights, and save it as the hub has it."""
    torch.manual_seed(0)
    model = getattr(transformers, name)(make()).eval()
    for parameter in model.parameters():  # nothing may stay at a value that any model has
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    processor = processor or transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return model


def save_tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<pad>", "<s>", "</s>", "<unk>", *["a", "photo", "of", "cat", "dog", "cup"]]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>",
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer


def pictures(count: int = 3, height: int = 40, width: int = 60) -> Any:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), np.uint8)


def tensors(network: Any, images: Any) -> Any:
    rows = [preprocess(network.preprocessing, Image.fromarray(image)) for image in images]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", SMALL)
def test_a_folder_gives_the_model_that_was_saved(name: str, tmp_path: Path) -> None:
    truth = saved(tmp_path, name, SMALL[name])
    network = tv.load_model(f"hf/{tmp_path}")
    assert type(network.model).__name__ == name
    whole = [m for m in network.modules().modules if any(not o.path for o in m.last)]
    names = [module.name for module in whole]
    assert set(names) <= {n for n, _ in truth.named_modules()}
    field = "logits" if name.endswith("Classification") else "last_hidden_state"
    address = f"output[{field}]"
    found = tv.extract_features(network, pictures(), [names[0], names[-1], address])
    with torch.no_grad():
        wanted = truth(pixel_values=tensors(network, pictures()))[field]
    np.testing.assert_allclose(found[address], wanted, rtol=1e-5, atol=1e-6)
    assert found[address].shape[0] == 3


@pytest.mark.parametrize("name", ["ViTForImageClassification", "Dinov2WithRegistersModel"])
def test_the_backends_promises(name: str, tmp_path: Path) -> None:
    saved(tmp_path, name, SMALL[name])
    network = tv.load_model(f"hf/{tmp_path}")
    check_backend(network.backend, network.model, (32, 32))


@pytest.mark.parametrize("name", TOWERS)
def test_towers_give_the_librarys_embeddings(name: str, tmp_path: Path) -> None:
    side = 64 if name == "AlignModel" else 32
    processor = transformers.ViTImageProcessor(size={"height": side, "width": side})
    truth = saved(tmp_path, name, TOWERS[name], processor)
    tokenizer = save_tokenizer(tmp_path)
    network = tv.load_model(f"hf/{tmp_path}")
    images, texts = pictures(), tv.load_texts(TEXTS)
    seen = tv.extract_features(network, images, ["visual", "penultimate"])
    read = tv.extract_features(network, texts, ["text", "penultimate"])
    tokens = tokenizer(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
    keys = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        image = truth.get_image_features(pixel_values=tensors(network, images))
        text = truth.get_text_features(**keys)
    for found, output in ((seen["visual"], image), (read["text"], text)):
        wanted = output if isinstance(output, torch.Tensor) else output.pooler_output
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(seen["visual"], seen["penultimate"])
    assert np.array_equal(read["text"], read["penultimate"])
    table = tv.image_text_similarity(network, images, texts)
    assert table.shape == (3, 3) and np.abs(table.to_numpy()).max() <= 1


PROCESSORS = {
    "ViTImageProcessor": {"size": {"height": 32, "width": 48}},
    "DeiTImageProcessor": {"size": {"height": 40, "width": 40},
                           "crop_size": {"height": 32, "width": 32}},
    "CLIPImageProcessor": {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}},
    "BitImageProcessor": {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}},
    "SiglipImageProcessor": {"size": {"height": 32, "width": 32}},
    "BeitImageProcessor": {"size": {"height": 32, "width": 32}},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 32}},
    "DINOv3ViTImageProcessor": {"size": {"height": 32, "width": 32}},
    "SamImageProcessor": {"size": {"longest_edge": 32}, "pad_size": {"height": 32, "width": 32}},
}  # fmt: skip


@pytest.mark.parametrize("kind", [*PROCESSORS, "ConvNextImageProcessor large"])
def test_preprocessing_is_that_of_the_image_processor(kind: str, tmp_path: Path) -> None:
    options = PROCESSORS.get(kind, {"size": {"shortest_edge": 384}})
    kind = kind.partition(" ")[0]
    getattr(transformers, kind)(**options).save_pretrained(tmp_path)
    config("ViT", **WIDTHS, **IMAGE).save_pretrained(tmp_path)
    record = describe_model(f"hf/{tmp_path}").preprocessing
    assert record is not None and kind in record.origin
    truth = getattr(transformers, kind)(**options)
    on_pictures = getattr(transformers, f"{kind}Pil", None)
    level = 1 / record.divisor / min(record.std)
    for height, width in ((61, 97), (97, 61), (24, 30)):
        image = Image.fromarray(pictures(1, height, width)[0])
        found = preprocess(record, image).transpose(2, 0, 1)
        # Processors resize tensors by default, which rounds otherwise than Pillow.
        wanted = np.asarray(truth(images=image, return_tensors="pt")["pixel_values"][0])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1.01 * level)
        if on_pictures and record.crop is None:  # Pillow's processors crop a pixel beside
            wanted = on_pictures(**options)(images=image, return_tensors="np")["pixel_values"][0]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-6)


def test_what_a_record_cannot_say_is_refused(tmp_path: Path) -> None:
    transformers.Siglip2ImageProcessor().save_pretrained(tmp_path)
    config("ViT", **WIDTHS, **IMAGE).save_pretrained(tmp_path)
    with pytest.raises(InvalidArgument, match="Siglip2ImageProcessor.*no fixed size"):
        describe_model(f"hf/{tmp_path}")


def test_a_record_that_differs_from_its_processor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    config("ViT", **WIDTHS, **IMAGE).save_pretrained(tmp_path)
    original = transformers.ViTImageProcessor.__call__
    monkeypatch.setattr(
        transformers.ViTImageProcessor, "__call__",
        lambda self, images, **options: original(self, images.rotate(90), **options),
    )  # fmt: skip
    with pytest.raises(InvalidArgument, match="otherwise than this record.*wrap_model"):
        describe_model(f"hf/{tmp_path}")


def test_types_are_built_at_random() -> None:
    names = huggingface.SOURCE.names()
    assert {"vit", "dinov2", "clip", "siglip", "align", "vit_mae", "sam"} <= set(names)
    assert "bert" not in names and names == sorted(names)
    check_source(huggingface.SOURCE, "resnet")
    card = describe_model("hf/resnet")
    assert card.preprocessing.origin.startswith("assumed")
    with pytest.raises(WeightsError, match="is a type of model, without weights"):
        tv.load_model("hf/resnet")
    with pytest.raises(UnknownName):
        tv.load_model("hf/resnt", pretrained=False)


def test_masks_are_drawn_from_the_seed(tmp_path: Path) -> None:
    make = partial(config, "ViTMAE", **WIDTHS, **IMAGE)
    saved(tmp_path, "ViTMAEModel", make)
    network = tv.load_model(f"hf/{tmp_path}")
    address = "output[last_hidden_state]"
    first, again, other = (
        np.asarray(tv.extract_features(network, pictures(), address, seed=seed)[address])
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_sam_is_entered_by_its_images(tmp_path: Path) -> None:
    vision = {**WIDTHS, "image_size": 64, "patch_size": 16, "output_channels": 8, "mlp_dim": 24,
              "global_attn_indexes": [1], "window_size": 2}  # fmt: skip
    make = partial(config, "Sam", vision_config=vision,
                   prompt_encoder_config={"hidden_size": 8, "image_size": 64, "patch_size": 16,
                                          "mask_input_channels": 2},
                   mask_decoder_config={"hidden_size": 8, "mlp_dim": 16, "num_hidden_layers": 1,
                                        "num_attention_heads": 2,
                                        "iou_head_hidden_dim": 8})  # fmt: skip
    processor = transformers.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
    )
    truth = saved(tmp_path, "SamModel", make, processor)
    network = tv.load_model(f"hf/{tmp_path}")
    found = tv.extract_features(network, pictures(), ["vision_encoder.neck", "output"])
    with torch.no_grad():
        wanted = truth.get_image_embeddings(tensors(network, pictures()))
    np.testing.assert_allclose(found["output"], wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModuleError, match="never called"):
        tv.extract_features(network, pictures(), "mask_decoder.iou_prediction_head")


def test_a_head_that_would_be_random_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "ViTModel", SMALL["ViTModel"])
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["architectures"] = ["ViTForImageClassification"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="would be random: classifier"):
        tv.load_model(f"hf/{tmp_path}")


def test_features_without_a_pooler_are_loaded_without(tmp_path: Path) -> None:
    torch.manual_seed(0)
    truth = transformers.ViTModel(SMALL["ViTModel"](), add_pooling_layer=False)
    truth.save_pretrained(tmp_path)
    network = tv.load_model(f"hf/{tmp_path}")
    assert "pooler" not in [module.name for module in network.modules().modules]
    assert network.preprocessing.origin.startswith("assumed")


def test_broken_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"configuration of hf/.* cannot be had"):
        tv.load_model(f"hf/{tmp_path}")
    saved(tmp_path, "ViTModel", SMALL["ViTModel"])
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"weights of hf/.* cannot be had"):
        tv.load_model(f"hf/{tmp_path}")
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(WeightsError, match="cannot be had"):
        tv.load_model(f"hf/{tmp_path}")


def test_weights_of_ones_own(tmp_path: Path) -> None:
    network = huggingface.SOURCE.load("resnet", Choice(pretrained=False, seed=3, device="cpu"))
    torch.save(network.model.state_dict(), tmp_path / "mine.pth")
    again = tv.load_model("hf/resnet", weights=tmp_path / "mine.pth")
    assert again.digest == network.digest


FROM_HUB = """
import numpy as np, thingsvision as tv, thingsvision.errors
try:
    network = tv.load_model("hf/lab/tiny")
    images = np.zeros((1, 40, 40, 3), np.uint8)
    features = tv.extract_features(network, images, "output[logits]")
    print(network.name, np.asarray(features["output[logits]"]).tolist())
except tv.errors.ThingsvisionError as error:
    print(error)
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_models_come_from_the_hub(is_there: bool, tmp_path: Path) -> None:
    name = "ViTForImageClassification"
    truth = saved(tmp_path / "lab" / "tiny", name, SMALL[name])

    class Hub(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return super().translate_path(path.replace("/resolve/main", "", 1))

        def send_head(self) -> Any:
            if not is_there or not Path(self.translate_path(self.path)).is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound" if is_there else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            return super().send_head()

        def end_headers(self) -> None:
            self.send_header("ETag", f'"{abs(hash(self.path)):040x}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            super().end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = subprocess.run(
        [sys.executable, "-c", FROM_HUB], env=environment, capture_output=True, text=True,
        cwd=elsewhere,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    if is_there:
        printed, _, values = run.stdout.strip().partition(" ")
        image = Image.new("RGB", (40, 40))
        processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
        with torch.no_grad():
            wanted = truth(**processor(images=image, return_tensors="pt")).logits
        assert printed == "hf/lab/tiny", run.stderr
        np.testing.assert_allclose(json.loads(values), wanted, rtol=1e-4, atol=1e-5)
    else:
        assert "cannot be had from https://huggingface.co/lab/tiny" in run.stdout
        assert "name the folder" in run.stdout and "Traceback" not in run.stderr
