"""Reading weights without running code, and fitting them to an architecture."""

import argparse
import os
import pickle
import warnings
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from thingsvision.errors import ThingsvisionWarning, WeightsError
from thingsvision.zoo import load_model
from thingsvision.zoo.weights import fitted, quiet, random, read_weights, skeleton


class Net(nn.Module):
    def __init__(self, num_classes=10, width=4):
        super().__init__()
        self.body = nn.Conv2d(3, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def state():
    return random(Net, 3).state_dict()


def same(model, state):
    mine = model.state_dict()
    return mine.keys() == state.keys() and all(torch.equal(mine[k], state[k]) for k in mine)


WRAPPINGS = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "best": 0.5},
    "nested": lambda s: {"model": {"state_dict": s}},
    "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled and parallel": lambda s: {
        "model_state_dict": {f"_orig_mod.module.{k}": v for k, v in s.items()}
    },
    "without counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    "with an epoch": lambda s: {**s, "epoch": 3},
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("legacy", [False, True])
def test_round_trip(tmp_path, state, wrap, legacy):
    path = tmp_path / "mine.pth"
    torch.save(wrap(state), path, _use_new_zipfile_serialization=not legacy)
    assert same(fitted(Net, read_weights(path), "mine"), state)


def test_safetensors(tmp_path, state):
    save_file({f"module.{k}": v for k, v in state.items()}, tmp_path / "mine.safetensors")
    assert same(fitted(Net, read_weights(tmp_path / "mine.safetensors"), "mine"), state)


def test_keys_lead_to_a_state_dict_inside(tmp_path, state):
    path, other = tmp_path / "mine.pth", random(Net, 4).state_dict()
    torch.save({"a": {"b.c": {}, "b": {"student": other, "teacher": state}}, "epoch": 3}, path)
    assert same(fitted(Net, read_weights(path, "a.b.teacher"), "mine"), state)
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_weights(path, "a.b.x")
    torch.save({"state_dict": state}, path)  # saved again, it lies where it usually does
    assert same(fitted(Net, read_weights(path, "a.b.teacher"), "mine"), state)


def test_a_single_changed_byte_is_found(tmp_path):
    path = tmp_path / "mine.pth"
    torch.save({"a": torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 2000] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["a"].shape == (1000,)  # torch itself takes it
    with pytest.raises(WeightsError, match="checksum of its part"):
        read_weights(path)


def test_weights_stay_when_their_file_goes(tmp_path, state):
    path = tmp_path / "mine.pth"
    torch.save(state, path)
    model = fitted(Net, read_weights(path), "mine")
    path.write_bytes(b"\0" * path.stat().st_size)
    assert same(model, state)


def test_missing_unexpected_and_other_shapes_are_all_listed(state):
    del state["body.bias"]
    state["extra.weight"] = torch.zeros(2)
    state["norm.weight"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        fitted(Net, state, "'mine.pth'")
    text = str(caught.value)
    assert "'mine.pth'" in text
    assert "1 missing: body.bias." in text
    assert "1 unexpected: extra.weight." in text
    assert "1 of another shape: norm.weight (7,) in place of (4,)." in text


def test_the_first_variant_that_fits_is_built(state):
    wide = random(partial(Net, width=6), 1).state_dict()
    variants = [{"no_such_option": 1}, {}, {"width": 6}]
    assert fitted(Net, wide, "wide", variants).body.out_channels == 6
    assert fitted(Net, state, "narrow", variants).body.out_channels == 4
    with pytest.raises(WeightsError, match=r"head\.weight \(10, 5\) in place of \(10, 4\)"):
        fitted(Net, {**state, "head.weight": torch.zeros(10, 5)}, "neither", variants)


@pytest.mark.parametrize("pickled", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, state, pickled):
    path, trace = tmp_path / "evil.pth", tmp_path / "made by the file"
    content = {"state_dict": state, "x": Evil(trace)}
    if pickled == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert not trace.exists()
    if pickled == "torch":
        assert "could run code" in str(caught.value) and "mkdir" in str(caught.value)
    torch.load(path, weights_only=False) if pickled == "torch" else pickle.loads(path.read_bytes())
    assert trace.exists()  # it would have


@pytest.mark.parametrize("content", [argparse.Namespace(lr=1), Net()], ids=["options", "network"])
def test_objects_are_named_in_the_refusal(tmp_path, content):
    torch.save({"state_dict": {"a": torch.ones(1)}, "content": content}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=rf"more than tensors \([\w.]*{type(content).__name__}"):
        read_weights(tmp_path / "mine.pth")


BROKEN = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "a web page": lambda whole: b"<html>404 not found</html>",
}
IN_WORDS = {b"": "it is empty", b"<html>404": "not a file of weights but text.*<html>404",
            "\nein Gruß\n".encode(): "text, which begins 'ein Gruß'"}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), IN_WORDS.items())
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_plainly_no_weights_is_said_in_words(tmp_path, content, words, suffix):
    path = tmp_path / f"mine.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read_weights(path)


