"""OpenCLIP: every architecture and every set of weights, with images and texts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor, nn

from ..backends.torch import TorchBackend
from ..errors import ThingsvisionWarning, WeightsError, listing, unknown
from ..preprocessing import Preprocessing
from ..tokenization import Tokenization
from .card import ModelCard
from .downloads import is_published
from .network import Network
from .source import Choice
from .towers import tower
from .weights import loaded, quiet, read_weights, skeleton

CITATION = (
    "Ilharco et al. 2021, OpenCLIP, doi:10.5281/zenodo.5143773; "
    "Radford et al. 2021, CLIP, arXiv:2103.00020"
)
# Names of the paper (Muttenthaler & Hebart 2021) -> architecture and weights.
PAPER = {"clip-RN": ("RN50", "openai"), "clip-ViT": ("ViT-B-32", "openai")}
CONTEXT = 77  # tokens of a text, where an architecture does not say
QUICK = "-quickgelu"  # ends the name of an architecture's variant


class OpenClip:
    """The registry of open_clip, seen as a source."""

    def names(self) -> list[str]:
        """List the architectures, and the paper's names for two of them."""
        return [*open_clip.list_models(), *PAPER]

    def card(self, name: str, weights: str | None = None) -> ModelCard:
        """Describe an architecture by the configuration of its weights."""
        architecture, tags = _known(name)
        if weights is not None and weights not in tags:
            raise unknown(f"set of weights for {name}", weights, tags)
        tag = weights or next(iter(tags), None)
        config = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
        return ModelCard(
            f"openclip/{name}",
            task="images and texts",
            weights=tag,
            all_weights=tuple(tags),
            preprocessing=_preprocessing(architecture, tag),
            training_data=f"pairs of images and texts; see the tag {tag}" if tag else "",
            licence="see the address of the weights" if tag else "MIT (open_clip)",
            citation=CITATION,
            url=_address(config),
        )

    def load(self, name: str, choice: Choice) -> Network:
        """Build an architecture with the wanted weights."""
        card = self.card(name, choice.weights)
        architecture, _ = _known(name)
        # Random networks are built as the default weights ask for, so that trained and random
        # differ in nothing else; the paper's names stand for weights, whatever file is given.
        tag = card.weights
        if choice.file is not None and name not in PAPER:
            tag = choice.weights or _published(architecture, choice.file)
        build = partial(_build, architecture, quick_gelu=_is_quick(architecture, tag))
        if choice.file is not None and tag is None:
            _warn_of_activation(architecture, tag)
        if choice.pretrained and choice.file is None and tag is None and choice.device != "meta":
            raise WeightsError(
                f"There are no published weights for {card.name}. Use pretrained=False, or a file "
                "of your own with weights=."
            )

        def read(file: str) -> dict[str, Any]:
            return _renamed(read_weights(file), skeleton(build))

        def pretrained() -> tuple[nn.Module, dict[str, Any]]:
            return _download(build, card, tag), {"weights": tag, "url": card.url}

        assumed = f"that of {card.weights or 'the architecture'}"
        model, record = _built(lambda: loaded(build, choice, pretrained, assumed, read=read), card)
        backend = TorchBackend(choice.device)
        if choice.device != "meta":
            model.to(backend.device)
        full = f"{card.name}.{card.weights}" if record["kind"] == "pretrained" else card.name
        assert isinstance(card.preprocessing, Preprocessing)
        text = Network(
            full, tower(model, encode_text), TorchBackend(choice.device, takes="tokens"),
            _tokenization(architecture), card, record, {"text": "output", "penultimate": "output"},
        )  # fmt: skip
        return Network(
            full, tower(model, encode_image), backend, card.preprocessing, card, record,
            {"visual": "output", "penultimate": "output"}, text,
        )  # fmt: skip


SOURCE = OpenClip()


def encode_image(model: Any, images: Tensor) -> Tensor:
    """Embed images, not normalised."""
    embedding: Tensor = model.encode_image(images, normalize=False)
    return embedding


def encode_text(model: Any, tokens: Tensor) -> Tensor:
    """Embed texts, not normalised."""
    embedding: Tensor = model.encode_text(tokens, normalize=False)
    return embedding


def _known(name: str) -> tuple[str, list[str]]:
    """Give the architecture that a name stands for, and its tags, the default first."""
    if name in PAPER:
        architecture, tag = PAPER[name]
        return architecture, [tag]
    if name not in open_clip.list_models():
        raise unknown("architecture of OpenCLIP", name, open_clip.list_models())
    return name, open_clip.list_pretrained_tags_by_model(name)


def _is_quick(architecture: str, tag: str | None) -> bool:
    """Say whether the activation function is QuickGELU, as the weights were trained with."""
    by_architecture = open_clip.get_model_config(architecture).get("quick_gelu", False)
    by_weights = open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu") if tag else False
    return bool(by_architecture or by_weights)


def _published(architecture: str, file: str) -> str | None:
    """Find the tag that a file was published under, where its address holds its digest."""
    for tag in open_clip.list_pretrained_tags_by_model(architecture):
        url = open_clip.get_pretrained_cfg(architecture, tag).get("url", "")
        if url and Path(file).is_file() and is_published(file, url):
            return str(tag)
    return None


