"""What networks of transformers expect of images and texts, read from their processors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any

import numpy as np
import transformers
from PIL import Image
from transformers.models.auto import processing_auto

from ..errors import InvalidArgument, ThingsvisionWarning, WeightsError, listing
from ..preprocessing import Preprocessing, preprocess
from ..tokenization import Tokenization
from .huggingface_models import Place, silent

# Heights and widths of the pictures on which a record is compared with its processor: margins
# of every remainder, larger and smaller than the usual sizes.
TRIALS = ((61, 97), (131, 64), (50, 50), (300, 401))
# Grey levels by which a processor that has torchvision's way to resize only may differ.
LEVELS = 2.0
# Grey levels within which the same steps may round differently.
ROUNDING = 1e-3
SIDE = 224  # pixels, where neither a processor nor a configuration says
WARPED = 384  # from this size on ConvNeXt's processor resizes without cropping


def preprocessing_of(place: Place, config: Any) -> Preprocessing:
    """Read the record from an image processor, and prove it on pictures.

    Parameters
    ----------
    place : Place
        Where the model's files lie.
    config : transformers.PreTrainedConfig
        Of the network.

    Returns
    -------
    Preprocessing
        Whose origin says how far it is from the processor.

    Raises
    ------
    InvalidArgument
        If the processor takes steps that no record can express.
    """
    try:
        # The backend of Pillow; where there is none the library gives torchvision's.
        processor = place.read(
            transformers.AutoImageProcessor.from_pretrained, backend="pil", config=config
        )
    except (OSError, ValueError, ImportError) as error:
        warnings.warn(
            f"{place.name!r} says nothing about the preprocessing of its images "
            f"({first_line(error)}), so it was assumed; check network.preprocessing.",
            ThingsvisionWarning,
            stacklevel=4,
        )
        return assumed(config)
    name = type(processor).__name__.removesuffix("Pil")
    closest, reason = np.inf, "no record expresses its sizes"
    allowed = ROUNDING if getattr(processor, "backend", "pil") == "pil" else LEVELS
    for values in _candidates(processor):
        record = Preprocessing(**values, origin=f"transformers {name} of {place.name}")
        try:
            distance = deviation(processor, record)
        except Exception as error:  # of any kind: it is the processor's code that runs
            reason = first_line(error)
            continue
        if distance <= allowed:
            return record if distance == 0 else _said(record, distance)
        closest = min(closest, distance)
    if closest < np.inf:
        reason = f"the nearest record is {closest:.2g} grey levels off"
    raise InvalidArgument(
        f"The image processor of {place.name!r}, {name}, takes steps that thingsvision cannot "
        f"repeat: {reason}. Load the network with transformers, and give it with a preprocessing "
        "of your own to thingsvision.wrap_model."
    )


def assumed(config: Any) -> Preprocessing:
    """Assume a record from the size in a configuration, where nothing else is known."""
    size = _image_size(config.to_dict()) or SIDE
    pair = (size, size) if isinstance(size, int) else tuple(size)[-2:]
    half = (0.5, 0.5, 0.5)
    return Preprocessing(
        resize=pair, mean=half, std=half,
        origin=f"assumed, with the size of a {config.model_type}: there is no image processor",
    )  # fmt: skip


def _image_size(config: dict[str, Any]) -> Any:
    """Find the size in a configuration, or else in one inside it."""
    inside = [value for value in config.values() if isinstance(value, dict)]
    return config.get("image_size") or next(filter(None, map(_image_size, inside)), None)


def deviation(processor: Any, record: Preprocessing) -> float:
    """Measure how far a record is from a processor, in grey levels, at most.

    Returns
    -------
    float
        0 if both give the same bits; infinite if the shapes differ.
    """
    scale = np.asarray(record.std) * record.divisor
    noise = np.random.default_rng(0)
    distance = 0.0
    for height, width in TRIALS:
        picture = Image.fromarray(noise.integers(0, 256, (height, width, 3), np.uint8))
        with silent():
            theirs = np.asarray(processor(images=picture, return_tensors="np")["pixel_values"])
        ours = preprocess(record, picture).transpose(2, 0, 1)
        if theirs.shape != (1, *ours.shape):
            return np.inf
        apart = np.abs(theirs[0].astype(np.float64) - ours) * scale[:, None, None]
        distance = max(distance, float(apart.max()))
    return distance


def _said(record: Preprocessing, distance: float) -> Preprocessing:
    how = "resized by Pillow, " if distance > ROUNDING else ""
    values = record.to_dict()
    values["origin"] += f"; {how}within {distance:.1g} grey levels of it"
    return Preprocessing(**values)


def _candidates(processor: Any) -> Iterator[dict[str, Any]]:
    """Yield the fields of records that may say what a processor does."""
    common: dict[str, Any] = {"halves": "below"}
    if _does(processor, "center_crop"):
        common["crop"] = _pair(_sides(processor.crop_size))
    if _does(processor, "flip_channel_order"):
        common["channel_order"] = "BGR"
    resample = getattr(processor, "resample", None)
    if resample is not None:
        common["interpolation"] = Image.Resampling(int(resample)).name.lower()
    common |= _arithmetic(processor)
    for geometry in _geometries(processor):
        yield {**common, **geometry}


def _geometries(processor: Any) -> Iterator[dict[str, Any]]:
    if not _does(processor, "resize"):
        yield {}
        return
    sides = _sides(processor.size)
    if set(sides) == {"height", "width"}:
        yield {"resize": _pair(sides)}
    elif set(sides) == {"shortest_edge"}:
        side = sides["shortest_edge"]
        share = getattr(processor, "crop_pct", None)
        if share and side < WARPED:  # ConvNeXt's way
            yield {"resize": int(side / share), "crop": (side, side)}
        elif share:
            yield {"resize": (side, side)}
        yield {"resize": side}
        yield {"resize": int(256 / 224 * side)}  # LeViT's way
    elif set(sides) == {"longest_edge"} and _does(processor, "pad"):  # Segment Anything's way
        side = sides["longest_edge"]
        yield {"resize": (side, side), "fit": "corner", "crop": _pair(_sides(processor.pad_size))}


def _arithmetic(processor: Any) -> dict[str, Any]:
    """Write all of a processor's arithmetic as one division, mean and standard deviation."""
    divisor = 1 / processor.rescale_factor if _does(processor, "rescale") else 1.0
    mean, std = np.zeros(3), np.ones(3)
    given = np.ones(3)
    if getattr(processor, "image_std", None) is not None:
        given = np.broadcast_to(np.asarray(processor.image_std, float), 3)
    if _does(processor, "normalize"):
        mean, std = np.broadcast_to(np.asarray(processor.image_mean, float), 3), given
    if getattr(processor, "rescale_offset", False):  # EfficientNet's: grey levels from -1 on
        mean = mean + 1
    if getattr(processor, "include_top", False):  # and divided again
        std = std * given
    return {"divisor": divisor, "mean": tuple(mean.tolist()), "std": tuple(std.tolist())}


