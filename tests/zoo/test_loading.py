"""Several networks for a comparison: found together, loaded one at a time."""

import gc
import weakref

import pytest

import thingsvision as tv
from thingsvision.errors import InvalidArgument, ThingsvisionWarning
from thingsvision.zoo import Network, list_models, load_models, loading

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
