"""Networks of torchvision, made as small as they allow, and a reference for what they return."""

from collections import Counter, defaultdict

import numpy as np
import torch
from torch import nn
from torchvision import models

# Arguments that make a network take small images; the second table is their size in pixels.
OPTIONS = {
    "vit_b_16": {"image_size": 32}, "vit_l_16": {"image_size": 32},
    "vit_b_32": {"image_size": 64}, "vit_l_32": {"image_size": 64},
    "vit_h_14": {"image_size": 28},
}  # fmt: skip
SIZES = {
    "inception_v3": 80, "quantized_inception_v3": 80, "maxvit_t": 224, "vit_b_16": 32,
    "vit_l_16": 32, "vit_h_14": 28, "s3d": 224, "mvit_v1_b": 224, "mvit_v2_s": 224,
}  # fmt: skip
DETECTORS = {"min_size": 64, "max_size": 96}
FRAMES = {"s3d": 14, "mvit_v1_b": 16, "mvit_v2_s": 16}

NAMES = [name for name in models.list_models() if not name.startswith("raft")]
# The smallest of each family that takes small images; the others differ in width and depth.
REPRESENTATIVES = [
    "alexnet", "vgg11_bn", "resnet18", "squeezenet1_1", "densenet121", "googlenet",
    "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny",
    "swin_t", "swin_v2_t", "vit_b_32", "fcn_resnet50", "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large", "r3d_18", "swin3d_t", "quantized_resnet18",
    "quantized_googlenet", "quantized_shufflenet_v2_x0_5", "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
]  # fmt: skip


def task_of(name):
    module = models.get_model_builder(name).__module__
    known = ("segmentation", "detection", "video", "quantization")
    return next((task for task in known if task in module.split(".")), "classification")


def frames_of(name):
    return FRAMES.get(name, 4) if task_of(name) == "video" else None


def size_of(name):
    side = SIZES.get(name, 64)
    return (side, side)


def small(name, seed=0):
    """A network with random weights, in training mode as torchvision gives it."""
    options = dict(OPTIONS.get(name, {}))
    task = task_of(name)
    if task in ("segmentation", "detection"):
        options["weights_backbone"] = None
    if task == "detection" and not name.startswith("ssd"):
        options |= DETECTORS
    if task == "quantization":
        options["quantize"] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.get_model(name, weights=None, **options)
    return model.train() if task != "quantization" else model


def pictures(count, size, seed=0):
    """Preprocessed images, shape (count, height, width, 3)."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, *size, 3)).astype(np.float32)


def native_input(batch, frames=None):
    """The same images as PyTorch users feed them: channels first, plain memory."""
    images = torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
    return images if frames is None else torch.stack([images] * frames, dim=2)


def reference(model, images):
    """Every output of every call of every module, cloned by hooks of our own.

    Returns a dictionary (name, call, keys) → tensor, and the number of calls of each module.
    """
    calls, found, handles = Counter(), {}, []

    def keep(value, key):
        if isinstance(value, torch.Tensor):
            found[key] = (value.dequantize() if value.is_quantized else value).clone()
        elif isinstance(value, dict):
            for k, v in value.items():
                keep(v, (*key[:2], (*key[2], k)))
        elif isinstance(value, (list, tuple)):
            for k, v in enumerate(value):
                keep(v, (*key[:2], (*key[2], k)))

    def hook(name):
        def record(module, args, output):
            keep(output, (name, calls[name], ()))
            calls[name] += 1

        return record

    modes = [(module, module.training) for module in model.modules()]
    for name, module in model.named_modules():
        handles.append(module.register_forward_hook(hook(name)))
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return found, calls


def state_of(model):
    """What a run must leave as it was, comparable with ==."""
    state = defaultdict(list)
    for name, module in model.named_modules():
        state["training"].append((name, module.training))
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"):
            state[kind].append(len(getattr(module, kind)))
    for name, parameter in model.named_parameters():
        state["parameters"].append(
            (name, parameter.requires_grad, parameter.device, parameter.dtype, parameter._version,
             parameter.grad is None, id(parameter))
        )  # fmt: skip
    state["buffers"] = [(n, b.device, b._version, id(b)) for n, b in model.named_buffers()]
    state["global"] = [
        torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_rng_state().tolist(),
        torch.get_num_threads(), torch.is_inference_mode_enabled(),
    ]  # fmt: skip
    return dict(state)


class Recurrent(nn.Module):
    """One area that is called three times, and a ReLU that several layers share."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.area = nn.Conv2d(4, 4, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.first(x))
        for _ in range(3):
            x = self.relu(self.area(x))
        return x
