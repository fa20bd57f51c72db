"""Names that models had in the paper and in version 2, and what they are called now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidArgument, listing, unknown

# What the paper calls backend, and version 2 source -> our source.
SOURCES = {
    "pt": "torchvision",
    "tf": "keras",
    "torchvision": "torchvision",
    "timm": "timm",
    "keras": "keras",
    "ssl": "checkpoints",
    "vissl": "checkpoints",
    "custom": "",
}

# Former name, in small letters with "_" for "-" -> name now.
NAMES = {
    "cornet_s": "cornet/cornet_s",
    "cornet_r": "cornet/cornet_r",
    "cornet_rt": "cornet/cornet_rt",
    "cornet_z": "cornet/cornet_z",
    "clip_rn": "openclip/clip-RN",
    "clip_vit": "openclip/clip-ViT",
    "alexnet_ecoset": "checkpoints/alexnet_ecoset",
    "vgg16_ecoset": "checkpoints/vgg16_ecoset",
    "vgg16_bn_ecoset": "checkpoints/vgg16_bn_ecoset",
    "vgg16bn_ecoset": "checkpoints/vgg16_bn_ecoset",
    "resnet50_ecoset": "checkpoints/resnet50_ecoset",
    "inception_ecoset": "checkpoints/inception_v3_ecoset",
    "simclr_rn50": "checkpoints/resnet50_simclr",
    "mocov2_rn50": "checkpoints/resnet50_mocov2",
    "barlowtwins_rn50": "checkpoints/resnet50_barlowtwins",
    "pirl_rn50": "checkpoints/resnet50_pirl",
    "jigsaw_rn50": "checkpoints/resnet50_jigsaw",
    "rotnet_rn50": "checkpoints/resnet50_rotnet",
    "swav_rn50": "checkpoints/resnet50_swav",
    "vicreg_rn50": "checkpoints/resnet50_vicreg",
    "dino_rn50": "checkpoints/resnet50_dino",
    "dino_vit_small_p16": "checkpoints/vit_small_patch16_dino",
    "dino_vit_small_p8": "checkpoints/vit_small_patch8_dino",
    "dino_vit_base_p16": "checkpoints/vit_base_patch16_dino",
    "dino_vit_base_p8": "checkpoints/vit_base_patch8_dino",
    "dinov2_vit_small_p14": "checkpoints/vit_small_patch14_dinov2",
    "dinov2_vit_base_p14": "checkpoints/vit_base_patch14_dinov2",
    "dinov2_vit_large_p14": "checkpoints/vit_large_patch14_dinov2",
    "dinov2_vit_giant_p14": "checkpoints/vit_giant_patch14_dinov2",
    "mae_vit_base_p16": "checkpoints/vit_base_patch16_mae",
    "mae_vit_large_p16": "checkpoints/vit_large_patch16_mae",
    "mae_vit_huge_p14": "checkpoints/vit_huge_patch14_mae",
}

# Version 2's parameters that choose weights; others choose tokens, see `token_reduction`.
PARAMETERS = ("weights", "variant", "dataset", "extract_cls_token", "token_extraction")
TOKENS = {"cls_token": "cls", "avg_pool": "mean-of-patches", "cls_token+avg_pool": "cls+mean"}


def current_name(
    name: str,
    source: str,
    parameters: Mapping[str, Any] | None = None,
    pretrained: bool = True,
) -> str:
    """Say what a model is called now.

    Parameters
    ----------
    name : str
        In the paper's spelling or that of version 2; a full spelling ``source/name`` stays.
    source : str
        The paper's backend, or version 2's source.
    parameters : dict, optional
        Version 2's ``model_parameters``: ``weights``; ``variant`` and ``dataset`` of CLIP.
    pretrained : bool
        Whether weights are wanted, and so named.

    Returns
    -------
    str
        As `load_model` takes it.

    Raises
    ------
    UnknownName
        If there is no such source.
    InvalidArgument
        If parameters are unknown.

    Examples
    --------
    >>> current_name("clip", "custom", {"variant": "ViT-L/14"})
    'openclip/ViT-L-14.openai'
    >>> current_name("cornet-s", "pt"), current_name("VGG16", "tf")
    ('cornet/cornet_s', 'keras/VGG16')
    """
    if source not in SOURCES:
        raise unknown("backend or source", source, SOURCES)
    given = dict(parameters or {})
    if strange := [key for key in given if key not in PARAMETERS]:
        raise InvalidArgument(
            f"model_parameters has {listing(strange)}; known are {listing(PARAMETERS)}."
        )
    if "/" in name or name.partition(":")[0].endswith(".py"):
        return name
    plain = name.lower().replace("-", "_")
    if plain in ("clip", "openclip"):
        variant = str(given.get("variant", "ViT-B/32")).replace("/", "-")
        default = "openai" if plain == "clip" else "laion2b_s34b_b79k"
        return _full("openclip", variant, given.get("dataset", default) if pretrained else None)
    if source != "keras" and source != "tf" and plain in NAMES:
        return NAMES[plain]
    return _full(SOURCES[source], name, given.get("weights") if pretrained else None)


def _full(source: str, name: str, weights: str | None) -> str:
    return f"{source}/" * bool(source) + name + f".{weights}" * bool(weights)


def token_reduction(parameters: Mapping[str, Any] | None) -> str | None:
    """Say which reduction of tokens version 2's ``model_parameters`` ask for.

    Parameters
    ----------
    parameters : dict, optional
        ``extract_cls_token`` (bool) or ``token_extraction`` (str).

    Raises
    ------
    UnknownName
        If there is no such choice of tokens.

    Examples
    --------
    >>> token_reduction({"token_extraction": "avg_pool"})
    'mean-of-patches'
    """
    given = dict(parameters or {})
    if given.get("extract_cls_token"):
        return "cls"
    choice = given.get("token_extraction")
    if choice is not None and choice not in TOKENS:
        raise unknown("token_extraction", choice, TOKENS)
    return None if choice is None else TOKENS[choice]
