"""The survey of every network of torchvision: names, calls, shapes and axes, without weights."""

import networks
import pytest
import torch

from thingsvision.backends.torch import TorchBackend
from thingsvision.backends.torch_survey import name_axes
from thingsvision.errors import ModuleError
from thingsvision.zoo import load_model

DETECTORS = [name for name in networks.NAMES if networks.task_of(name) == "detection"]
OTHERS = [name for name in networks.NAMES if name not in DETECTORS]
# Those that really have to be run, and take more than a second.
LONG = {
    "ssd300_vgg16", "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2",
    "keypointrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn",
    *(n for n in networks.NAMES if n.startswith("quantized") and n != "quantized_resnet18"),
}  # fmt: skip


MAPS = ("channel", "height", "width")


def marked(names):
    return [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in names]


def axes_of(name, *modules):
    by_name = {module.name: module for module in load_model(name, device="meta").modules().modules}
    return [by_name[module].last[0].axes for module in modules]


@pytest.mark.parametrize("name", marked(OTHERS))
def test_survey_without_weights_equals_our_hooks(name):
    network = load_model(f"torchvision/{name}", device="meta")
    survey = network.modules()
    quantized = networks.task_of(name) == "quantization"
    assert survey.method == ("small forward pass" if quantized else "meta device")
    assert [m.name for m in survey.modules] == [n for n, _ in network.model.named_modules() if n]
    # The same network in a pass of our own; without numbers, where it has none.
    frames = () if network.backend.frames is None else (network.backend.frames,)
    device = "cpu" if quantized else "meta"
    images = torch.zeros(2, 3, *frames, *network.example_size, device=device)
    model = network.model if quantized else network.model.to("meta")
    seen, calls = networks.reference(model, images)
    assert {m.name: m.calls for m in survey.modules} == {
        m.name: calls[m.name] for m in survey.modules
    }
    expected = {}
    for key, tensor in seen.items():
        expected[key] = tuple(tensor.shape)
    for module in (*survey.modules, survey.root):
        for output in module.outputs:
            shape = list(output.shape)
            if output.batch_axis is not None:
                shape.insert(output.batch_axis, 2)
            assert tuple(shape) == expected.pop((module.name, output.call, output.path))
    assert not expected
    assert sum(bool(m.calls) for m in survey.modules) > 0.7 * len(survey)
    assert survey.resolve(["*"])


@pytest.mark.parametrize("name", [*networks.REPRESENTATIVES, "s3d", "mvit_v1_b"])
def test_no_weights_are_needed_or_made(name):
    network = load_model(f"torchvision/{name}", device="meta")
    weights = list(network.model.parameters())
    if networks.task_of(name) in ("quantization", "detection"):
        assert not any(weight.is_meta for weight in weights)  # a small forward is needed
    else:
        assert all(weight.is_meta for weight in weights)


def test_a_network_with_weights_has_the_same_survey_as_without():
    for name in ("torchvision/resnet18", "torchvision/regnet_y_400mf", "torchvision/vit_b_32"):
        with_weights = load_model(name, pretrained=False).modules()
        assert with_weights == load_model(name, device="meta").modules()


@pytest.mark.parametrize(
    "name", ["vit_h_14", "vit_b_16.IMAGENET1K_SWAG_E2E_V1", "vit_l_16.IMAGENET1K_SWAG_LINEAR_V1"]
)
def test_vision_transformers_are_built_for_the_size_of_the_named_weights(name):
    network = load_model(f"torchvision/{name}", device="meta")
    side = {"vit_h_14": 518, "vit_b_16.IMAGENET1K_SWAG_E2E_V1": 384}.get(name, 224)
    assert network.example_size == (side, side)
    assert len(network.modules().modules) > 100


@pytest.mark.parametrize("name", marked(DETECTORS))
def test_detectors_are_surveyed_by_a_small_forward(name):
    model = networks.small(name)
    survey = TorchBackend().modules(model, (64, 64))
    assert survey.method == "small forward pass"
    assert len(survey.resolve(["backbone.*"])) > 25
    # The outputs of the detector are lists of boxes, as many as it happened to find.
    with pytest.raises(ModuleError):
        survey.resolve(["output"])


def test_an_image_size_that_the_network_refuses_is_named():
    network = load_model("torchvision/vit_b_32", device="meta")
    with pytest.raises(ModuleError, match=r"input of 96 × 96.*Wrong image height"):
        network.modules((96, 96))
    real = networks.small("vit_b_32")
    before = networks.state_of(real)
    with pytest.raises(ModuleError, match=r"input of 96 × 96.*Wrong image height"):
        TorchBackend().modules(real, (96, 96))
    assert networks.state_of(real) == before


def test_axes_of_convolutional_networks():
    names = ["features.0", "features.1", "avgpool", "classifier.1", "classifier.6"]
    assert axes_of("torchvision/alexnet", *names) == [MAPS] * 3 + [("feature",)] * 2
    assert axes_of("torchvision/resnet18", "layer2.0.relu", "layer4") == [MAPS] * 2


def test_axes_of_swin_are_channel_last():
    maps = ("height", "width", "channel")
    names = ["features.0", "features.1.0", "features.3.0.mlp.0", "norm", "permute", "head"]
    assert axes_of("torchvision/swin_t", *names) == [maps] * 4 + [MAPS, ("feature",)]


def test_axes_of_transformers_are_tokens():
    names = ["encoder.layers.encoder_layer_3", "encoder.layers.encoder_layer_3.mlp.0",
             "encoder.layers.encoder_layer_3.ln_1", "encoder", "conv_proj"]  # fmt: skip
    tokens = ("token", "channel")
    assert axes_of("torchvision/vit_b_32", *names) == [tokens] * 4 + [MAPS]


def test_axes_of_video_networks():
    clip = ("channel", "time", "height", "width")
    assert axes_of("torchvision/r3d_18", "stem", "layer3") == [clip] * 2
    last = ("time", "height", "width", "channel")
    assert axes_of("torchvision/swin3d_t", "features.0") == [last]


@pytest.mark.parametrize(
    ("shape", "grown", "expected"),
    [
        ((10,), (20,), ("feature",)),
        ((), (), ()),
        ((3, 7, 7), (3, 9, 11), MAPS),
        ((7, 7, 3), (9, 11, 3), ("height", "width", "channel")),
        ((49, 3), (99, 3), ("token", "channel")),
        ((3, 49), (3, 99), ("channel", "token")),
        # Attention: tokens against tokens, which grow alike, are not height and width.
        ((8, 49, 49), (8, 99, 99), ("axis1", "axis2", "axis3")),
        ((3, 7, 7), None, ("axis1", "axis2", "axis3")),
        ((3, 7, 7), (3, 7, 7), ("axis1", "axis2", "axis3")),
        ((50, 3), None, ("token", "channel")),
        ((3, 50), None, ("axis1", "axis2")),
        ((50, 50), None, ("axis1", "axis2")),
    ],
)
def test_axes_are_measured_or_numbered(shape, grown, expected):
    assert name_axes(None, shape, grown, tokens={50}) == expected


def test_axes_by_type_where_they_cannot_be_measured():
    assert name_axes(torch.nn.Conv2d(1, 1, 1), (3, 7, 7), None) == MAPS
