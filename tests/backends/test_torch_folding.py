"""The faster way gives what the plain one gives, touches nothing, and leaves odd modules alone."""

import networks
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import ModuleError
from thingsvision.zoo import load_model

BACKEND = TorchBackend()
SIZE = (16, 16)


def spread(model, seed=0):
    """Give batch norms statistics and weights of their own, so that a mix-up would show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                if module.running_mean is not None:
                    module.running_mean.normal_(0, 0.3, generator=generator)
                    module.running_var.uniform_(0.5, 2, generator=generator)
                if module.weight is not None:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(0, 0.2, generator=generator)
    return model


def both(model, modules, size=SIZE, count=5, backend=BACKEND):
    """Run both ways; check that nothing is left behind. Gives the way and the deviations."""
    captures = backend.modules(model, size).resolve(modules)
    batch = networks.pictures(count, size)
    before, weights = networks.state_of(model), backend.digest(model)
    plain = backend.run(model, batch, captures, {})
    way = backend.faster(model, batch[:1], captures)
    fast = backend.run(model, batch, captures, {}, way=way)
    again = backend.run(model, batch, captures, {}, way=way)
    assert networks.state_of(model) == before and backend.digest(model) == weights
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert list(fast) == list(plain)
    for address, array in fast.items():
        assert np.array_equal(array, again[address]), address
    # Areas that nothing has reached yet give zeros.
    gaps = {a: np.abs(fast[a] - plain[a]).max() / (np.abs(plain[a]).max() or 1) for a in plain}
    assert max(gaps.values()) <= 1e-5, gaps
    return way, gaps


def norms_of(way, model):
    names = {id(module): name for name, module in model.named_modules()}
    return [names[id(fold.norm)] for fold in way.folds]


@pytest.mark.parametrize(
    ("name", "modules", "folded"),
    [
        ("resnet18", ["layer2", "fc"], 20),
        ("densenet121", ["features.denseblock2", "classifier"], 59),
        ("mobilenet_v2", ["features.9", "classifier.1"], 52),
        ("googlenet", ["inception4a", "fc"], 57),
        ("shufflenet_v2_x0_5", ["stage3"], None),
        ("convnext_tiny", ["features.3"], 0),
        ("vit_b_32", ["encoder.layers.encoder_layer_3"], 0),
        ("alexnet", ["features.10"], 0),
    ],
)
def test_known_networks(name, modules, folded):
    model = spread(networks.small(name))
    way, _ = both(model, modules, (64, 64))
    assert way.channels_last == (name != "vit_b_32")  # its patches do not overlap
    assert folded is None or len(way.folds) == folded


def test_batch_norms_of_timm_with_their_activation():
    timm = pytest.importorskip("timm")
    model = spread(timm.create_model("efficientnet_lite0"))
    way, _ = both(model, ["blocks.4", "conv_head", "global_pool"], (64, 64), count=2)
    # All but the last, whose convolution is captured.
    assert len(norms_of(way, model)) == 48 and "bn2" not in norms_of(way, model)
    # Activations of their own are seen as ever.
    both(model, ["bn1.act", "bn1.drop", "blocks.0.0.bn1.act:0", "blocks.1"], (64, 64), count=2)


def test_recurrent_areas_fold_each_call_by_itself():
    network = load_model("cornet/cornet_s", pretrained=False, device="cpu")
    model = spread(network.model)
    way, _ = both(model, ["V2.output", "V2.output:0"], (64, 64), count=2)
    norms = norms_of(way, model)
    # One convolution before two batch norms, one for each repeat.
    assert {"V2.norm1_0", "V2.norm1_1", "V2.norm3_0", "V2.norm3_1"} <= set(norms)


def test_recurrent_areas_without_batch_norms():
    network = load_model("cornet/cornet_rt", pretrained=False, device="cpu")
    way, _ = both(network.model, ["IT.output:*"], (64, 64), count=2)
    assert not way.folds


class Plain(nn.Module):
    """A convolution, a batch norm, and a ReLU that works in place; the others derive from it."""

    def __init__(self, **options):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, **options)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 5, 3)

    def forward(self, x):
        return self.last(self.relu(self.norm(self.conv(x))))


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"padding_mode": "reflect"}, {"stride": 2}, {"dilation": 2}]
)
def test_a_batch_norm_after_a_convolution_is_folded(options):
    model = spread(Plain(**options))
    way, _ = both(model, ["last", "relu"])
    assert norms_of(way, model) == ["norm"]
    assert str(way).startswith("channels-last memory, 1 batch norms folded")


@pytest.mark.parametrize("captured", ["conv", "norm"])
def test_captured_convolutions_and_batch_norms_are_left_alone(captured):
    model = spread(Plain())
    way, gaps = both(model, [captured, "last"])
    assert not way.folds
    # Channels-last memory is the only difference.
    assert gaps[captured] < 1e-6


class Wrapped(Plain):
    """A parent whose output is that of the convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3))


