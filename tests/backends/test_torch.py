"""What the PyTorch backend captures, on networks of our own that are awkward on purpose."""

import networks
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import ModuleError
from thingsvision.reduction import flatten

SIZE = (6, 8)
BACKEND = TorchBackend()


def run(model, modules, batch=None, backend=BACKEND, reductions=None, **options):
    batch = networks.pictures(3, SIZE) if batch is None else batch
    survey = backend.modules(model, batch.shape[1:3])
    return backend.run(model, batch, survey.resolve(modules), reductions or {}, **options)


def refusal(model, module, size=SIZE):
    with pytest.raises(ModuleError) as caught:
        BACKEND.modules(model, size).resolve([module])
    return str(caught.value)


def recurrent_by_hand(model, batch):
    """The outputs of area and relu, in their order, computed without modules."""
    x = networks.native_input(batch)
    areas, relus = [], []
    with torch.no_grad():
        x = functional.conv2d(x, model.first.weight, model.first.bias).clamp(min=0)
        relus.append(x)
        for _ in range(3):
            x = functional.conv2d(x, model.area.weight, model.area.bias)
            areas.append(x)
            x = x.clamp(min=0)
            relus.append(x)
    return areas, relus


def test_all_calls_of_a_module():
    model, batch = networks.Recurrent(), networks.pictures(3, SIZE)
    areas, relus = recurrent_by_hand(model, batch)
    arrays = run(model, ["area", "area:*", "relu:*", "relu:1"], batch)
    assert list(arrays) == [
        "area", "area:0", "area:1", "area:2", "relu:0", "relu:1", "relu:2", "relu:3",
    ]  # fmt: skip
    for call, area in enumerate(areas):
        np.testing.assert_allclose(arrays[f"area:{call}"], area, rtol=1e-5, atol=1e-6)
        assert (arrays[f"area:{call}"] < 0).any()  # before the ReLU that works in place
    for call, relu in enumerate(relus):
        np.testing.assert_allclose(arrays[f"relu:{call}"], relu, rtol=1e-5, atol=1e-6)
    assert np.array_equal(arrays["area"], arrays["area:2"])


def test_the_pass_stops_after_the_deepest_wanted_call():
    model, ran = networks.Recurrent(), []
    model.area.register_forward_hook(lambda *_: ran.append("area"))
    batch = networks.pictures(1, SIZE)
    captures = BACKEND.modules(model, SIZE).resolve(["area:1", "first"])
    ran.clear()
    BACKEND.run(model, batch, captures, {})
    assert ran == ["area"] * 2
    BACKEND.run(model, batch, captures, {}, full=True)
    assert ran == ["area"] * 5


def test_a_call_that_does_not_exist_is_refused():
    assert "area:0 … area:2" in refusal(networks.Recurrent(), "area:3")


def test_wildcards_take_last_calls_or_named_ones():
    model = networks.Recurrent()
    assert list(run(model, ["*"])) == ["first", "area", "relu"]
    assert list(run(model, ["*:0"])) == ["first:0", "area:0", "relu:0"]
    assert list(run(model, ["a*:*", "fir??"])) == ["area:0", "area:1", "area:2", "first"]
    assert "No module matches 'layer*'" in refusal(model, "layer*")


