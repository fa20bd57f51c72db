"""Small Keras models of our own that are awkward on purpose; for every engine."""

import keras
import numpy as np
from keras import layers, ops

SIZE = (16, 20)


def pictures(count=3, size=SIZE):
    return np.random.default_rng(0).random((count, *size, 3), np.float32)


def functional():
    """Rescales inside, shares a ReLU, adds a number by an operation that is no layer."""
    images = keras.Input((*SIZE, 3))
    x = layers.Rescaling(1 / 2, name="rescale")(images)
    x = layers.Conv2D(4, 3, name="conv1")(x)
    x = layers.BatchNormalization(name="norm")(x)
    relu = layers.ReLU(name="relu")
    x = layers.Conv2D(4, 3, name="conv2")(relu(x))
    x = relu(x) + 1.0
    x = layers.Lambda(lambda tensor: tensor * 2, name="twofold")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    return untidied(keras.Model(images, layers.Dense(5, activation="softmax", name="fc")(x)))


def untidied(model):
    """Give the parts that start at zero and one other values, as after training."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name in ("beta", "gamma", "bias", "moving_mean", "moving_variance"):
            weight.assign(random.random(tuple(weight.shape)) + 0.5)
    return model


def nested():
    """A sequential model inside, and a functional one that is called twice."""
    images = keras.Input((*SIZE, 3))
    stem = keras.Sequential(
        [keras.Input((*SIZE, 3)), layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="relu")],
        name="stem",
    )
    maps = keras.Input((None, None, 4))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(layers.ReLU(name="relu")(maps))
    block = keras.Model(maps, x, name="block")
    x = block(block(stem(images)))
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(3, name="fc")(x))


def sequential():
    return keras.Sequential([
        keras.Input((*SIZE, 3)),
        layers.Conv2D(4, 5, strides=2, name="conv"),
        layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flat"),
        layers.Dense(3, name="fc"),
        layers.Activation("softmax", name="softmax"),
    ])  # fmt: skip


class Subclassed(keras.Model):
    """Holds layers in attributes, lists and dictionaries; its course is Python code."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3)
        self.relu = layers.ReLU()
        self.blocks = [layers.Conv2D(4, 3, padding="same") for _ in range(2)]
        self.heads = {"small": layers.Dense(3)}
        self._hidden = layers.Dense(4)
        self.pool = layers.GlobalMaxPooling2D()
        self.unused = layers.Dense(2)

    def call(self, images):
        x = self.relu(self.conv(images))
        for block in self.blocks:
            x = self.relu(block(x) + x)
        return self.heads["small"](self._hidden(self.pool(x)))


def subclassed():
    model = Subclassed()
    model(pictures(1))
    return model


class Parts(layers.Layer):
    """Returns a dictionary, a tuple in it, and something without rows for stimuli."""

    def build(self, shape):
        self.table = self.add_weight(shape=(2, 3), name="table")
        self.built = True

    def call(self, x):
        return {
            "mean": ops.mean(x, (1, 2)),
            "both": (ops.max(x, (1, 2)), x),
            "table": self.table * 1,
        }


class Noise(layers.Layer):
    """Random in inference, from a generator of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.generator)


class Counter(layers.Layer):
    """Counts its calls in a weight, and adds the count."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), trainable=False, initializer="zeros", name="count")
        self.built = True

    def call(self, x):
        self.count.assign_add(1.0)
        return x + self.count


def awkward():
    """Several outputs, noise, and a layer that changes its state."""
    images = keras.Input((*SIZE, 3))
    parts = Parts(name="parts")(layers.Conv2D(4, 3, name="conv")(images))
    x = Noise(name="noise")(parts["mean"]) + parts["both"][0]
    return keras.Model(images, layers.Dense(3, name="fc")(Counter(name="counter")(x)))


def transformer(**options):
    """Patches as tokens, with attention."""
    images = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 4, strides=4, name="patches")(images)
    x = layers.Reshape((-1, 8), name="tokens")(x)
    normed = layers.LayerNormalization(name="norm")(x)
    x = x + layers.MultiHeadAttention(2, 4, name="attention")(normed, normed)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(images, layers.Dense(3, name="fc", **options)(x))