class SharedNorm(Plain):
    """One batch norm after two convolutions, and by itself."""

    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = self.norm(self.second(x))
        return self.last(self.norm(x.abs()))


class SharedConvolution(Plain):
    """A convolution whose output goes to a batch norm once, and elsewhere another time."""

    def __init__(self):
        super().__init__()
        self.area = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.area(self.relu(self.norm(self.conv(x))))
        return self.last(self.norm(self.area(x)))


class TwoSuccessors(Plain):
    """The output of the convolution is used besides."""

    def forward(self, x):
        x = self.conv(x)
        return self.last(self.norm(x) + x)


class TwoNorms(Plain):
    def __init__(self):
        super().__init__()
        self.other = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return self.last(self.norm(x) + self.other(x))


class ChangedBetween(Plain):
    def forward(self, x):
        return self.last(self.norm(self.conv(x).mul_(2)))


class Functional(Plain):
    """The weights of the convolution are used besides."""

    def forward(self, x):
        again = functional.conv2d(x, self.conv.weight, padding=1)
        return self.last(self.norm(self.conv(x)) + again)


class KeptForLater(Plain):
    def forward(self, x):
        kept = self.conv(x)
        x = self.relu(self.norm(kept))
        return self.last(x) + kept[:, :1, 2:, 2:]


@pytest.mark.parametrize(
    ("kind", "modules", "folded"),
    [
        (Wrapped, ["conv", "last"], []),
        (Wrapped, ["last"], ["norm"]),
        (SharedNorm, ["last"], ["norm", "norm"]),
        (SharedConvolution, ["last"], ["norm", "norm"]),
        (TwoSuccessors, ["last"], []),
        (TwoNorms, ["last"], []),
        (ChangedBetween, ["last"], []),
        (Functional, ["last"], ["norm"]),
        (KeptForLater, ["last"], ["norm"]),  # the pass stops before it is used again
        (KeptForLater, ["output"], []),
    ],
)
def test_a_fold_is_made_only_where_nobody_sees_it(kind, modules, folded):
    torch.manual_seed(0)
    model = spread(kind())
    way, _ = both(model, modules)
    assert norms_of(way, model) == folded


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_modules_of_other_kinds_are_left_alone():
    for change in (
        lambda model: setattr(model, "conv", Doubled(3, 4, 3)),
        lambda model: setattr(model, "conv", nn.utils.parametrizations.weight_norm(model.conv)),
        lambda model: setattr(model, "norm", nn.BatchNorm2d(4, track_running_stats=False)),
        lambda model: setattr(model, "norm", nn.GroupNorm(2, 4)),
        lambda model: setattr(model, "norm", nn.InstanceNorm2d(4)),
        lambda model: setattr(model.norm, "forward", model.norm.forward),
        lambda model: model.double(),
    ):
        model = spread(Plain())
        change(model)
        captures = BACKEND.modules(model, SIZE).resolve(["last"])
        assert not BACKEND.faster(model, networks.pictures(1, SIZE), captures).folds


def test_a_batch_norm_without_weights_is_folded():
    model = Plain()
    model.norm = nn.BatchNorm2d(4, affine=False)
    assert both(spread(model), ["last"])[0].folds


@pytest.mark.parametrize("place", ["conv", "norm"])
def test_hooks_of_the_user_see_what_they_always_saw(place):
    model, seen = spread(Plain()), []
    model.get_submodule(place).register_forward_hook(
        lambda _, args, output: seen.append(output.clone())
    )
    way, _ = both(model, ["last"])
    assert not way.folds
    captures = BACKEND.modules(model, SIZE).resolve(["last"])
    batch = networks.pictures(3, SIZE)
    seen.clear()
    for other in (BACKEND.plain_way, way):
        BACKEND.run(model, batch, captures, {}, way=other)
    assert len(seen) == 2 and torch.allclose(*seen, rtol=1e-5, atol=1e-6)


