"""What the PyTorch backend refuses: by name, with the reason and the nearest that works."""

from contextlib import suppress

import networks
import numpy as np
import pytest
import torch
from torch import nn

from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import InvalidArgument, ModuleError

SIZE = (6, 8)
BACKEND = TorchBackend()


def run(model, modules, batch, **options):
    survey = BACKEND.modules(model, batch.shape[1:3])
    return BACKEND.run(model, batch, survey.resolve(modules), {}, **options)


def refusal(model, module, size=SIZE):
    with pytest.raises(ModuleError) as caught:
        BACKEND.modules(model, size).resolve([module])
    return str(caught.value)


def test_unknown_module_lists_the_nearest_with_shapes():
    text = refusal(networks.small("alexnet"), "feature.10", (64, 64))
    assert "There is no module 'feature.10'" in text
    assert "features.10 (256×3×3)" in text


def test_all_problems_are_told_at_once():
    with pytest.raises(ModuleError) as caught:
        BACKEND.modules(networks.Recurrent(), SIZE).resolve(["nope", "area:9", "first"])
    assert "'nope'" in str(caught.value) and "area:9" in str(caught.value)
    with pytest.raises(ModuleError, match="No module was named"):
        BACKEND.modules(networks.Recurrent(), SIZE).resolve([])


def test_window_attention_is_refused_with_the_block_around():
    model = networks.small("swin_v2_t")
    survey = BACKEND.modules(model, (64, 64))
    with pytest.raises(ModuleError, match="one row per stimulus") as caught:
        survey.resolve(["features.1.0.attn.cpb_mlp.0"])
    assert "features.1.0.attn" in str(caught.value)
    assert "features.1.0.attn.cpb_mlp.0" in survey.left_out(["features.1.*"])


class DependsOnContent(nn.Module):
    """Calls its part once for the noise of the survey, another number of times for black."""

    def __init__(self, calls_for_black):
        super().__init__()
        self.calls_for_black = calls_for_black
        self.part = nn.Conv2d(3, 3, 1)
        self.end = nn.Identity()

    def forward(self, x):
        for _ in range(1 if float(x.abs().sum()) > 0 else self.calls_for_black):
            x = self.part(x)
        return self.end(x)


def test_a_module_that_gives_nothing_is_refused_by_name():
    black = np.zeros((1, *SIZE, 3), np.float32)
    with pytest.raises(ModuleError, match="part: returned no output"):
        run(DependsOnContent(0), ["part", "end"], black)


def test_another_number_of_calls_is_refused_unless_the_call_is_named():
    black = np.zeros((1, *SIZE, 3), np.float32)
    model = DependsOnContent(3)
    with pytest.raises(ModuleError, match=r"part \(3 calls, not 1\).*Name the call"):
        run(model, ["part", "end"], black, full=True)
    assert "part:0" in run(model, ["part:0", "end"], black, full=True)


class ShapeDependsOnContent(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Identity()

    def forward(self, x):
        return self.part(x if float(x.abs().sum()) > 0 else x[..., :2])


def test_another_shape_than_surveyed_is_refused():
    black = np.zeros((1, *SIZE, 3), np.float32)
    with pytest.raises(ModuleError, match=r"part has the shape \(1, 3, 6, 2\)"):
        run(ShapeDependsOnContent(), ["part"], black)


class Swallows(nn.Module):
    def __init__(self):
        super().__init__()
        self.part, self.after = nn.Conv2d(3, 3, 1), nn.Identity()

    def forward(self, x):
        with suppress(Exception):
            x = self.part(x)
        return self.after(x)


def test_a_network_that_catches_exceptions_is_stopped_all_the_same():
    model, ran = Swallows(), []
    captures = BACKEND.modules(model, SIZE).resolve(["part"])
    model.after.register_forward_hook(lambda *_: ran.append(True))
    assert "part" in BACKEND.run(model, networks.pictures(1, SIZE), captures, {})
    assert not ran


def test_a_network_without_weights_is_not_run():
    with torch.device("meta"):
        model = networks.Recurrent()
    captures = BACKEND.modules(model, SIZE).resolve(["area"])
    for backend, network in [(BACKEND, model), (TorchBackend("meta"), networks.Recurrent())]:
        with pytest.raises(InvalidArgument, match="without weights"):
            backend.run(network, networks.pictures(1, SIZE), captures, {})
    with pytest.raises(InvalidArgument, match="no digest"):
        BACKEND.digest(model)
