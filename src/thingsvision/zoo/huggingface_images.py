"""What Hugging Face's image processors do, read into a record and compared with themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor
from transformers.utils import cached_file

from ..errors import InvalidArgument
from ..preprocessing import INTERPOLATIONS, Preprocessing, preprocess

RESAMPLE = {int(method): name for name, method in INTERPOLATIONS.items()}
# Files of which one says how images are prepared.
FILES = ("preprocessor_config.json", "processor_config.json")
# Height and width of pictures on which record and processor are compared.
SIZES = ((75, 100), (101, 75), (20, 91))
# Grey levels by which they may differ: processors resize tensors, in another order of rounding.
LEVELS = 1.01


def assumed_preprocessing(name: str, config: Any) -> Preprocessing:
    """Make up the preprocessing of a model that comes without an image processor."""
    vision = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", None) or 224
    pair = (size, size) if isinstance(size, int) else tuple(size)
    return Preprocessing(
        resize=pair, mean=(0.5,) * 3, std=(0.5,) * 3,
        origin=f"assumed for hf {name}, which has no image processor",
    )  # fmt: skip


def own_preprocessing(name: str, place: str, **options: Any) -> Preprocessing | None:
    """Read the record from a model's image processor; None if it has none.

    Parameters
    ----------
    name : str
        Of the model, for the record.
    place : str
        Its folder, or its name on the hub.
    **options
        Of ``AutoImageProcessor.from_pretrained``.

    Returns
    -------
    Preprocessing or None
        What gives the processor's own numbers, to a grey level, on pictures of several sizes.

    Raises
    ------
    InvalidArgument
        If the processor does something that a record cannot say.
    """
    if not any(_is_there(place, file, **options) for file in FILES):
        return None
    get: Any = AutoImageProcessor.from_pretrained
    processor = get(place, **options)
    record = _record(name, processor.to_dict(), type(processor).__name__)
    _compare(name, record, processor)
    return record


def _is_there(place: str, file: str, **options: Any) -> bool:
    found = cached_file(
        place, file, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False, **options,
    )  # fmt: skip
    return found is not None


def _record(name: str, says: dict[str, Any], kind: str) -> Preprocessing:
    how: dict[str, Any] = {}
    size = says.get("size") or {}
    if says.get("do_resize"):
        if not {"longest_edge", "shortest_edge", "height"} & set(size):
            raise InvalidArgument(
                f"The image processor of hf/{name} ({kind}) gives images of no fixed size, which "
                "cannot be one array."
            )
        how = _resized(says, size)
        method = says.get("resample", Image.Resampling.BILINEAR)
        how["interpolation"] = RESAMPLE[int(method)]
    crop = says.get("crop_size")
    if says.get("do_center_crop") and crop:
        how["crop"] = (crop["height"], crop["width"])
    how["divisor"] = 1 / says.get("rescale_factor", 1) if says.get("do_rescale") else 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if says.get("do_normalize"):
        mean, std = tuple(says["image_mean"]), tuple(says["image_std"])
    if says.get("rescale_offset"):  # from −1 to 1
        mean = tuple(value + 1 for value in mean)
    return Preprocessing(**how, mean=mean, std=std, origin=f"hf {name}, its {kind}")


def _resized(says: dict[str, Any], size: dict[str, int]) -> dict[str, Any]:
    if "longest_edge" in size and len(size) == 1:
        side = size["longest_edge"]
        padded = {"crop": (side, side), "pad": "end"} if says.get("do_pad") else {}
        fill = tuple(round(255 * value) for value in says.get("image_mean", (0, 0, 0)))
        return {"resize": (side, side), "fit": "contain", "fill": fill, **padded}
    if "shortest_edge" not in size:
        return {"resize": (size["height"], size["width"])}
    side = size["shortest_edge"]
    if says.get("crop_pct") is None:
        return {"resize": side}
    # ConvNeXt: large pictures are stretched, small ones cropped.
    if side >= 384:
        return {"resize": (side, side)}
    return {"resize": int(side / says["crop_pct"]), "crop": side}


def _compare(name: str, record: Preprocessing, processor: Any) -> None:
    for height, width in SIZES:
        random = np.random.default_rng(height)
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        image = Image.fromarray(pixels)
        wanted = np.asarray(processor(images=image, return_tensors="np")["pixel_values"][0])
        found = preprocess(record, image).transpose(2, 0, 1)
        allowed = LEVELS / record.divisor / min(record.std)
        if found.shape != wanted.shape or np.abs(found - wanted).max() > allowed:
            raise InvalidArgument(
                f"The image processor of hf/{name} ({type(processor).__name__}) prepares a picture "
                f"of {height} × {width} pixels otherwise than this record of it: {record}. Load "
                "the model with transformers and use thingsvision.wrap_model with preprocessing "
                "of your own."
            )
