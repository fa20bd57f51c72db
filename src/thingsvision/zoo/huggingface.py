"""Hugging Face: image and vision–language models of the hub, or of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, logging
from transformers.models.auto import modeling_auto as zoo

from ..backends.torch import TorchBackend
from ..errors import InvalidArgument, ThingsvisionError, WeightsError, listing, unknown
from ..preprocessing import Preprocessing
from ..tokenization import Tokenization
from .card import ModelCard
from .huggingface_images import assumed_preprocessing, own_preprocessing
from .network import Network
from .source import Choice
from .towers import tower
from .weights import loaded, quiet

logging.set_verbosity_error()  # type: ignore[no-untyped-call]
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

CITATION = "Wolf et al. 2020, Transformers, doi:10.18653/v1/2020.emnlp-demos.6"
HUB = "https://huggingface.co/"
# Where transformers itself says which models take images, alone or with texts.
IMAGES = (
    zoo.MODEL_FOR_IMAGE_MAPPING_NAMES,
    zoo.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    zoo.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    zoo.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
)
# Classes that are taken as the authors saved them, with their heads; others without.
WHOLE = (
    zoo.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    zoo.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)
LONGEST_TEXT = 512  # tokens, where neither the tokenizer nor the model says


class HuggingFace:
    """Models of transformers by type, and those of the hub by their names, seen as a source."""

    def names(self) -> list[str]:
        """List the types of models that take images; each can be built with random weights."""
        known = {kind for table in IMAGES for kind in table if kind in zoo.MODEL_MAPPING_NAMES}
        return sorted(known)

    def accepts(self, name: str) -> bool:
        """Tell whether a name may be one of the hub, or is a folder."""
        return Path(name).expanduser().is_dir() or name.count("/") == 1

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe a model by its configuration, if that is at hand without download."""
        if weights is not None:
            raise unknown(f"set of weights for {name}", weights, ())
        card = partial(ModelCard, f"hf/{name}", citation=CITATION)
        if name in self.names():
            return card(
                task=f"{name}, random weights only",
                preprocessing=assumed_preprocessing(name, AutoConfig.for_model(name)),
            )
        url = "" if _folder(name) else f"{HUB}{name}"
        try:
            config = _config(name, local_files_only=True)
        except ThingsvisionError:
            return card(task="known when it is loaded", url=url)
        return card(
            task=f"{config.model_type} ({', '.join(config.architectures or ['features'])})",
            weights=None,
            preprocessing=_preprocessing(name, config, local_files_only=True),
            classes=_classes(config),
            licence="as its page says" if url else "",
            url=url,
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build a model with the wanted weights."""
        if choice.weights is not None:
            raise unknown(f"set of weights for {name}", choice.weights, ())
        is_type = name in self.names()
        if is_type and choice.pretrained and choice.file is None and choice.device != "meta":
            raise WeightsError(
                f"hf/{name} is a type of model, without weights. Name a model of the hub, such as "
                f"hf/owner/{name}-base, or a folder; or use pretrained=False."
            )
        config = AutoConfig.for_model(name) if is_type else _config(name)
        model_class = _model_class(config)
        if is_type:
            preprocessing = assumed_preprocessing(name, config)
        else:
            preprocessing = _preprocessing(name, config)
        card = ModelCard(
            f"hf/{name}", task=config.model_type, preprocessing=preprocessing,
            classes=_classes(config), citation=CITATION,
            url="" if is_type or _folder(name) else f"{HUB}{name}",
        )  # fmt: skip

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            model = _from_pretrained(model_class, name, config)
            return model, {"weights": name, "url": card.url, "class": model_class.__name__}

        build = partial(_build, model_class, config)
        model, record = loaded(build, choice, pretrained, preprocessing.origin)
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        aliases: dict[str, str] = {}
        text = None
        enter = _enter_images(model)
        if hasattr(model, "get_image_features"):
            aliases = {"visual": "output", "penultimate": "output"}
        if hasattr(model, "get_text_features"):
            text = Network(
                card.name, tower(model, _texts), TorchBackend(choice.device, takes="tokens"),
                _tokenization(name, config), card, record,
                {"text": "output", "penultimate": "output"},
            )  # fmt: skip
        return Network(
            card.name, tower(model, enter), backend, preprocessing, card, record, aliases, text
        )


SOURCE = HuggingFace()


def _folder(name: str) -> Path | None:
    path = Path(name).expanduser()
    return path if path.is_dir() else None


def _place(name: str) -> str:
    return str(_folder(name) or name)


def _config(name: str, **options: Any) -> Any:
    return _got(name, "configuration", partial(AutoConfig.from_pretrained, _place(name), **options))


def _got(name: str, what: str, get: Callable[[], Any]) -> Any:
    """Get something of a model; say what to do where that is not possible."""
    try:
        return get()
    except ThingsvisionError:
        raise
    except Exception as error:  # of the hub's library, of the network, of files
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        where = str(_folder(name)) if _folder(name) else f"{HUB}{name}"
        raise WeightsError(
            f"The {what} of hf/{name} cannot be had from {where} ({reason}). On a machine with a "
            "connection, download its files (huggingface-cli download) and name the folder: "
            "hf/path/to/folder."
        ) from error


def _preprocessing(name: str, config: Any, **options: Any) -> Preprocessing:
    get = partial(own_preprocessing, name, _place(name), **options)
    found = _got(name, "image processor", get)
    return found or assumed_preprocessing(name, config)


def _model_class(config: Any) -> Any:
    """Choose the class: the authors' own if it ends in scores or embeddings, else the features."""
    import transformers

    whole = {entry for table in WHOLE for entry in table.values()}
    # Some entries are tuples, of a class that scores and one that is distilled.
    known = {n for entry in whole for n in ([entry] if isinstance(entry, str) else entry)}
    for architecture in config.architectures or ():
        if architecture in known:
            return getattr(transformers, architecture)
    try:
        found = zoo.MODEL_MAPPING[type(config)]
    except KeyError as error:
        raise InvalidArgument(
            f"transformers has no model for the configuration {type(config).__name__}."
        ) from error
    return found[0] if isinstance(found, tuple) else found


def _build(model_class: Any, config: Any, num_classes: int | None = None) -> nn.Module:
    if num_classes is not None:
        config = type(config).from_dict({**config.to_dict(), "num_labels": num_classes})
    model: nn.Module = model_class(config)
    return model


def _from_pretrained(model_class: Any, name: str, config: Any) -> nn.Module:
    """Load published weights, all of them; a head that would stay random is refused."""

    def get(**options: Any) -> tuple[nn.Module, dict[str, Any]]:
        build = partial(
            model_class.from_pretrained, _place(name), config=config, output_loading_info=True,
            dtype=torch.float32, trust_remote_code=False, **options,
        )  # fmt: skip
        found: tuple[nn.Module, dict[str, Any]] = quiet(build)  # type: ignore[assignment]
        return found

    model: nn.Module
    model, info = _got(name, "weights", get)
    missing = sorted(info["missing_keys"])
    if missing and all("pooler" in key.split(".") for key in missing):
        # Many features were published without the layer that pools them.
        model, info = _got(name, "weights", partial(get, add_pooling_layer=False))
        missing = sorted(info["missing_keys"])
    if wrong := [*missing, *map(str, info["mismatched_keys"])]:
        raise WeightsError(
            f"The weights of hf/{name} do not fill {model_class.__name__}: {len(wrong)} entries "
            f"are missing or of another shape, and would be random: {listing(wrong)}."
        )
    return model


def _enter_images(model: nn.Module) -> Callable[[Any, Tensor], Any]:
    """Choose the way in for images alone."""
    for method in ("get_image_features", "get_image_embeddings"):
        if hasattr(model, method):
            return _features(method)
    return _images


def _images(model: Any, images: Tensor) -> Any:
    return type(model).forward(model, pixel_values=images)


def _features(method: str) -> Callable[[Any, Tensor], Any]:
    def forward(model: Any, images: Tensor) -> Any:
        return _embedding(getattr(model, method)(pixel_values=images))

    return forward


def _texts(model: Any, tokens: Tensor) -> Any:
    return _embedding(model.get_text_features(input_ids=tokens[:, 0], attention_mask=tokens[:, 1]))


def _embedding(output: Any) -> Any:
    """Give the embedding, which some versions of transformers wrap with what led to it."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _tokenization(name: str, config: Any) -> Tokenization:
    text = getattr(config, "text_config", config)
    length = int(getattr(text, "max_position_embeddings", LONGEST_TEXT))
    # Some models count positions from behind the padding.
    length -= 2 if text.model_type in ("roberta", "xlm-roberta") else 0

    def tokenize(texts: Sequence[str]) -> Any:
        found = _tokenizer(name)(
            list(texts), padding="max_length", truncation=True, max_length=length,
            return_tensors="np",
        )  # fmt: skip
        ids = np.asarray(found["input_ids"])
        return np.stack([ids, found.get("attention_mask", np.ones_like(ids))], axis=1)

    return Tokenization(tokenize, (2, length), f"transformers, {name}")


@cache
def _tokenizer(name: str) -> Any:
    return _got(name, "tokenizer", partial(AutoTokenizer.from_pretrained, _place(name)))


def _classes(config: Any) -> tuple[str, ...]:
    """Name the classes, where they are more than transformers' own placeholders."""
    labels = getattr(config, "id2label", None) or {}
    names = tuple(labels[index] for index in sorted(labels))
    return () if all(label.startswith("LABEL_") for label in names) else names
