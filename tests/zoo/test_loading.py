"""Several networks for a comparison: found together, loaded one at a time."""

import gc
import weakref

import pytest
import torch

import thingsvision as tv
from thingsvision.errors import InvalidArgument, ThingsvisionWarning
from thingsvision.zoo import Network, list_models, load_models, loading
from thingsvision.zoo.source import INITIALISATIONS

SMALL = "torchvision/squeezenet1_?"


def test_names_and_patterns_are_loaded_in_their_order():
    networks = tv.load_models(["torchvision/alexnet", SMALL, "torchvision/alexnet"],
                              pretrained=False, seed=2)  # fmt: skip
    names = ("torchvision/alexnet", "torchvision/squeezenet1_0", "torchvision/squeezenet1_1")
    assert networks.names == names and len(networks) == 3
    assert [network.name for network in networks] == list(names)
    assert networks[-1].digest == tv.load_model(names[-1], pretrained=False, seed=2).digest
    assert networks[1:].names == names[1:] and networks[1:].options == networks.options
    assert networks[1].weights["seed"] == 2
    with pytest.raises(IndexError):
        networks[3]


def test_networks_are_not_kept_and_not_loaded_before_their_turn(monkeypatch):
    loaded = []
    load = loading.load_model

    def watched(name, **options):
        assert not any(reference() for reference in loaded), "an earlier network is still there"
        network = load(name, **options)
        loaded.append(weakref.ref(network.model))
        return network

    networks = load_models(SMALL, pretrained=False)
    monkeypatch.setattr(loading, "load_model", watched)
    for network in networks:
        assert isinstance(network, Network)
        del network
        gc.collect()
    assert len(loaded) == 2


def test_all_unknown_names_are_reported_together():
    with pytest.raises(InvalidArgument) as caught:
        load_models(["torchvision/alxnet", "torchvision/alexnet", "resnt50", "torchvision/zz*"])
    problems = str(caught.value).splitlines()
    assert len(problems) == 3
    assert "'torchvision/alxnet'. Nearest: torchvision/alexnet" in problems[0]
    assert "'resnt50'. Nearest: " in problems[1] and "'torchvision/zz*'" in problems[2]


def test_contradictions_are_found_before_anything_is_loaded():
    for options, message in (
        ({"init": "orthogonal"}, "add pretrained=False"),
        ({"weights": "no_such"}, "no set of weights for squeezenet1_0 'no_such'"),
        ({"weights": "mine.pth", "pretrained": False}, "pretrained=False asks for random"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            load_models(SMALL, **options)
    with pytest.raises(TypeError, match="pretraned"):
        load_models(SMALL, pretraned=False)
    with pytest.raises(InvalidArgument, match="raft_large cannot be used: it compares two frames"):
        load_models(["torchvision/raft_large"])


def test_what_a_pattern_matches_but_cannot_be_used_is_left_out_with_a_warning():
    with pytest.warns(ThingsvisionWarning, match=r"of the models .* left out: .*two frames"):
        networks = load_models("torchvision/*")
    left_out = set(list_models(source="torchvision")) - set(networks.names)
    assert left_out and len(networks) > 100
    for name in left_out:
        with pytest.raises(InvalidArgument, match="cannot be used"):
            tv.load_model(name, pretrained=False)


def test_functions_in_files_are_run_when_it_is_their_turn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "import thingsvision as tv\nfrom torch import nn\n"
        "def one(): return tv.wrap_model(nn.ReLU(), tv.Preprocessing(), name='one')\n"
        "def two(): raise OSError('not before its turn')\n"
    )
    networks = load_models(["nets.py:one", "nets.py:two"])
    assert networks[0].name == "local/one"


def test_preprocessing_of_ones_own_is_not_called_assumed():
    record = tv.Preprocessing(resize=64, crop=64)
    options = {"pretrained": False, "device": "cpu"}
    network = tv.load_model("torchvision/squeezenet1_1", **options)
    assert network.weights["preprocessing"].startswith("assumed")
    other = tv.load_model("torchvision/squeezenet1_1", **options, preprocessing=record)
    for changed in (other, network.preprocessed(record), network.preprocessed(crop=100)):
        assert "preprocessing" not in changed.weights


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"seed": 2**70}, "it is a whole number from 0"),
        ({"seed": -1}, "seed is -1"),
        ({"pretrained": "no"}, "pretrained is 'no'; allowed are True and False"),
    ],
)
def test_values_of_another_kind_are_refused(options, words):
    with pytest.raises(InvalidArgument, match=words):
        tv.load_model("torchvision/squeezenet1_1", **{"pretrained": False, **options})
    with pytest.raises(InvalidArgument, match="The name of a model is a text"):
        tv.load_model(None)


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_initialisations_are_those_of_torch(init):
    options = {"pretrained": False, "device": "cpu", "seed": 5}
    model = tv.load_model("torchvision/squeezenet1_1", **options, init=init).model
    first = next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d))
    wanted = torch.empty_like(first.weight)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        getattr(torch.nn.init, f"{init}_")(wanted)
    assert torch.equal(first.weight.detach(), wanted) and not first.bias.any()


def test_an_initialisation_that_changes_nothing_is_refused():
    with pytest.raises(InvalidArgument, match="changes nothing"):
        tv.load_model(
            "torchvision/quantized_shufflenet_v2_x0_5", pretrained=False, init="orthogonal"
        )


def test_what_scales_channels_keeps_its_values():
    options = {"pretrained": False, "device": "cpu"}
    model = tv.load_model("torchvision/convnext_tiny", **options, init="kaiming_normal").model
    scales = [p for name, p in model.named_parameters() if name.endswith("layer_scale")]
    assert scales and all((p == p.flatten()[0]).all() for p in scales)