def test_alexnet_features_10_holds_negatives():
    model = networks.small("alexnet")
    batch = networks.pictures(2, (64, 64))
    arrays = run(model, ["features.8", "features.9", "features.10", "features.11"], batch)
    with torch.no_grad():
        eighth = model.eval().features[:9](networks.native_input(batch))
        layer = model.features[10]
        expected = functional.conv2d(eighth.clamp(min=0), layer.weight, layer.bias, padding=1)
    assert (arrays["features.10"] < 0).mean() > 0.1
    np.testing.assert_allclose(arrays["features.10"], expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(arrays["features.11"], arrays["features.10"].clip(0))
    assert np.array_equal(arrays["features.9"], arrays["features.8"].clip(0))


class ChangesItsInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        return self.same(x.sub_(1).mul_(2))


@pytest.mark.parametrize("full", [True, False])
def test_a_network_that_works_on_its_input_in_place_cannot_reach_the_images(full):
    batch = networks.pictures(2, SIZE)
    kept = batch.copy()
    for _ in range(2):
        arrays = run(ChangesItsInput(), ["same"], batch, full=full)
        assert np.array_equal(batch, kept)
        np.testing.assert_allclose(arrays["same"].transpose(0, 2, 3, 1), (kept - 1) * 2, rtol=1e-6)


class Tupled(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, **options)
        self.batch_first = options.get("batch_first", False)

    def forward(self, x):
        tokens = x.flatten(2).permute((0, 2, 1) if self.batch_first else (2, 0, 1))
        return self.attention(tokens, tokens, tokens)[0]


def attention_by_hand(model, batch):
    x = networks.native_input(batch).flatten(2).transpose(1, 2)
    weight, bias = model.attention.in_proj_weight, model.attention.in_proj_bias
    with torch.no_grad():
        q, k, v = functional.linear(x, weight, bias).chunk(3, dim=-1)
        shares = (q @ k.transpose(1, 2) / 3**0.5).softmax(-1)
        return model.attention.out_proj(shares @ v), shares


@pytest.mark.parametrize("batch_first", [True, False])
def test_elements_of_a_tuple(batch_first):
    model, batch = Tupled(batch_first=batch_first), networks.pictures(3, SIZE)
    output, shares = attention_by_hand(model, batch)
    # Sequence-first attention says so itself, and is turned round.
    arrays = run(model, ["attention[0]", "attention[1]", "attention:*[0]", "*[1]"], batch)
    assert list(arrays) == ["attention[0]", "attention[1]", "attention:0[0]"]
    np.testing.assert_allclose(arrays["attention[0]"], output, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(arrays["attention[1]"], shares, rtol=1e-4, atol=1e-6)
    assert np.array_equal(arrays["attention:0[0]"], arrays["attention[0]"])
    text = refusal(model, "attention")
    assert "attention[0], attention[1]" in text
    assert "attention[0], attention[1]" in refusal(model, "attention:*").replace(":0", "")
    assert "no element 'attention[2]'" in refusal(model, "attention[2]")


def test_elements_that_are_none_are_not_offered():
    model = networks.small("vit_b_32")
    survey = BACKEND.modules(model, (64, 64))
    name = "encoder.layers.encoder_layer_0.self_attention"
    with pytest.raises(ModuleError) as caught:
        survey.resolve([name])
    assert f"{name}[0]." in str(caught.value) and "[1]" not in str(caught.value)
    assert survey.resolve([f"{name}[0]"])[0].shape == (5, 768)


class Keyed(nn.Module):
    """Keys of every kind, as feature pyramids and segmentation networks have them."""

    def __init__(self):
        super().__init__()
        self.pyramid = Branches()

    def forward(self, x):
        return {"out": x, **self.pyramid(x)}


class Branches(nn.Module):
    def forward(self, x):
        return {"0": x * 2, "pool": (x * 3, [x * 4, None])}


def test_elements_of_dictionaries():
    batch = networks.pictures(2, SIZE)
    addresses = ["pyramid[0]", "pyramid[pool][0]", "pyramid[pool][1][0]", "output[out]"]
    arrays = run(Keyed(), addresses, batch)
    for factor, address in zip((2, 3, 4, 1), addresses, strict=True):
        assert np.array_equal(arrays[address].transpose(0, 2, 3, 1), batch * np.float32(factor))
    assert list(run(Keyed(), ["*"], batch)) == addresses[:3]
    assert "output[out]" in refusal(Keyed(), "output")


def test_names_with_colons_and_brackets():
    model = nn.Sequential()
    for number, name in enumerate(["a:0", "b[0]", "a", "c*"]):
        model.add_module(name, nn.Conv2d(3, 3, 1, bias=number % 2 == 0))
    arrays = run(model, ["a:0", "b[0]", "a", "c*", "*"])
    assert list(arrays) == ["a:0", "b[0]", "a", "c*"]
    assert len({array.tobytes() for array in arrays.values()}) == 4


def test_shared_modules_answer_to_all_their_names():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(3, 3, 1)
            self.block = nn.Sequential(self.one, nn.ReLU())

        def forward(self, x):
            return self.block(x)

    model = Shared()
    model.other = nn.Linear(1, 1)
    model.other.weight = nn.Parameter(model.one.weight.detach().reshape(9, 1))
    arrays = run(model, ["one", "block.0", "block.*"])
    assert list(arrays) == ["one", "block.0", "block.1"]
    assert np.array_equal(arrays["one"], arrays["block.0"])


class TokensFirst(nn.Module):
    """Transposes like sequence-first transformers, where only the attention says so."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.back = nn.Identity()

    def forward(self, x):
        return self.back(self.norm(x.flatten(2).permute(2, 0, 1)).permute(1, 0, 2))


def test_axes_are_not_guessed_from_sizes():
    # As many images as tokens: the shape alone could not tell.
    batch = networks.pictures(48, SIZE)
    assert run(TokensFirst(), ["back"], batch)["back"].shape == (48, 48, 3)
    assert "one row per stimulus" in refusal(TokensFirst(), "norm")


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.embed = nn.Conv2d(3, 4, 1)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_modules_of_the_fused_transformer_are_right():
    model, batch = Encoder(), networks.pictures(2, SIZE)
    model.eval()
    found, _ = networks.reference(model, networks.native_input(batch))
    survey = BACKEND.modules(model, SIZE)
    inner = [c for c in survey.resolve(["encoder.*"]) if c.path == ()]
    assert len(inner) > 10
    for capture in inner:  # one by one: each hook may switch the fused path off elsewhere
        try:
            array = BACKEND.run(model, batch, [capture], {}, full=True)[capture.address]
        except ModuleError as error:
            assert capture.address in str(error) and "fused" in str(error)
            continue
        expected = found[capture.module, capture.call, capture.path]
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)


class Viewer(nn.Module):
    """Flattens with view, which needs channels outermost in memory, as many networks do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)
        self.fc = nn.Linear(5 * 48, 7)

    def forward(self, x):
        x = self.conv(x)
        return self.fc(x.view(x.size(0), -1))


@pytest.mark.parametrize("full", [True, False])
def test_networks_that_view_their_memory_run(full):
    model, batch = Viewer(), networks.pictures(3, SIZE)
    backend = TorchBackend()
    with torch.no_grad():
        expected = model(networks.native_input(batch))
    for _ in range(2):
        arrays = run(model, ["fc", "conv"], batch, backend, full=full)
        np.testing.assert_allclose(arrays["fc"], expected, rtol=1e-5, atol=1e-6)


class ByName(nn.Module):
    """Calls its classifier with keyword arguments only."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(input=x.mean((2, 3)))


def test_penultimate_of_a_classifier_that_is_called_by_keyword():
    batch = networks.pictures(2, SIZE)
    array = run(ByName(), ["penultimate"], batch)["penultimate"]
    np.testing.assert_allclose(array, batch.mean((1, 2)), rtol=1e-5, atol=1e-7)


def test_penultimate_and_output_may_be_names_of_modules():
    model = nn.Sequential()
    model.add_module("penultimate", nn.Conv2d(3, 3, 1))
    model.add_module("output", nn.ReLU(inplace=True))
    arrays = run(model, ["penultimate", "output"])
    assert np.array_equal(arrays["penultimate"].clip(0), arrays["output"])
    assert (arrays["penultimate"] < 0).any()


def test_reductions_work_on_the_copy():
    model, batch = networks.Recurrent(), networks.pictures(3, SIZE)
    arrays = run(model, ["first", "area"], batch, reductions={"first": flatten})
    whole = run(model, ["first"], batch)["first"]
    assert (whole < 0).any()
    assert np.array_equal(arrays["first"], whole.reshape(3, -1))
    assert arrays["area"].ndim == 4


def test_video_networks_see_a_still_clip():
    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            return self.same(x)

    batch = networks.pictures(2, SIZE)
    clip = run(Clip(), ["same"], batch, TorchBackend(frames=5))["same"]
    assert clip.shape == (2, 3, 5, *SIZE)
    for frame in range(5):
        assert np.array_equal(clip[:, :, frame].transpose(0, 2, 3, 1), batch)


def test_no_modules_no_pass():
    assert BACKEND.run(networks.Recurrent(), networks.pictures(1, SIZE), [], {}) == {}


def test_a_call_of_an_alias_is_a_named_call():
    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.ReLU()
            self.b = self.a

        def forward(self, images):
            for _ in range(len(images) if len(images) < 3 else 3):
                images = self.b(self.a(images))
            return images

    model = Shared()
    batch = np.random.default_rng(0).random((1, 4, 4, 3), np.float32)
    found = run(model, ["a:0", "b:1"], batch, full=True)
    assert set(found) == {"a:0", "b:1"}
