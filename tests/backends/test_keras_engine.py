"""Keras is imported without the chatter of its engine."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("keras")

EXTRACTION = """
import numpy as np
from thingsvision.backends.keras import KerasBackend
import keras
images = keras.Input((8, 8, 3))
x = keras.layers.Conv2D(4, 3)(images)
for _ in range(6):  # of these Keras itself makes a graph each
    x = keras.layers.Conv2D(4, 1, groups=4)(x)
model = keras.Model(images, keras.layers.Dense(2, name="fc")(x))
backend = KerasBackend()
for count in range(8):  # so many graphs that TensorFlow would warn
    survey = backend.modules(model, (8, 8))
    captures = survey.resolve(["*"])[: 1 + count % 3]
    backend.run(model, np.ones((count + 1, 8, 8, 3), np.float32), captures, {}, full=count == 0)
backend.structure(model), backend.digest(model)
"""


def python(script, **variables):
    path = os.pathsep.join(sys.path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    environment |= {"PYTHONPATH": path, **variables}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )


def test_an_extraction_is_silent_and_leaves_the_screen_to_others():
    script = EXTRACTION + (
        "import os, sys\n"
        "assert backend.name == 'keras (tensorflow)', 'the default'\n"
        "assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ, 'as it was found'\n"
        "os.write(2, b'seen')"
    )
    done = python(script)
    assert (done.stdout, done.stderr) == ("", "seen")


def test_users_who_want_to_hear_tensorflow_do():
    done = python("import thingsvision.backends.keras_engine", TF_CPP_MIN_LOG_LEVEL="0")
    assert "oneDNN" in done.stderr or "cpu_feature_guard" in done.stderr
