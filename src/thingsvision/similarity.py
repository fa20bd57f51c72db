"""How alike images and texts are to a vision–language network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InvalidArgument, listing
from .extraction import extract_features
from .features import Features
from .stimuli import StimulusSet, load_texts
from .tokenization import Tokenization
from .zoo import Network

if TYPE_CHECKING:
    from pandas import DataFrame


def image_text_similarity(
    network: Network,
    images: StimulusSet | Any,
    texts: StimulusSet | Sequence[str],
    *,
    batch_size: int = 32,
) -> DataFrame:
    """Compare images with texts by their embeddings in one space.

    Parameters
    ----------
    network : Network
        Takes images and texts, e.g. ``load_model("clip-ViT")``.
    images : StimulusSet, or what `load_stimuli` takes
        The images.
    texts : StimulusSet, or what `load_texts` takes
        The texts.
    batch_size : int
        Images, or texts, in one forward pass.

    Returns
    -------
    pandas.DataFrame, shape (n_images, n_texts)
        Cosine similarity of the embeddings, from −1 to 1; rows and columns are named by ids.

    Raises
    ------
    InvalidArgument
        If the network takes images only.
    StimulusError
        As in `extract_features`.

    Examples
    --------
    >>> import thingsvision as tv
    >>> network = tv.load_model("openclip/RN50", pretrained=False)  # doctest: +SKIP
    >>> image_text_similarity(network, "images/", ["a cat", "a dog"])  # doctest: +SKIP
    """
    from pandas import DataFrame

    if network.text is None:
        what = "texts" if isinstance(network.preprocessing, Tokenization) else "images"
        raise InvalidArgument(
            f"{network.name} takes {what} only. Networks that take both: "
            "thingsvision models 'openclip/*'."
        )
    if not isinstance(texts, StimulusSet):
        texts = load_texts(texts)
    seen, read = (
        extract_features(network, stimuli, "output", flatten=True, batch_size=batch_size).only
        for stimuli in (images, texts)
    )
    unit = [_unit(item) for item in (seen, read)]
    cosines = np.clip(unit[0] @ unit[1].T, -1, 1)
    return DataFrame(cosines, index=list(seen.ids), columns=list(read.ids))


def _unit(features: Features) -> Any:
    rows = np.asarray(features, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lost := [name for name, length in zip(features.ids, lengths, strict=True) if not length > 0]:
        raise InvalidArgument(
            f"{len(lost)} embeddings are zero or no numbers, so they have no direction: "
            f"{listing(lost)}."
        )
    return rows / lengths
