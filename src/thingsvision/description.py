"""The methods paragraph: how features were made, in sentences that can go into a paper."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from .errors import InvalidArgument, counted
from .features import Features, FeatureSet
from .store import location, read_meta
from .store.reading import refuse_unfinished
from .store.records import read_stimuli

TOOLBOX = (
    "Muttenthaler, L. and Hebart, M. N. (2021). THINGSvision: A Python toolbox for streamlining "
    "the extraction of activations from deep neural networks. Frontiers in Neuroinformatics, 15. "
    "doi:10.3389/fninf.2021.679838"
)
PROJECTION = (
    "Li, P., Hastie, T. J. and Church, K. W. (2006). Very sparse random projections. KDD 2006. "
    "doi:10.1145/1150402.1150436"
)
# Framework -> its name, its package, and what to cite.
FRAMEWORKS = {
    "torch": ("PyTorch", "torch", "Paszke, A. et al. (2019). PyTorch: An imperative style, "
              "high-performance deep learning library. NeurIPS, 32."),
    "keras": ("Keras", "keras", "Chollet, F. et al. (2015). Keras. https://keras.io"),
    "tensorflow": ("TensorFlow", "tensorflow", "Abadi, M. et al. (2016). TensorFlow: A system for "
                   "large-scale machine learning. OSDI, 16."),
    "jax": ("JAX", "jax", "Bradbury, J. et al. (2018). JAX: composable transformations of "
            "Python+NumPy programs. http://github.com/jax-ml/jax"),
}  # fmt: skip
# Source -> its name and package, where the networks are those of a library.
LIBRARIES = {
    "torchvision": ("torchvision", "torchvision"), "timm": ("timm", "timm"),
    "openclip": ("OpenCLIP", "open-clip-torch"), "hf": ("Transformers", "transformers"),
    "keras": ("Keras", "keras"),
}  # fmt: skip
REDUCED = {
    "flatten": "were laid out in one vector per {stimulus}",
    "mean": "were averaged over height and width",
    "max": "were reduced to their maximum over height and width",
    "cls": "were reduced to the CLS token",
    "mean-of-patches": "were averaged over the tokens of the image's patches",
    "cls+mean": "were reduced to the CLS token, joined with the mean over the tokens of patches",
}
FITTED = {
    "stretch": "resized to {0} pixels without regard to their proportions",
    "cover": "resized, proportions kept, to cover {0} pixels",
    "contain": "resized, proportions kept, to fit into {0} pixels",
    "corner": "resized, proportions kept, to fit into {0} pixels, and padded right and below",
}
# Modules that are named one by one.
NAMED = 12


def describe_methods(features: str | os.PathLike[str] | FeatureSet | Features) -> str:
    """Write the methods paragraph of features, with what to cite.

    Parameters
    ----------
    features : path, FeatureSet or Features
        A folder that `extract_features` wrote to, or features that know what made them.

    Returns
    -------
    str
        A paragraph, an empty line, and a reference on each line.

    Raises
    ------
    InvalidArgument
        If features do not know what made them.
    StoreError
        If the folder holds no features, or unfinished ones.

    Examples
    --------
    >>> import numpy as np
    >>> from thingsvision.extraction import extract_features
    >>> from thingsvision.testing import toy_network
    >>> features = extract_features(toy_network(), np.zeros((2, 8, 6, 3), np.uint8), "fc")
    >>> describe_methods(features).partition(" with ")[0]
    'Activations of 2 images were extracted from the module "fc" of the network local/toy'
    """
    failed = 0
    if isinstance(features, (str, os.PathLike)):
        folder = location(features)
        meta = read_meta(folder)
        refuse_unfinished(folder, meta)
        record = meta.get("provenance", {})
        if (folder / "stimuli.csv").is_file():
            failed = sum(row.get("status", "ok") != "ok" for row in read_stimuli(folder))
    else:
        record = features.provenance
    if not {"model", "weights", "modules"} <= set(record):
        raise InvalidArgument(
            "These features do not know what made them; extract_features records it. Give a "
            "folder that it wrote to."
        )
    references = [TOOLBOX, *_cited(record)]
    sentences = [
        *_network(record),
        _input(record),
        *_modules(record),
        _computed(record, references),
    ]
    if failed:
        verb = "has" if failed == 1 else "have"
        sentences.append(f"{counted(failed, 'image')} could not be decoded and {verb} no features.")
    if any(made["projected"] for made in record.get("projections", {}).values()):
        references.append(PROJECTION)
    listed = "\n".join(sorted(dict.fromkeys(references), key=str.lower))
    return f"{' '.join(sentences)}\n\n{listed}"


def _stimulus(record: Mapping[str, Any]) -> str:
    return "text" if "tokenizer" in record["preprocessing"] else "image"


def _network(record: Mapping[str, Any]) -> list[str]:
    """Say which network it was, and where its weights came from."""
    weights, source = record["weights"], record["model"].partition("/")[0]
    count, noun = record["stimuli"]["count"], _stimulus(record)
    version = record.get("versions", {}).get("thingsvision", "")
    tower = " (its text encoder)" if noun == "text" else ""
    first = (
        f"Activations of {count} {noun if count == 1 else noun + 's'} were extracted from "
        f"{_named(list(record['modules']))} of the network {record['model']}{tower} with "
        f"thingsvision {version} (Muttenthaler & Hebart, 2021)."
    )
    works = _in_text(record.get("citation", ""))
    library = _library(record, source)
    kind, made_by = weights.get("kind"), weights.get("made_by")
    if kind == "random":
        drawn = weights.get("init")
        way = f"by {drawn.replace('_', ' ')} initialisation" if drawn else (
            "with its library's own initialisation"
        )  # fmt: skip
        second = (
            f"The network{works} was not trained: its weights were drawn at random, {way}, with "
            f"the seed {weights.get('seed', 0)}{_built(library)}."
        )
    elif kind == "pretrained":
        data = _training(record.get("training_data", ""))
        name = weights.get("weights")
        called = f" (named {name})" if name else ""
        second = (
            f"The network{works} was pretrained{data}, with published weights{called}{library}."
        )
    elif kind == "file":
        where = f"built by {made_by}" if made_by else f"of this architecture{works}"
        second = f"The network, {where}, had weights of our own, from the file {weights['file']}."
    else:
        where = f", built by {made_by}," if made_by else ""
        second = f"The network{where} is our own, a model in {_framework(record)[0]}."
    digest = str(weights.get("digest", ""))
    if kind != "random" and digest:
        second = f"{second[:-1]} (SHA-256 of all weights {digest[:16]}…)."
    return [first, second]


def _built(library: str) -> str:
    return f" (architecture{library})" if library else ""


def _library(record: Mapping[str, Any], source: str) -> str:
    if source not in LIBRARIES:
        return ""
    name, package = LIBRARIES[source]
    version = record.get("versions", {}).get(package, "")
    return f" from {name} {version}".rstrip()


def _training(data: str) -> str:
    """Say what a network was trained on, as far as its source says more than where to look."""
    data = re.split(r"[;,] (?:by the tag|evaluated on|see |as Keras)", data)[0]
    if not data or data.startswith("see ") or re.fullmatch(r"[A-Z0-9_]+_V\d+|imagenet", data):
        known = "ImageNet-1K" if data.startswith(("IMAGENET1K", "imagenet")) else ""
        return f" on {known}" if known else ""
    return f" on {data}"


def _input(record: Mapping[str, Any]) -> str:
    """Say what happened to images, or texts, before the network."""
    steps = record["preprocessing"]
    if "tokenizer" in steps:
        count = "×".join(map(str, steps["shape"]))
        return f"Texts were tokenized by {steps['tokenizer']}, to {count} tokens each."
    done = []
    if steps["resize"] is not None:
        method = steps["interpolation"] + (
            ", antialiased" if steps["antialias"] else ", without antialiasing"
        )
        if isinstance(steps["resize"], int):
            what = f"resized so that the shorter side had {steps['resize']} pixels"
        else:
            what = FITTED[steps["fit"]].format(_size(steps["resize"]))
        done.append(f"{what} ({method})")
    if steps["crop"] is not None and steps["fit"] != "corner":
        done.append(f"cropped centrally to {_size(steps['crop'])} pixels")
    order = "" if steps["channel_order"] == "RGB" else ", in the order blue, green, red"
    if steps["divisor"] != 1:
        done.append(f"scaled by 1/{steps['divisor']:g}{order}")
    elif order:
        done.append(f"given to the network{order}")
    if any(steps["mean"]) or any(value != 1 for value in steps["std"]):
        done.append(
            f"normalised by the mean ({_numbers(steps['mean'])}) and standard deviation "
            f"({_numbers(steps['std'])}) of each channel"
        )
    text = f"Images were {_joined(done)}." if done else "Images were used as they are."
    if steps.get("decode") == "fast":
        text += (
            " JPEGs were decoded at a reduced size and only the cropped part was resized, an "
            "approximation."
        )
    if record["weights"].get("preprocessing"):
        whose = record["weights"]["preprocessing"].removeprefix("assumed: ")
        text = f"{text[:-1]}, which is assumed to be right for these weights ({whose})."
    return text


def _modules(record: Mapping[str, Any]) -> list[str]:
    """Say what was kept of activations."""
    groups: dict[str | None, list[str]] = {}
    for module, name in record["modules"].items():
        groups.setdefault(name, []).append(module)
    said = []
    for name, modules in groups.items():
        if name is None:
            continue
        whose = "Activations" if len(groups) == 1 else f"Those of {_named(modules)}"
        said.append(f"{whose} {REDUCED[name].format(stimulus=_stimulus(record))}.")
    sizes: dict[tuple[int, int], list[str]] = {}
    for module, made in record.get("projections", {}).items():
        if made["projected"]:
            sizes.setdefault((made["components"], made["seed"]), []).append(module)
    for (count, seed), modules in sizes.items():
        whose = (
            "Activations"
            if len(modules) == len(record["modules"])
            else f"Those of {_named(modules)}"
        )
        said.append(
            f"{whose} were then projected onto {count} features by a sparse random projection "
            f"(seed {seed}; Li, Hastie & Church, 2006), which changes distances by an expected "
            f"standard deviation of {100 / sqrt(2 * count):.2g} %."
        )
    return said


def _computed(record: Mapping[str, Any], references: list[str]) -> str:
    """Say with what it was computed; add the frameworks to the references."""
    names = []
    for key in _frameworks(record):
        name, package, reference = FRAMEWORKS[key]
        known = record.get("versions", {})
        version = known.get(package) or known.get(f"{package}-cpu", "")
        references.append(reference)
        names.append(f"{name} {version} ({_in_text(reference).strip(' ()')})".replace("  ", " "))
    device = record.get("device", "cpu")
    place = "the processor" if device == "cpu" else f"the device {device}"
    precision = record.get("precision", "float32")
    with_ = f" with {_joined(names)}" if names else ""
    return (
        f"Activations were computed in evaluation mode, in {precision}, in batches of "
        f"{record['batch_size']}, on {place}{with_}."
    )


def _framework(record: Mapping[str, Any]) -> tuple[str, str, str]:
    found = _frameworks(record)
    return FRAMEWORKS[found[0]] if found else (str(record.get("framework", "")), "", "")


def _frameworks(record: Mapping[str, Any]) -> list[str]:
    """Name the frameworks: Keras may run on one of the others."""
    words = re.findall(r"[a-z]+", str(record.get("framework", "")).lower())
    return [word for word in words if word in FRAMEWORKS]


def _cited(record: Mapping[str, Any]) -> list[str]:
    """Split the citation of a model's card; a model of one's own has none."""
    return [part for part in record.get("citation", "").split("; ") if part]


def _in_text(citation: str) -> str:
    """Spell citations as they stand in a sentence: names and years."""
    found = []
    for part in citation.split("; "):
        listed = re.match(r"([^,]+?),? (?:[A-Z]\. )?et al\.? \(?(\d{4})\)?", part)
        plain = re.match(r"(.+?) (\d{4})(?:,|$)", part)
        if listed:
            found.append(f"{listed[1]} et al., {listed[2]}")
        elif plain:
            found.append(f"{plain[1]}, {plain[2]}")
    return f" ({'; '.join(found)})" if found else ""


def _named(modules: Sequence[str]) -> str:
    if len(modules) == 1:
        special = {"output": "the output", "penultimate": "the input of the final classifier"}
        return special.get(modules[0], f'the module "{modules[0]}"')
    quoted = [f'"{name}"' for name in modules]
    if len(modules) > NAMED:
        return f"{len(modules)} modules, from {quoted[0]} to {quoted[-1]},"
    return f"the modules {_joined(quoted)}"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _size(size: Any) -> str:
    sides = [size, size] if isinstance(size, int) else size
    return f"{sides[0]} × {sides[1]}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
