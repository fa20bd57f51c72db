"""CORnet against its published facts, and against its rules computed another way."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import thingsvision as tv
from thingsvision.errors import ThingsvisionWarning, UnknownName, WeightsError
from thingsvision.testing import check_backend, check_source
from thingsvision.zoo import describe_model
from thingsvision.zoo.cornet import SOURCE, VARIANTS

AREAS = {"V1": (3, 64, 56), "V2": (64, 128, 28), "V4": (128, 256, 14), "IT": (256, 512, 7)}
PARAMETERS = {
    "cornet_z": 2_071_656, "cornet_r": 5_208_936, "cornet_rt": 5_208_936, "cornet_s": 53_416_616,
}  # fmt: skip
# How often the output of each area is called in one pass.
CALLS = {
    "cornet_z": (1, 1, 1, 1), "cornet_r": (5, 5, 5, 5), "cornet_rt": (5, 5, 5, 5),
    "cornet_s": (1, 2, 4, 2),
}  # fmt: skip
REPEATS = {"V2": 2, "V4": 4, "IT": 2}


def norm(name, channels, batch):
    kinds = ("weight", "bias", "running_mean", "running_var")[: 4 if batch else 2]
    return {f"{name}.{kind}": (channels,) for kind in kinds}


def published_shapes(name):
    """Names and shapes of the entries of the published checkpoints, without counters."""
    shapes = {}
    for area, (before, channels, _) in AREAS.items():
        first = area == "V1"
        size = 7 if first else 3
        if name == "cornet_z":
            part = {"conv.weight": (channels, before, size, size), "conv.bias": (channels,)}
        elif name in ("cornet_r", "cornet_rt"):
            part = {
                "conv_input.weight": (channels, before, size, size),
                "conv_input.bias": (channels,),
                "conv1.weight": (channels, channels, 3, 3),
                **norm("norm_input", channels, batch=False),
                **norm("norm1", channels, batch=False),
            }
        elif first:
            part = {
                "conv1.weight": (64, 3, 7, 7), "conv2.weight": (64, 64, 3, 3),
                **norm("norm1", 64, batch=True), **norm("norm2", 64, batch=True),
            }  # fmt: skip
        else:
            wide = 4 * channels
            part = {
                "conv_input.weight": (channels, before, 1, 1),
                "skip.weight": (channels, channels, 1, 1),
                "conv1.weight": (wide, channels, 1, 1),
                "conv2.weight": (wide, wide, 3, 3),
                "conv3.weight": (channels, wide, 1, 1),
                **norm("norm_skip", channels, batch=True),
            }
            for t in range(REPEATS[area]):
                for number, width in ((1, wide), (2, wide), (3, channels)):
                    part |= norm(f"norm{number}_{t}", width, batch=True)
        shapes |= {f"{area}.{key}": shape for key, shape in part.items()}
    return {**shapes, "decoder.linear.weight": (1000, 512), "decoder.linear.bias": (1000,)}


def lively(name, seed=0):
    """A network whose biases and statistics are random too, so that each of them matters."""
    network = tv.load_model(f"cornet/{name}", pretrained=False, seed=seed, device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.model.state_dict().items():
        if value.ndim == 1:
            drawn = torch.rand(value.shape, generator=generator)
            value.copy_(drawn + 0.5 if "weight" in key or "var" in key else drawn - 0.5)
    return network


@pytest.fixture(scope="module")
def networks():
    return {name: lively(name) for name in VARIANTS}


def images(count=2, size=64):
    return np.random.default_rng(3).normal(size=(count, size, size, 3)).astype(np.float32)


def responses(network, batch, pattern="*.output:*"):
    size = batch.shape[1:3]
    captures = network.modules(size).resolve([pattern, "output"])
    return network.backend.run(network.model, batch, captures, {}, full=True)


# --- facts


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_have_the_published_names_and_shapes(networks, name):
    network = networks[name]
    state = network.model.state_dict()
    found = {k: tuple(v.shape) for k, v in state.items() if "num_batches_tracked" not in k}
    assert found == published_shapes(name)
    assert sum(p.numel() for p in network.model.parameters()) == PARAMETERS[name]
    assert network.card.parameters == PARAMETERS[name]
    entries = {"cornet_z": 10, "cornet_r": 30, "cornet_rt": 30, "cornet_s": 164}
    assert len(state) == entries[name]


@pytest.mark.parametrize("name", VARIANTS)
def test_areas_have_the_published_calls_and_shapes(name):
    survey = tv.load_model(f"cornet/{name}", device="meta").modules()
    modules = {module.name: module for module in survey.modules}
    for (area, (_, channels, side)), calls in zip(AREAS.items(), CALLS[name], strict=True):
        module = modules[f"{area}.output"]
        assert module.calls == calls
        assert {output.shape for output in module.outputs} == {(channels, side, side)}
        assert modules[area].calls == (1 if name in ("cornet_z", "cornet_s") else 5)
    steps = survey.resolve(["V4.output:*"])
    last = CALLS[name][2] - 1
    assert [capture.call for capture in steps] == list(range(last + 1))
    assert survey.resolve(["V4.output"])[0].call == last
    for step in range(last + 1):
        assert survey.resolve([f"V4.output:{step}"])[0].call == step
    decoder = {"avgpool": (512, 1, 1), "flatten": (512,), "linear": (1000,)}
    for layer, shape in decoder.items():
        assert modules[f"decoder.{layer}"].outputs[0].shape == shape
    assert ("decoder.output" in modules) == (name in ("cornet_z", "cornet_s"))


def test_card():
    card = describe_model("cornet/cornet_s")
    assert card.task == "classification" and card.training_data == "ImageNet-1k"
    assert "10.1101/408385" in card.citation and "2019" in card.citation
    assert "GPL-3.0" in card.licence
    assert len(card.classes) == 1000
    assert (card.preprocessing.resize, card.preprocessing.crop) == (256, 224)
    assert card.preprocessing.mean == (0.485, 0.456, 0.406)
    with pytest.raises(UnknownName, match="cornet_s"):
        tv.load_model("cornet/cornet_x")


# --- the rules, computed with plain functions from the parameters


def pooled(x):
    return functional.max_pool2d(x, 3, 2, 1)


def classified(state, x):
    return x.mean((2, 3)) @ state["decoder.linear.weight"].T + state["decoder.linear.bias"]


def rules_z(s, x):
    found = {}
    for area in AREAS:
        first = area == "V1"
        convolved = functional.conv2d(
            x, s[f"{area}.conv.weight"], s[f"{area}.conv.bias"],
            stride=2 if first else 1, padding=3 if first else 1,
        )  # fmt: skip
        x = found[f"{area}.output:0"] = pooled(convolved.relu())
    return {**found, "output": classified(s, x)}


def rules_r(s, image, delay):
    """R is delay 0, RT delay 1; responses of all steps are kept by (area, step)."""
    kept = {}
    side = image.shape[-1]
    for step in range(5):
        for number, (area, (_, channels, at_224)) in enumerate(AREAS.items()):
            own_side = side * at_224 // 224
            if number == 0:
                incoming = image
            elif step == 0:
                incoming = None
            else:
                incoming = kept[list(AREAS)[number - 1], step - delay]
            total = kept.get(
                (area, step - 1), torch.zeros(len(image), channels, own_side, own_side)
            )
            if incoming is not None:
                stride, padding = (4, 3) if number == 0 else (2, 1)
                drive = functional.conv2d(
                    incoming, s[f"{area}.conv_input.weight"], s[f"{area}.conv_input.bias"],
                    stride=stride, padding=padding,
                )  # fmt: skip
                drive = functional.group_norm(
                    drive, 32, s[f"{area}.norm_input.weight"], s[f"{area}.norm_input.bias"]
                )
                total = total + drive.relu()
            inner = functional.conv2d(total, s[f"{area}.conv1.weight"], padding=1)
            kept[area, step] = functional.group_norm(
                inner, 32, s[f"{area}.norm1.weight"], s[f"{area}.norm1.bias"]
            ).relu()
    found = {f"{area}.output:{step}": x for (area, step), x in kept.items()}
    return {**found, "output": classified(s, kept["IT", 4])}


def rules_s(s, x):
    def normed(x, name):
        mean, var = s[f"{name}.running_mean"], s[f"{name}.running_var"]
        scale = s[f"{name}.weight"] / (var + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + s[f"{name}.bias"][:, None, None]

    def convolved(x, name, stride=1, padding=0):
        return functional.conv2d(x, s[f"{name}.weight"], stride=stride, padding=padding)

    x = pooled(normed(convolved(x, "V1.conv1", 2, 3), "V1.norm1").relu())
    x = normed(convolved(x, "V1.conv2", 1, 1), "V1.norm2").relu()
    found = {"V1.output:0": x}
    for area, repeats in REPEATS.items():
        x = convolved(x, f"{area}.conv_input")
        for t in range(repeats):
            stride = 2 if t == 0 else 1
            skip = normed(convolved(x, f"{area}.skip", 2), f"{area}.norm_skip") if t == 0 else x
            x = normed(convolved(x, f"{area}.conv1"), f"{area}.norm1_{t}").relu()
            x = normed(convolved(x, f"{area}.conv2", stride, 1), f"{area}.norm2_{t}").relu()
            x = (normed(convolved(x, f"{area}.conv3"), f"{area}.norm3_{t}") + skip).relu()
            found[f"{area}.output:{t}"] = x
    return {**found, "output": classified(s, x)}


RULES = {
    "cornet_z": rules_z,
    "cornet_r": lambda s, x: rules_r(s, x, delay=0),
    "cornet_rt": lambda s, x: rules_r(s, x, delay=1),
    "cornet_s": rules_s,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_response_follows_the_rules(networks, name):
    network, batch = networks[name], images()
    found = responses(network, batch)
    with torch.no_grad():
        image = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
        wanted = RULES[name](network.model.state_dict(), image)
    found.pop("decoder.output:0", None)
    assert found.keys() == wanted.keys() and len(found) == sum(CALLS[name]) + 1
    for address, array in wanted.items():
        scale = float(array.abs().max())
        assert scale > 0.1, address
        np.testing.assert_allclose(found[address], array, atol=1e-4 * scale, err_msg=address)


def test_r_and_rt_part_after_the_first_step_behind_v1(networks):
    networks["cornet_rt"].model.load_state_dict(networks["cornet_r"].model.state_dict())
    r, rt = (responses(networks[name], images()) for name in ("cornet_r", "cornet_rt"))
    for area in AREAS:
        for step in range(5):
            address = f"{area}.output:{step}"
            agree = np.array_equal(r[address], rt[address])
            assert agree == (step == 0 or area == "V1"), address


def test_a_step_stops_the_pass_and_equals_the_whole(networks):
    network, batch = networks["cornet_r"], images()
    whole = responses(network, batch)
    captures = network.modules((64, 64)).resolve(["V2.output:1"])
    calls = []
    hook = network.model.IT.conv1.register_forward_hook(lambda *_: calls.append(1))
    early = network.backend.run(network.model, batch, captures, {})
    hook.remove()
    assert np.array_equal(early["V2.output:1"], whole["V2.output:1"])
    assert len(calls) == 1  # of five


def test_steps_are_extracted(networks):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    stimuli = tv.load_stimuli(list(pictures))
    small = networks["cornet_rt"].preprocessed(resize=32, crop=32)
    features = tv.extract_features(small, stimuli, modules=["IT.output:*"], out=None)
    assert list(features) == [f"IT.output:{t}" for t in range(5)]
    assert all(features[address].shape == (3, 512, 1, 1) for address in features)


@pytest.mark.parametrize("size", [(33, 47), (64, 70)])
def test_other_sizes_of_pictures(networks, size):
    for name in ("cornet_r", "cornet_rt"):
        module = {m.name: m for m in networks[name].modules(size).modules}["V1.output"]
        assert module.outputs[0].shape == (64, -(-size[0] // 4), -(-size[1] // 4))


# --- weights


@pytest.mark.parametrize(
    "name", ["cornet_z", *(pytest.param(n, marks=pytest.mark.slow) for n in ("cornet_rt",))]
)
def test_contract_of_sources(name):
    check_source(SOURCE, name)


@pytest.mark.parametrize(
    "name",
    ["cornet_z", *(pytest.param(n, marks=pytest.mark.slow) for n in ("cornet_rt", "cornet_s"))],
)
def test_contract_of_backends(networks, name):
    check_backend(networks[name].backend, networks[name].model, (32, 32))


def test_random_weights_are_those_of_pytorch():
    first, again, other = (
        tv.load_model("cornet/cornet_r", pretrained=False, seed=seed) for seed in (4, 4, 5)
    )
    assert first.digest == again.digest != other.digest
    assert first.weights["kind"] == "random" and first.weights["seed"] == 4
    state = first.model.state_dict()
    for key, value in state.items():
        if value.ndim > 1:  # uniform within 1 / sqrt(fan-in)
            bound = value[0].numel() ** -0.5
            assert value.abs().max() <= bound
            assert float(value.std()) == pytest.approx(bound / 3**0.5, rel=0.03), key
    assert torch.equal(state["V1.norm1.weight"], torch.ones(64))
    assert not state["V1.norm1.bias"].any()
    drawn = tv.load_model("cornet/cornet_r", pretrained=False, init="kaiming_normal")
    assert float(drawn.model.V4.conv1.weight.detach().std()) == pytest.approx(
        (2 / 256 / 9) ** 0.5, rel=0.02
    )


def published(network, **others):
    """A checkpoint as the authors saved theirs."""
    state = {f"module.{key}": value for key, value in network.model.state_dict().items()}
    return {
        "epoch": 43,
        "optimizer": {"state": {}, "param_groups": []},
        **others,
        "state_dict": state,
    }


@pytest.fixture
def publish(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))

    def put(name, content):
        torch.save(content, tmp_path / "made.pth")
        digest = hashlib.sha256((tmp_path / "made.pth").read_bytes()).hexdigest()
        path = (tmp_path / "made.pth").rename(tmp_path / f"{name}-{digest[:8]}.pth")
        monkeypatch.setitem(VARIANTS, name, replace(VARIANTS[name], address=path.as_uri()))
        return path

    return put


@pytest.mark.parametrize("name", ["cornet_z", "cornet_r", "cornet_rt"])
def test_published_checkpoints_load_by_key(networks, publish, name):
    path = publish(name, published(networks[name]))
    with pytest.warns(ThingsvisionWarning, match="could not be tried"):
        network = tv.load_model(f"cornet/{name}", device="cpu")
    assert network.digest == networks[name].digest
    assert network.weights == {
        "kind": "pretrained", "weights": "imagenet", "url": path.as_uri(), "checked": False,
    }  # fmt: skip
    mine = tv.load_model(f"cornet/{name}", weights=path, device="cpu")
    assert mine.digest == network.digest and mine.weights["kind"] == "file"


def test_a_checkpoint_of_s_without_counters_loads(networks, tmp_path):
    content = published(networks["cornet_s"])
    state = content["state_dict"]
    for key in [key for key in state if "num_batches_tracked" in key]:
        del state[key]
    torch.save(content, tmp_path / "s.pth")
    network = tv.load_model("cornet/cornet_s", weights=tmp_path / "s.pth", device="cpu")
    mine = network.model.state_dict()
    assert all(torch.equal(mine[key.removeprefix("module.")], state[key]) for key in state)


def test_checkpoints_that_do_not_fit_are_refused(networks, publish):
    content = published(networks["cornet_z"])
    content["state_dict"]["module.V3.conv.weight"] = torch.zeros(1)
    del content["state_dict"]["module.V1.conv.bias"]
    publish("cornet_z", content)
    with pytest.raises(WeightsError) as caught:
        tv.load_model("cornet/cornet_z")
    text = str(caught.value)
    assert "1 missing: V1.conv.bias." in text and "1 unexpected: V3.conv.weight." in text
    publish("cornet_rt", published(networks["cornet_z"]))
    with pytest.raises(WeightsError, match="and .* more"):
        tv.load_model("cornet/cornet_rt")


def test_checkpoints_that_hold_more_than_tensors_are_refused(networks, publish):
    publish("cornet_z", published(networks["cornet_z"], best=np.float64(0.5)))
    with pytest.raises(WeightsError, match="could run code.*weights_only=False"):
        tv.load_model("cornet/cornet_z")


def test_addresses_hold_a_digest():
    for name, variant in VARIANTS.items():
        file = variant.address.rpartition("/")[2]
        assert file.startswith(f"{name}-") and len(file) == len(f"{name}-12345678.pth")
