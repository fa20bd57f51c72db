"""Tokens before the patches, in the vision transformers of four libraries."""

import numpy as np
import pytest
import timm
import torch
from torchvision.models import VisionTransformer

import thingsvision as tv
from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import InvalidArgument
from thingsvision.reduction import Activation, TokenLayout, bind_reductions

REGISTER = "register"


def wrapped(model, size):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return tv.wrap_model(model.eval(), tv.Preprocessing(resize=(size, size)))


def images(size, count=2):
    return np.random.default_rng(0).integers(0, 255, (count, size, size, 3), np.uint8)


def tensors(pictures):
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("name", "options", "prefix", "patches"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}, ("cls",), 16),
        ("deit_tiny_distilled_patch16_224", {"img_size": 64}, ("cls", "distillation"), 16),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}, ("cls", *[REGISTER] * 4), 16),
        ("vit_base_patch16_siglip_224", {"img_size": 64}, (), 16),
        ("eva02_tiny_patch14_224", {"img_size": 56}, ("cls",), 16),
    ],
)
def test_timm(name, options, prefix, patches):
    model = timm.create_model(name, depth=2, **options)
    network = wrapped(model, options["img_size"])
    assert network.modules().tokens == TokenLayout(prefix, patches)
    assert model.num_prefix_tokens == len(prefix)  # the library's own count
    pictures = images(options["img_size"])
    block = tv.extract_features(network, pictures, "blocks.1", reduction="mean-of-patches")
    with torch.no_grad():
        truth = model.blocks(
            model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(tensors(pictures)))))
        ) if "eva" not in name else None  # fmt: skip
    if truth is not None:
        wanted = truth[:, model.num_prefix_tokens :].mean(1)
        np.testing.assert_allclose(block["blocks.1"], wanted, rtol=1e-4, atol=1e-5)
    if "cls" not in prefix:
        with pytest.raises(InvalidArgument, match="without a CLS token"):
            tv.extract_features(network, pictures, "blocks.1", reduction="cls")
    with pytest.raises(InvalidArgument, match="patches alone"):
        tv.extract_features(network, pictures, "patch_embed", reduction="cls")


def test_the_cls_token_is_what_the_classifier_is_given():
    network = wrapped(VisionTransformer(32, 8, 2, 2, 24, 32), 32)
    assert network.modules().tokens == TokenLayout(("cls",), 16)
    found = tv.extract_features(
        network, images(32), ["encoder.ln", "penultimate"], reduction={"encoder.ln": "cls"}
    )
    np.testing.assert_array_equal(found["encoder.ln"], found["penultimate"])


def test_open_clip():
    transformer = pytest.importorskip("open_clip.transformer")
    model = transformer.VisionTransformer(32, 8, 24, 2, 2, 2.0, output_dim=6)
    network = wrapped(model, 32)
    assert network.modules().tokens == TokenLayout(("cls",), 16)
    name = "transformer.resblocks.1"
    found = tv.extract_features(network, images(32), [name, "output"], reduction={name: "cls"})
    with torch.no_grad():  # what open_clip itself makes of the CLS token
        embedded = model.ln_post(torch.from_numpy(np.asarray(found[name]))) @ model.proj
    np.testing.assert_allclose(found["output"], embedded, rtol=1e-4, atol=1e-5)


HF = {
    "ViT": (("cls",), {}),
    "DeiT": (("cls", "distillation"), {}),
    "Dinov2WithRegisters": (("cls", *[REGISTER] * 3), {"num_register_tokens": 3}),
    "DINOv3ViT": (("cls", *[REGISTER] * 3), {"num_register_tokens": 3}),
    "SiglipVision": ((), {}),
    "CLIPVision": (("cls",), {}),
}


@pytest.mark.parametrize("name", HF)
def test_hugging_face(name):
    transformers = pytest.importorskip("transformers")
    prefix, options = HF[name]
    config = getattr(transformers, f"{name}Config")(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=36,
        image_size=32, patch_size=8, **options,
    )  # fmt: skip
    network = wrapped(getattr(transformers, f"{name}Model")(config), 32)
    assert network.modules().tokens == TokenLayout(prefix, 16)
    address = "output[last_hidden_state]"
    axes = network.modules().resolve([address])[0].axes
    assert axes == ("stimulus", "token", "channel")
    whole = np.asarray(tv.extract_features(network, images(32), address)[address])
    found = tv.extract_features(network, images(32), address, reduction="mean-of-patches")
    np.testing.assert_allclose(
        found[address], whole[:, len(prefix) :].mean(1), rtol=1e-5, atol=1e-6
    )


def test_masked_tokens_do_not_add_up():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTMAEConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=36,
        image_size=32, patch_size=8,
    )  # fmt: skip
    network = wrapped(transformers.ViTMAEModel(config), 32)
    with pytest.raises(InvalidArgument, match="is not known"):
        tv.extract_features(network, images(32), "layernorm", reduction="cls")


def test_convolutional_networks_have_no_tokens():
    network = wrapped(timm.create_model("resnet10t"), 64)
    assert network.modules().tokens is None
    found = tv.extract_features(network, images(64), "layer2", reduction="mean")
    assert found["layer2"].shape == (2, 128)
    with pytest.raises(InvalidArgument, match="no sequence of tokens"):
        tv.extract_features(network, images(64), "layer2", reduction="cls")


def same_for_all_images(network, address, size):
    """Which tokens do not depend on the image, at a place where none has seen another yet."""
    one, other = np.asarray(tv.extract_features(network, images(size), address)[address])
    return (one == other).all(axis=1).tolist()