class Fails(Plain):
    fails = False

    def forward(self, x):
        x = self.norm(self.conv(x))
        if self.fails:
            raise ValueError("in the middle")
        return self.last(self.relu(x))


def test_an_error_in_the_middle_leaves_no_trace():
    model = spread(Fails())
    captures = BACKEND.modules(model, SIZE).resolve(["last"])
    batch = networks.pictures(3, SIZE)
    way = BACKEND.faster(model, batch[:1], captures)
    wanted = BACKEND.run(model, batch, captures, {})["last"]
    before = networks.state_of(model)
    model.fails = True
    with pytest.raises(ValueError, match="in the middle"):
        BACKEND.run(model, batch, captures, {}, way=way)
    with pytest.raises(ValueError, match="in the middle"):
        BACKEND.faster(model, batch[:1], captures)
    model.fails = False
    assert networks.state_of(model) == before
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert np.array_equal(BACKEND.run(model, batch, captures, {})["last"], wanted)


class Turns(Plain):
    """Takes another course for bright images."""

    def forward(self, x):
        is_bright, x = x.mean() > 10, self.conv(x)
        return self.last(self.norm(x.abs()) if is_bright else self.norm(x))


def test_another_course_than_the_first_images_took_is_refused():
    model = spread(Turns())
    captures = BACKEND.modules(model, SIZE).resolve(["last"])
    batch = networks.pictures(2, SIZE)
    way = BACKEND.faster(model, batch[:1], captures)
    assert way.folds
    with pytest.raises(ModuleError, match="exact=True"):
        BACKEND.run(model, batch + 1000, captures, {}, way=way)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_copies_of_weights_stay_within_their_bound(monkeypatch):
    monkeypatch.setattr("thingsvision.backends.torch_folding.MOST_BYTES", 2000)
    model = networks.small("resnet18")
    captures = BACKEND.modules(model, (64, 64)).resolve(["layer1"])
    way = BACKEND.faster(model, networks.pictures(1, (64, 64)), captures)
    assert sum(fold.weight.nbytes for fold in way.folds) <= 2000


class Viewing(Plain):
    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        return self.last(x.view(len(x), -1).view(x.shape))


def test_a_network_that_needs_channels_outermost_gets_them():
    way, _ = both(spread(Viewing()), ["last"])
    assert not way.channels_last and way.folds


class Noisy(Plain):
    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        return self.last(x + torch.rand(len(x), 1, 1, 1))


def test_random_networks_are_not_run_in_parts():
    way, _ = both(spread(Noisy()), ["last"])
    assert way.rows is None


def test_parts_of_a_batch_follow_from_the_size_of_activations():
    wanted = {(16, 16): 24 * 2**20 // (4 * 4 * 16 * 16), (2000, 2000): 4}
    for size, rows in wanted.items():
        captures = BACKEND.modules(Plain(), size).resolve(["last"])
        assert BACKEND.faster(Plain(), networks.pictures(1, size), captures).rows <= rows
    # The largest output is that of the last convolution, 5 × 14 × 14, or of the first.
    small = BACKEND.modules(Plain(), SIZE).resolve(["last"])
    assert BACKEND.faster(Plain(), networks.pictures(1, SIZE), small).rows == wanted[SIZE]


@pytest.mark.parametrize("exact", [True, False])
def test_bfloat16_is_near_and_gives_float32(exact):
    model, size = spread(networks.small("resnet18")), (64, 64)
    captures = BACKEND.modules(model, size).resolve(["layer2", "fc"])
    batch = networks.pictures(5, size)
    way = BACKEND.plain_way if exact else BACKEND.faster(model, batch[:1], captures)
    plain = BACKEND.run(model, batch, captures, {})
    means = {"layer2": lambda value: value.mean((2, 3))}
    found = BACKEND.run(model, batch, captures, means, way=way.in_precision("bfloat16"))
    assert {array.dtype for array in found.values()} == {np.dtype("float32")}
    wanted = {"layer2": plain["layer2"].mean((2, 3)), "fc": plain["fc"]}
    for address, array in wanted.items():
        gap = np.abs(found[address] - array).max() / np.abs(array).max()
        assert 1e-4 < gap < 0.05, address
    assert not torch.is_autocast_enabled("cpu")