def _renamed(state: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Give weights the names that this open_clip has for them, as it does for its own."""
    prefix = "module."
    if all(name.startswith(prefix) for name in state):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    named = dict(open_clip.convert.convert_state_dict(model, dict(state)))
    if "text_projection" in named and hasattr(model, "text"):  # written before it had its place
        named = dict(open_clip.model.convert_to_custom_text_state_dict(named))
    for scale in ("logit_scale", "logit_bias"):  # a number, or a vector of one
        there = getattr(model, scale, None)
        if scale in named and there is not None and named[scale].numel() == 1:
            named[scale] = named[scale].reshape(there.shape)
    return named


def _warn_of_activation(architecture: str, tag: str | None) -> None:
    """Say which activation function is assumed for a file, where both are in use."""
    names = open_clip.list_models()
    if f"{architecture}{QUICK}" in names or architecture.endswith(QUICK):
        kind = "QuickGELU" if _is_quick(architecture, tag) else "GELU"
        other = (
            architecture.removesuffix(QUICK) if kind == "QuickGELU" else f"{architecture}{QUICK}"
        )
        warnings.warn(
            f"A file of weights does not say its activation function; {kind} is used. For weights "
            f"that were trained with the other one: openclip/{other}, or name the published "
            "weights that yours are like: openclip/ARCHITECTURE.TAG.",
            ThingsvisionWarning,
            stacklevel=4,
        )


def _preprocessing(architecture: str, tag: str | None) -> Preprocessing:
    config = open_clip.transform.PreprocessCfg()
    given = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    merged = open_clip.transform.merge_preprocess_dict(config, given)
    size = open_clip.get_model_config(architecture)["vision_cfg"].get("image_size", config.size)
    size = size if isinstance(size, int) else tuple(size)
    pair = (size, size) if isinstance(size, int) else size
    mode, fill = merged["resize_mode"], merged["fill_color"]
    how: dict[str, Any] = {"resize": pair[0], "crop": size}
    if mode == "squash":
        how = {"resize": pair}
    elif mode == "longest":
        how = {"resize": pair, "fit": "contain", "crop": size, "fill": (fill, fill, fill)}
    elif pair[0] != pair[1]:
        how = {"resize": pair, "fit": "cover", "crop": size}
    return Preprocessing(
        **how,
        interpolation="bilinear" if merged["interpolation"] == "bilinear" else "bicubic",
        mean=merged["mean"],
        std=merged["std"],
        origin=f"open_clip {architecture}.{tag}" if tag else f"open_clip {architecture}",
    )


def _address(config: dict[str, Any]) -> str:
    if config.get("hf_hub"):
        return f"https://huggingface.co/{config['hf_hub'].rstrip('/')}"
    return str(config.get("url", ""))


def _build(architecture: str, **options: Any) -> nn.Module:
    device = torch.empty(0).device  # "meta" where only the outline is wanted
    with _silent():
        model: nn.Module = open_clip.create_model(
            architecture, pretrained_text=False, device=device, **options
        )
    decoder = getattr(model, "text_decoder", None)
    if decoder is not None and "pretrained" not in options:
        # open_clip leaves this matrix of CoCa as it finds the memory; its width is the scale that
        # open_clip gives the others.
        nn.init.normal_(decoder.text_projection, std=len(decoder.text_projection) ** -0.5)
    return model


def _download(build: partial[nn.Module], card: ModelCard, tag: str | None) -> nn.Module:
    """Let open_clip get its weights; it reads safetensors, or others without running code."""
    try:
        return quiet(partial(build, pretrained=tag))
    except Exception as error:  # of the hub's library, of the network, of the file
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(
            f"The weights {tag} of {card.name} cannot be had from {card.url} ({reason}). On a "
            "machine with a connection, download them and give the file with weights=. "
            "pretrained=False needs no download."
        ) from error


def _built(action: Any, card: ModelCard) -> Any:
    """Say what an architecture lacks whose text tower is described on a hub."""
    try:
        return action()
    except (OSError, ImportError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise WeightsError(
            f"{card.name} cannot be built: its text tower is described on a hub that cannot be "
            f"reached, or needs another package ({reason}). Connect, or choose another "
            f"architecture: {listing(['openclip/ViT-B-32', 'openclip/RN50'])}."
        ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep open_clip from logging, and from setting up logging for everybody."""
    nowhere, root = logging.NullHandler(), logging.getLogger()
    level = logging.root.manager.disable
    root.addHandler(nowhere)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(level)
        root.removeHandler(nowhere)


def _tokenization(architecture: str) -> Tokenization:
    config = open_clip.get_model_config(architecture)["text_cfg"]
    length = config.get("context_length", CONTEXT)
    name = config.get("hf_tokenizer_name") or "CLIP's byte pairs"

    def tokenize(texts: Sequence[str]) -> Any:
        tokenizer = _tokenizer(architecture)
        _warn_of_length(tokenizer, texts, length)
        return np.asarray(tokenizer(list(texts)))

    return Tokenization(tokenize, (length,), f"open_clip, {name}")


@cache
def _tokenizer(architecture: str) -> Any:
    try:
        with _silent():
            return open_clip.get_tokenizer(architecture)
    except Exception as error:  # of the hub's library, of the network, of a missing package
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise WeightsError(
            f"The tokenizer of openclip/{architecture} cannot be had ({reason}). It is downloaded "
            "from a hub; its images can be used without."
        ) from error


def _warn_of_length(tokenizer: Any, texts: Sequence[str], length: int) -> None:
    """Name texts that lose their end; open_clip cuts them in silence."""
    encode = getattr(tokenizer, "encode", None) or getattr(tokenizer.tokenizer, "encode", None)
    ends = 2 if hasattr(tokenizer, "encode") else 0  # start and end are not counted by the former
    cut = [text for text in texts if encode and len(encode(text)) + ends > length]
    if cut:
        warnings.warn(
            f"{len(cut)} texts have more than {length} tokens and lose their end: "
            f"{listing([text[:40] for text in cut], 3)}.",
            ThingsvisionWarning,
            stacklevel=2,
        )
