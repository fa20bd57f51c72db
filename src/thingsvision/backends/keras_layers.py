"""The layers of a Keras model: their addresses, settings and weights."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from ..errors import ModuleError, listing
from .keras_engine import keras, quietly, weights_of


@dataclass(frozen=True)
class Layers:
    """All layers of a model, by their addresses; the model itself has an empty one.

    Parameters
    ----------
    by_name : dict of str to keras.layers.Layer
        In the order in which the model defines them.
    aliases : dict of str to str
        Further addresses: of layers that occur in several places, and Keras' own names of
        layers that are addressed by their attribute.
    """

    by_name: Mapping[str, Any]
    aliases: Mapping[str, str]


def is_graph(layer: Any) -> bool:
    """Say whether a model was made by connecting layers, so that its course is fixed."""
    if isinstance(layer, keras.Sequential):
        return bool(layer.built) and type(layer).call is keras.Sequential.call
    kinds: list[Any] = [kind for kind in type(layer).__mro__ if kind.__name__ == "Functional"]
    return bool(kinds) and getattr(type(layer), "call", None) is kinds[0].call


def find_layers(model: Any) -> Layers:
    """Find all layers of a model.

    Layers of functional and sequential models go by their names; in other layers and models by
    the attribute that holds them, e.g. ``blocks.0.dense``, since names made by Keras depend on
    what was built before.

    Raises
    ------
    ModuleError
        If two layers would have one address.
    """
    by_name = {"": model}
    names = {id(model): ""}
    aliases: dict[str, str] = {}
    nicknames: dict[str, str] = {}

    def walk(parent: Any, prefix: str, above: frozenset[int]) -> None:
        for label, layer in _children(parent):
            path = prefix + label
            if id(layer) in above:  # a layer that knows its owner
                continue
            if path in by_name or path in aliases:
                raise ModuleError(
                    f"Two layers of the model have the address {path!r}. Rename one of them, so "
                    "that activations cannot be taken for those of the other."
                )
            if id(layer) in names:
                aliases[path] = names[id(layer)]
            else:
                by_name[path], names[id(layer)] = layer, path
            if label != layer.name:
                nicknames.setdefault(prefix + layer.name, path)
            walk(layer, f"{path}.", above | {id(layer)})

    walk(model, "", frozenset({id(model)}))
    for nickname, path in nicknames.items():
        if nickname not in by_name:
            aliases.setdefault(nickname, aliases.get(path, path))
    return Layers(by_name, aliases)


def _children(parent: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers right below another one, with the last part of their addresses."""
    if isinstance(parent, keras.Sequential) or hasattr(parent, "operations"):
        inputs = keras.layers.InputLayer  # a place, which is never called
        yield from ((item.name, item) for item in parent.layers if not isinstance(item, inputs))
        return
    # With PyTorch as the engine, layers are kept where PyTorch keeps modules.
    attributes = {**vars(parent), **vars(parent).get("_modules", {})}
    public: dict[int, str] = {}
    private: dict[int, str] = {}
    for attribute, value in attributes.items():
        if attribute == "_layers" or attribute.startswith("_self_"):
            continue  # books that Keras and TensorFlow keep of all layers
        labels = private if attribute.startswith("_") else public
        for label, layer in _held(value, attribute.lstrip("_")):
            labels.setdefault(id(layer), label)
    for layer in parent._flatten_layers(include_self=False, recursive=False):
        hidden = private.get(id(layer), layer.name) if _is_numbered(layer) else layer.name
        yield public.get(id(layer), hidden), layer


def _is_numbered(layer: Any) -> bool:
    """Say whether Keras made a layer's name: that of its class, and a number."""
    stem = re.sub(r"_\d+$", "", layer.name).replace("_", "")
    return stem == type(layer).__name__.lower()


def _held(value: Any, label: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, keras.layers.Layer):
        yield label, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _held(item, f"{label}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _held(item, f"{label}.{index}")


def check_model(model: Any) -> None:
    """Refuse what cannot be run on images.

    Raises
    ------
    ModuleError
        If it is no model, has no weights yet, or takes several inputs.
    """
    if not isinstance(model, keras.Model):
        raise ModuleError(
            f"The network is a {type(model).__name__}; allowed is a keras.Model of Keras 3 "
            "(models of tf_keras, the former version, are not)."
        )
    if not model.built:
        raise unbuilt(model.name)
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) > 1:
        raise ModuleError(
            f"The model {model.name!r} has {len(inputs)} inputs ("
            f"{listing([tensor.name for tensor in inputs])}); allowed is one, images. Make a "
            "model of its image part: keras.Model(model.inputs[0], ...)."
        )


def unbuilt(name: str) -> ModuleError:
    """Make the refusal of layers that have no weights yet."""
    return ModuleError(
        f"{name!r} is not built: it has no weights yet. Call the model once on an array of images "
        "of shape (1, height, width, 3), or model.build((None, height, width, 3)), then load its "
        "weights."
    )


def structure(model: Any) -> str:
    """Describe the layers, their settings and connections, in the same words in every process."""
    layers = find_layers(model)
    lines = []
    with quietly():  # with any engine, Keras imports TensorFlow to describe types
        for name, layer in layers.by_name.items():
            lines.append(f"{name} {type(layer).__name__} {_settings(layer)}")
            if hasattr(layer, "operations"):
                lines += [f"{name} {line}" for line in _connections(layer)]
    return "\n".join([*lines, *(f"{alias} = {name}" for alias, name in layers.aliases.items())])


def _settings(layer: Any) -> str:
    if isinstance(layer, keras.Model):  # its layers have lines of their own
        return str(layer.dtype_policy.name)
    try:
        config = layer.get_config()
    except Exception:  # layers of others often have none
        config = {}
    if isinstance(layer, keras.layers.Lambda):
        config = {**config, "function": layer.function}
    text = json.dumps(config, sort_keys=True, default=_in_words, ensure_ascii=False)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _in_words(value: Any) -> str:
    if isinstance(value, FunctionType):  # Keras would give bytes that differ between processes
        held = [cell.cell_contents for cell in value.__closure__ or ()]
        return f"{_code(value.__code__)} {value.__defaults__} {held}"
    return str(value)


def _code(code: CodeType) -> str:
    constants = [_code(item) if isinstance(item, CodeType) else item for item in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _connections(model: Any) -> Iterator[str]:
    for operation in model.operations:
        for number, node in enumerate(operation._inbound_nodes):
            parents = [
                f"{tensor._keras_history.operation.name}:{tensor._keras_history.node_index}"
                f"[{tensor._keras_history.tensor_index}]"
                for tensor in node.input_tensors
            ]
            yield f"{operation.name}:{number} <- {', '.join(parents)}"


def digest(model: Any) -> str:
    """Compute the SHA-256 of all weights, with their names, types and shapes.

    Names of layers stay out: Keras numbers them by what was built before.
    """
    total = hashlib.sha256()
    for number, weight in enumerate(model.weights):
        total.update(f"{number} {weight.name} {weight.dtype} {tuple(weight.shape)}".encode())
        total.update(weights_of(weight).tobytes())
    return total.hexdigest()
