"""timm's registry as a source; the truths are timm's own transforms, configurations and passes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import thingsvision as tv
from thingsvision.errors import UnknownName
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
    assert card.task == "classification" and "Wightman" in card.citation
    tower = describe_model("timm/vit_base_patch32_clip_224.openai")
    assert tower.task == "features" and tower.training_data.startswith("WebImageText, by the tag")
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


def test_a_tag_tells_the_number_of_classes_and_whether_there_is_a_head() -> None:
    many = tv.load_model("timm/vit_base_patch16_224.augreg_in21k", device="meta")
    assert many.modules().root.outputs[0].shape == (21843,)
    none = tv.load_model("timm/vit_small_patch16_224.dino", device="meta")
    assert none.modules().root.outputs[0].shape == (384,)


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
    channels_first = torch.from_numpy(batch).permute(0, 3, 1, 2)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        model(channels_first.contiguous())
    assert set(found) == set(truth)
    for address in found:
        assert np.array_equal(found[address], truth[address], equal_nan=True), (name, address)


def _kept(truth: dict[str, Any], address: str, _: Any, args: Any, output: torch.Tensor) -> None:
    truth[address] = output.numpy(force=True).copy()  # of the last call