def test_several_sets_of_weights_in_one_file(tmp_path, state):
    other = random(Net, 4).state_dict()
    both = {"model_ema": other, "model": state, "net": other, "optimizer": {"state": {}}}
    torch.save(both, tmp_path / "both.pth")
    with pytest.warns(ThingsvisionWarning, match=r"'model' was used, not model_ema, net\."):
        found = read_weights(tmp_path / "both.pth")
    assert torch.equal(found["head.weight"], state["head.weight"])
    torch.save({"model": state, "optimizer": {"state": {}}}, tmp_path / "one.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_weights(tmp_path / "one.pth")


@pytest.mark.parametrize("prefix", ["encoder_q.", "a.b."])
def test_an_unknown_prefix_is_named(state, prefix):
    prefixed = {f"{prefix}{k}": v for k, v in state.items()}
    with pytest.raises(WeightsError, match=f"All keys begin with '{prefix}'; strip it"):
        fitted(Net, prefixed, "mine")
    with pytest.raises(WeightsError, match=f"{len(state)} of {len(state) + 1} keys begin with"):
        fitted(Net, {**prefixed, "queue": torch.ones(1)}, "mine")
    with pytest.raises(WeightsError) as caught:
        fitted(Net, {"x.y": torch.ones(1)}, "mine")
    assert "begin" not in str(caught.value)


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_broken_files(tmp_path, state, spoil, suffix):
    path = tmp_path / f"mine.{suffix}"
    torch.save(state, path) if suffix == "pth" else save_file(state, path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(WeightsError, match="broken or no weights file") as caught:
        read_weights(path)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's own advice is to run the code


def test_missing_file_and_files_of_something_else(tmp_path):
    with pytest.raises(WeightsError, match="There is no weights file"):
        read_weights(tmp_path / "nowhere.pth")
    with pytest.raises(WeightsError, match="is a folder, not a weights file"):
        read_weights(tmp_path)
    for content, named in [({"epoch": 3, "lr": 0.1}, "epoch, lr"), ([1], "list")]:
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=f"holds no state dict.*{named}"):
            read_weights(tmp_path / "other.pth")


def test_random_is_reproducible_and_leaves_the_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = random(Net, 0), random(Net, 0), random(Net, 1)
    skeleton(Net), quiet(Net), fitted(Net, first.state_dict(), "")
    assert torch.equal(torch.get_rng_state(), before)
    assert same(again, first.state_dict())
    assert not same(other, first.state_dict())
    with torch.random.fork_rng():  # as the library itself draws with this seed
        torch.manual_seed(1)
        assert same(Net(), other.state_dict())


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("versions", [False, True])
def test_versions_of_layers_are_kept(tmp_path, inside, versions):
    # MNASNet refuses a state dict that does not say of which version it is.
    model = quiet(models.mnasnet0_5, weights=None, seed=4)
    wrapped = nn.DataParallel(model) if inside else model
    state = wrapped.state_dict() if versions else dict(wrapped.state_dict())
    torch.save(state, tmp_path / "mine.pth")
    assert hasattr(torch.load(tmp_path / "mine.pth"), "_metadata") == versions
    build = partial(models.mnasnet0_5, weights=None)
    assert same(fitted(build, read_weights(tmp_path / "mine.pth"), "mine"), model.state_dict())


def test_skeleton_takes_no_memory():
    assert all(p.is_meta for p in skeleton(Net).parameters())
    # Computes with real numbers while it is built.
    model = skeleton(models.regnet_y_400mf, weights=None)
    assert all(p.is_meta for p in model.parameters())
    real = quiet(models.regnet_y_400mf, weights=None)
    assert {n: v.shape for n, v in model.state_dict().items()} == {
        n: v.shape for n, v in real.state_dict().items()
    }


CLASSIFIERS = [
    "resnet18", "mnasnet0_5", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5",
    "googlenet", "densenet121", "lraspp_mobilenet_v3_large",
]  # fmt: skip
LARGE = ["vgg11", "vit_b_32", "swin_t", "inception_v3"]


@pytest.mark.parametrize(
    "name", [*CLASSIFIERS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_another_number_of_classes(tmp_path, name):
    options = {"weights_backbone": None} if "lraspp" in name else {}
    model = quiet(partial(models.get_model, name), weights=None, num_classes=7, seed=4, **options)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "mine.pth")
    network = load_model(f"torchvision/{name}", weights=tmp_path / "mine.pth", device="cpu")
    assert same(network.model, model.state_dict())
    address = "output[out]" if options else "output"
    assert network.modules().resolve([address])[0].shape[0] == 7


def test_whole_numbers_in_place_of_real_ones_are_refused(tmp_path):
    build = partial(nn.Linear, 3, 2)
    state = {key: (value * 100).to(torch.int8) for key, value in build().state_dict().items()}
    with pytest.raises(WeightsError, match=r"2 of another type: weight torch.int8 in place of"):
        fitted(build, state, "mine")