def _does(processor: Any, step: str) -> bool:
    return bool(getattr(processor, f"do_{step}", False))


def _sides(size: Any) -> dict[str, int]:
    return {name: int(side) for name, side in dict(size or {}).items() if side}


def _pair(sides: dict[str, int]) -> tuple[int, int]:
    return sides["height"], sides["width"]


def tokenization_of(place: Place | None, network: Any, config: Any) -> tuple[Any, tuple[str, ...]]:
    """Read how a vision–language model wants its texts.

    Parameters
    ----------
    place : Place or None
        Where the model's files lie; None if it has none.
    network : class
        With ``get_text_features``.
    config : transformers.PreTrainedConfig
        Of the network.

    Returns
    -------
    tokenization : Tokenization
        Texts are padded or cut to the length that the network was made for. Without a tokenizer
        it knows the shape only.
    rows : tuple of str
        Which inputs of ``get_text_features`` the rows of a text's tokens are.
    """
    tokenizer, reason = None, "a bare architecture has none; give a folder or a name on the hub"
    if place is not None:
        try:
            tokenizer = place.read(
                transformers.AutoTokenizer.from_pretrained, trust_remote_code=False
            )
        except Exception as error:  # of the hub's library, of a missing package, of the file
            reason = first_line(error)
        if tokenizer is not None and len(tokenizer) <= len(tokenizer.all_special_tokens):
            # Where there are no files, the library makes a tokenizer that knows no word.
            tokenizer, reason = None, f"{place.name!r} holds none"
    known = signature(network.get_text_features).parameters
    names = getattr(tokenizer, "model_input_names", ("input_ids", "attention_mask"))
    rows = tuple(name for name in names if name in known)
    length = _length(tokenizer, config)

    def tokenize(texts: Sequence[str]) -> Any:
        if tokenizer is None:
            raise WeightsError(f"There is no tokenizer for texts: {reason}.")
        with silent():
            cut = [t for t in texts if len(tokenizer(t)["input_ids"]) > length]
            given = tokenizer(list(texts), padding="max_length", truncation=True, max_length=length)
        if cut:
            warnings.warn(
                f"{len(cut)} texts have more than {length} tokens and lose their end: "
                f"{listing([text[:40] for text in cut], 3)}.",
                ThingsvisionWarning,
                stacklevel=2,
            )
        return np.stack([np.asarray(given[row], np.int64) for row in rows], axis=1)

    origin = f"transformers {type(tokenizer).__name__} of {place.name if place else ''}"
    if tokenizer is None:
        origin = "no tokenizer"
    return Tokenization(tokenize, (len(rows), length), f"{origin}: {', '.join(rows)}"), rows


def _length(tokenizer: Any, config: Any) -> int:
    """Find the number of tokens: the processor's own, else the tokenizer's or the network's."""
    names: Any = processing_auto
    processor = names.PROCESSOR_MAPPING_NAMES.get(config.model_type) or ""
    given = getattr(getattr(transformers, processor, None), "text_kwargs", None)
    given = given if isinstance(given, dict) else {}
    limit = int(config.get_text_config().max_position_embeddings)
    known = getattr(tokenizer, "model_max_length", limit)
    return min(int(given.get("max_length", known)), limit)


def first_line(error: Exception) -> str:
    """Give the first line of an error's text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rstrip(".")