def check_first_tokens(network, address, size):
    layout = network.modules().tokens
    assert network.modules().resolve([address])[0].axes == ("stimulus", "token", "channel")
    expected = [True] * len(layout.prefix) + [False] * layout.patches
    assert same_for_all_images(network, address, size) == expected


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_patch16_dinov3",
     "vit_base_patch16_reg4_gap_256", "beit_base_patch16_224"],
)  # fmt: skip
def test_the_first_tokens_know_nothing_of_the_image_in_timm(name):
    network = wrapped(timm.create_model(name, depth=1, img_size=64), 64)
    # EVA and BEiT call nothing between joining the tokens and their first block.
    place = "pos_drop" if "beit" not in name else "blocks.0.norm1"
    check_first_tokens(network, place, 64)


def test_the_first_tokens_know_nothing_of_the_image_in_torchvision():
    check_first_tokens(wrapped(VisionTransformer(32, 8, 2, 2, 24, 32), 32), "encoder.dropout", 32)


def test_the_first_tokens_know_nothing_of_the_image_in_open_clip():
    transformer = pytest.importorskip("open_clip.transformer")
    model = transformer.VisionTransformer(32, 8, 24, 2, 2, 2.0, output_dim=6)
    check_first_tokens(wrapped(model, 32), "ln_pre", 32)


@pytest.mark.parametrize("name", HF)
def test_the_first_tokens_know_nothing_of_the_image_in_hugging_face(name):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=36,
        image_size=32, patch_size=8, **HF[name][1],
    )  # fmt: skip
    network = wrapped(getattr(transformers, f"{name}Model")(config), 32)
    names = [module.name for module in network.modules().modules]
    check_first_tokens(network, next(n for n in names if n.endswith("embeddings")), 32)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_base_patch16_dinov3"]
)
@pytest.mark.parametrize(("pool", "reduction"), [("token", "cls"), ("avg", "mean-of-patches")])
def test_reductions_are_the_pools_of_timm(name, pool, reduction):
    network = wrapped(timm.create_model(name, depth=1, img_size=64), 64)
    model = network.model
    found = tv.extract_features(network, images(64), "norm", reduction=reduction)["norm"]
    with torch.no_grad():
        tokens = model.forward_features(tensors(images(64)))
        wanted = timm.models.vision_transformer.global_pool_nlc(
            tokens, pool, num_prefix_tokens=model.num_prefix_tokens
        )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_pooler_of_hugging_face_is_given_the_cls_token():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=36,
        image_size=32, patch_size=8,
    )  # fmt: skip
    network = wrapped(transformers.ViTModel(config), 32)
    found = tv.extract_features(
        network, images(32), ["layernorm", "output[pooler_output]"], reduction={"layernorm": "cls"}
    )
    pooler = network.model.pooler
    with torch.no_grad():
        wanted = pooler.activation(pooler.dense(torch.from_numpy(np.asarray(found["layernorm"]))))
    np.testing.assert_allclose(found["output[pooler_output]"], wanted, rtol=1e-5, atol=1e-6)


def test_a_cls_token_that_joins_late_is_not_looked_for_before():
    network = wrapped(timm.create_model("cait_xxs24_224", depth=1, img_size=64), 64)
    pictures = images(64)
    with pytest.raises(InvalidArgument, match=r"blocks\.0 .*patches alone"):
        tv.extract_features(network, pictures, "blocks.0", reduction="cls")
    whole = np.asarray(tv.extract_features(network, pictures, "blocks.0")["blocks.0"])
    found = tv.extract_features(network, pictures, "blocks.0", reduction="mean-of-patches")
    np.testing.assert_allclose(found["blocks.0"], whole.mean(1), rtol=1e-5, atol=1e-6)
    late = tv.extract_features(network, pictures, ["norm", "head_drop"], reduction={"norm": "cls"})
    np.testing.assert_array_equal(late["norm"], late["head_drop"])  # pooled by timm itself


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_cr_tiny_ns_224"])
def test_maps_of_windows_are_maps(name):
    model = timm.create_model(name, depths=(1, 1, 1, 1))
    before = (str(model), model.patch_embed.img_size)
    survey = TorchBackend().modules(model, (224, 224))
    captures = survey.resolve(["patch_embed.proj", "stages.1" if "cr" in name else "layers.1"])
    first_or_last = {("channel", "height", "width"), ("height", "width", "channel")}
    assert {capture.axes[1:] for capture in captures} <= first_or_last
    assert (str(model), model.patch_embed.img_size) == before  # it was a copy that grew
    mean = bind_reductions(
        {c.address: Activation(c.axes, c.shape) for c in captures},
        {c.address: "mean" for c in captures},
    )
    assert [bound.shape for bound in mean.values()] == [(96,), (192,)]


def refuses_tokens(model, length, address):
    survey = TorchBackend(takes="tokens").modules(model.eval(), (length,))
    capture = survey.resolve([address])[0]
    assert survey.tokens is None
    assert capture.axes == ("stimulus", "token", "channel")
    activation = {address: Activation(capture.axes, capture.shape, survey.tokens)}
    for name in ("cls", "mean-of-patches", "cls+mean"):
        with pytest.raises(InvalidArgument, match="is not known"):
            bind_reductions(activation, {address: name})


def test_words_are_no_patches_in_open_clip():
    transformer = pytest.importorskip("open_clip.transformer")
    model = transformer.TextTransformer(7, 50, width=24, heads=2, layers=2, output_dim=6)
    refuses_tokens(model, 7, "transformer.resblocks.0")


def test_words_are_no_patches_in_hugging_face():
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPTextConfig(
        vocab_size=50, hidden_size=24, intermediate_size=36, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=7,
    )  # fmt: skip
    model = transformers.CLIPTextModel(config)
    names = [name for name, _ in model.named_modules()]
    refuses_tokens(model, 7, next(name for name in names if name.endswith("layers.0")))
