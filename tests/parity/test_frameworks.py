"""The same weights in torchvision and in Keras give the same RDMs."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

import torch
from torch import nn

import thingsvision as tv
from thingsvision.backends.keras_engine import keras
from thingsvision.preprocessing import preprocess

PHOTOGRAPHS = sorted((Path(tv.__file__).parent / "demo" / "photographs").rglob("*.jpg"))[::3]
PREPROCESSING = tv.Preprocessing(
    resize=224, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)


class Padded(nn.Module):
    """Pad as Keras does for a stride of two on an even size: at the end only."""

    def __init__(self, convolution):
        super().__init__()
        convolution.padding = (0, 0)
        size = convolution.kernel_size[0]
        self.pad = nn.ZeroPad2d(((size - 2) // 2, (size - 1) // 2) * 2)
        self.convolution = convolution

    def forward(self, images):
        return self.convolution(self.pad(images))


def align_resnet(model):
    """Stride the first convolution of a block, not the second; take Keras' epsilon."""
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1.001e-5


def align_mobilenet(model):
    for module in list(model.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
        is_block = isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d)
        if is_block and module[0].stride == (2, 2):
            module[0] = Padded(module[0])


def resnet_layers(model):
    """Name Keras' layers in torch's order."""
    names = ["conv1_conv", "conv1_bn"]
    for stage, count in enumerate((3, 4, 6, 3), 2):
        for block in range(1, count + 1):
            parts = (1, 2, 3, 0) if block == 1 else (1, 2, 3)
            for part in parts:
                names += [f"conv{stage}_block{block}_{part}_{kind}" for kind in ("conv", "bn")]
    return [model.get_layer(name) for name in [*names, "predictions"]]


def own_order(model):
    return [layer for layer in model.layers if layer.weights]


# Keras' application -> torchvision's, what to align, Keras' layers in torch's order, and
# pairs of modules: early, middle, last.
CASES = {
    "VGG16": ("vgg16", lambda model: None, own_order, [
        ("features.4", "block1_pool"), ("features.16", "block3_pool"),
        ("classifier.6", "predictions"),
    ]),
    "ResNet50": ("resnet50", align_resnet, resnet_layers, [
        ("maxpool", "pool1_pool"), ("layer2", "conv3_block4_out"), ("fc", "predictions"),
    ]),
    "MobileNetV2": ("mobilenet_v2", align_mobilenet, own_order, [
        ("features.1", "expanded_conv_project_BN"), ("features.10", "block_9_add"),
        ("classifier.1", "predictions"),
    ]),
}  # fmt: skip


def spread(model, images):
    """Give biases and batch norms values of their own, so that a mix-up would show.

    Batch norms take the statistics of the photographs: else all pictures look alike in the end.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.weight.uniform_(0.5, 1.5, generator=generator)
            if getattr(module, "bias", None) is not None:
                module.bias.normal_(0, 0.1, generator=generator)
        model.train()(images)
    model.eval()


def carry_over(model, layers, flattened):
    """Set a Keras network's weights to those of a torch network, layer by layer."""
    modules = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
    for module, layer in zip(modules, layers, strict=True):
        if isinstance(module, nn.BatchNorm2d):
            arrays = [module.weight, module.bias, module.running_mean, module.running_var]
        else:
            axes = (2, 3, 1, 0)
            if isinstance(module, nn.Linear):
                axes = (1, 0)
            elif module.groups > 1:
                axes = (2, 3, 0, 1)
            weight = module.weight
            if module is flattened:  # what it sees was flattened with its channels first
                size = round((module.in_features // 512) ** 0.5)
                weight = weight.reshape(-1, 512, size, size).permute(0, 2, 3, 1).flatten(1)
            bias = module.bias
            if bias is None and len(layer.weights) == 2:  # Keras has a bias before a batch norm
                bias = torch.zeros(len(weight))
            arrays = [weight.permute(axes), *([] if bias is None else [bias])]
        layer.set_weights([array.detach().numpy() for array in arrays])


@pytest.mark.parametrize(
    "name",
    ["MobileNetV2", *(pytest.param(n, marks=pytest.mark.slow) for n in ("ResNet50", "VGG16"))],
)
def test_the_same_weights_give_the_same_rdms(name):
    sibling, align, order, pairs = CASES[name]
    ours = tv.load_model(f"torchvision/{sibling}", pretrained=False, device="cpu")
    theirs = tv.load_model(f"keras/{name}", pretrained=False, device="cpu")
    stimuli = tv.load_stimuli(PHOTOGRAPHS)
    align(ours.model)
    batch = [preprocess(PREPROCESSING, stimuli.image(row)) for row in range(len(stimuli))]
    spread(ours.model, torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2))
    flattened = ours.model.classifier[0] if name == "VGG16" else None
    carry_over(ours.model, order(theirs.model), flattened)
    # The features before the softmax, which torchvision's networks do not have.
    theirs.model.get_layer("predictions").activation = keras.activations.linear
    found = [
        tv.extract_features(
            network.preprocessed(PREPROCESSING), stimuli, [pair[side] for pair in pairs]
        )
        for side, network in enumerate((ours, theirs))
    ]
    for one, other in pairs:
        mine, its = np.asarray(found[0][one]), np.asarray(found[1][other])
        if mine.ndim == 4:
            mine = mine.transpose(0, 2, 3, 1)
        assert mine.shape == its.shape
        assert np.abs(mine - its).max() <= 1e-4 * np.abs(mine).max()
        rdms = [
            np.asarray(tv.compute_rdm(array, dissimilarity="correlation"))
            for array in (found[0][one], found[1][other])
        ]
        assert rdms[0].max() > 0.01
        assert np.allclose(*rdms, rtol=0, atol=1e-4)
