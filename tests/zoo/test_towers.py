"""A vision–language model made by hand, entered both ways."""

import numpy as np
import pytest
import torch
from torch import nn

import thingsvision as tv
from thingsvision.backends.torch import TorchBackend
from thingsvision.errors import InvalidArgument
from thingsvision.stimuli import StimulusSet
from thingsvision.testing import check_backend
from thingsvision.tokenization import Tokenization
from thingsvision.zoo import ModelCard, Network
from thingsvision.zoo.towers import tower


class Both(nn.Module):
    """An image tower of its own, and a text tower spread over the root."""

    def __init__(self):
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(16, 5))
        self.embedding = nn.Embedding(256, 6)
        self.projection = nn.Parameter(torch.randn(6, 5))
        self.register_buffer("shift", torch.ones(5))

    def encode_image(self, images):
        return self.visual(images)

    def encode_text(self, tokens):
        return self.embedding(tokens).mean(1) @ self.projection + self.shift


def letters(texts):
    return np.array([[*text.encode()[:4].ljust(4)] for text in texts])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Both()


@pytest.fixture
def network(model):
    card = ModelCard("local/both")
    tokens = Tokenization(letters, (4,), "letters")
    backend = TorchBackend(takes="tokens")
    view = tower(model, Both.encode_text)
    text = Network(card.name, view, backend, tokens, card, {}, {"text": "output"})
    return Network(
        card.name, tower(model, Both.encode_image), TorchBackend(), tv.Preprocessing(resize=(8, 8)),
        card, {}, {"penultimate": "output"}, text,
    )  # fmt: skip


def test_images_and_texts_go_their_own_ways(network, model):
    texts = StimulusSet(("a", "b", "c"), ("aardvark", "bird", "cat"))
    features = tv.extract_features(network, texts, ["embedding", "text"], batch_size=2)
    with torch.no_grad():
        expected = model.encode_text(torch.from_numpy(letters(texts.texts)))
    np.testing.assert_allclose(features["text"], expected, rtol=1e-5)
    assert features["embedding"].shape == (3, 4, 6)
    assert features["text"].ids == ("a", "b", "c")
    assert features["text"].provenance["preprocessing"]["tokenizer"] == "letters"
    images = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), np.uint8)
    found = tv.extract_features(network, images, ["visual", "penultimate"])
    with torch.no_grad():
        given = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        np.testing.assert_allclose(found["visual"], model.encode_image(given), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["visual"], found["penultimate"])


def test_a_view_shares_its_weights_and_passes_the_battery(network, model):
    assert network.digest == network.text.digest
    with torch.no_grad():
        model.projection.zero_()
    texts = StimulusSet(("a",), ("aardvark",))
    assert np.all(np.asarray(tv.extract_features(network, texts, "text")["text"]) == 1)
    check_backend(network.backend, network.model, (8, 8))


def test_texts_are_refused_by_a_network_of_images(network):
    texts = StimulusSet(("a",), ("aardvark",))
    alone = tv.wrap_model(network.model.visual, tv.Preprocessing(resize=(8, 8)))
    with pytest.raises(InvalidArgument, match="takes images only"):
        tv.extract_features(alone, texts, "0")
    with pytest.raises(InvalidArgument, match="is a text, not an image"):
        texts.image(0)
