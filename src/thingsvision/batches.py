"""Batches: stimuli decoded and preprocessed, or tokenized, in the order of their rows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from .errors import ImageError, InvalidArgument, StimulusError, listing
from .preprocessing import Preprocessing, preprocess
from .stimuli import StimulusSet
from .store.failures import Failure
from .tokenization import Tokenization

Images = Float32[np.ndarray, "n_stimuli height width 3"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Preprocessed stimuli of successive rows.

    Parameters
    ----------
    start : int
        Row of the first.
    inputs : array, shape (n_stimuli, height, width, 3) or (n_stimuli, ...)
        Images (float32) or the tokens of texts (int64), in the order of the rows.
    digests : tuple of str
        SHA-256 of what each stimulus was read from; a `Failure` where an image could not be
        decoded, whose input is zeros.
    """

    start: int
    inputs: NDArray[Any]
    digests: tuple[str, ...]


def load_batches(
    stimuli: StimulusSet,
    preprocessing: Preprocessing | Tokenization,
    size: tuple[int, ...],
    batch_size: int,
    starts: Sequence[int] | None = None,
    ahead: int = 0,
) -> Generator[Batch, None, None]:
    """Decode and preprocess batches in threads; Pillow lets go of Python's lock.

    Texts are tokenized as they are asked for.

    Parameters
    ----------
    stimuli : StimulusSet
        What to decode.
    preprocessing : Preprocessing or Tokenization
        Applied to each image, or to the texts.
    size : tuple of int
        From `input_size`.
    batch_size : int
        Images in a batch; the last one may have fewer.
    starts : sequence of int, optional
        First rows of the batches that are wanted; by default all.
    ahead : int
        Batches that are decoded while the caller works on another one.

    Yields
    ------
    Batch

    """
    wanted = range(0, len(stimuli), batch_size) if starts is None else starts
    if isinstance(preprocessing, Tokenization):
        for start in wanted:
            rows = range(start, min(start + batch_size, len(stimuli)))
            tokens = preprocessing(stimuli.texts[rows.start : rows.stop])
            yield Batch(start, tokens, tuple(map(stimuli.digest, rows)))
        return
    # sched_getaffinity knows how many cores this process may use; not every system has it.
    affinity = getattr(os, "sched_getaffinity", None)
    workers = len(affinity(0)) if affinity else os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def submit(start: int) -> tuple[int, Images, list[Future[str]]]:
        rows = range(start, min(start + batch_size, len(stimuli)))
        images = np.empty((len(rows), *size, 3), np.float32)
        futures = [
            pool.submit(_decode, stimuli, preprocessing, row, images[row - start]) for row in rows
        ]
        return start, images, futures

    coming = iter(wanted)
    try:
        queue = deque(submit(start) for start in islice(coming, ahead))
        while True:
            queue.extend(submit(start) for start in islice(coming, 1))
            if not queue:
                return
            start, images, futures = queue.popleft()
            yield Batch(start, images, tuple(future.result() for future in futures))
    finally:
        pool.shutdown(cancel_futures=True)


def input_size(
    preprocessing: Preprocessing | Tokenization, stimuli: StimulusSet
) -> tuple[int, ...]:
    """Find the one size that all preprocessed stimuli have.

    Returns
    -------
    tuple of int
        Height and width of images, or the shape of one text's tokens.

    Raises
    ------
    InvalidArgument
        If images meet a tokenizer, or texts a preprocessing of images.
    StimulusError
        If there are several sizes, or images whose header cannot be read.
    """
    wanted = "text" if isinstance(preprocessing, Tokenization) else "image"
    if stimuli.modality != wanted:
        raise InvalidArgument(f"The stimuli are {stimuli.modality}s, the network takes {wanted}s.")
    if isinstance(preprocessing, Tokenization):
        return preprocessing.shape
    sizes = [preprocessing.shape(*size) for size in stimuli.sizes]
    if len(set(sizes)) > 1:
        examples = {size: name for name, size in zip(stimuli.ids, sizes, strict=True)}
        shown = [f"{name}: {height} × {width}" for (height, width), name in examples.items()]
        raise StimulusError(
            "Without a crop the network takes images as they come, and these would be of "
            f"{len(examples)} different sizes after preprocessing ({listing(shown, 3)}), so their "
            "activations cannot be one array. Give the network a crop: "
            "network.preprocessed(resize=256, crop=224), on the command line --resize 256 "
            "--crop 224."
        )
    return sizes[0]


def _decode(
    stimuli: StimulusSet,
    preprocessing: Preprocessing,
    row: int,
    out: Float32[np.ndarray, "height width 3"],
) -> str:
    try:
        image, digest = stimuli.read(row, preprocessing.suffices)
        array = preprocess(preprocessing, image)
        if array.shape != out.shape:
            raise ImageError(
                f"{stimuli.ids[row]}: is {image.height} × {image.width} pixels, not what its "
                "header said before; it was changed while this ran."
            )
    except StimulusError as error:
        out[:] = 0
        return Failure(error)
    out[:] = array
    return digest


def refuse_failures(batch: Batch) -> Batch:
    """Give a batch back, unless images of it could not be decoded.

    Raises
    ------
    StimulusError
        If there are such images; all are named.
    """
    problems = [digest for digest in batch.digests if isinstance(digest, Failure)]
    if problems:
        lines = "\n  ".join(problems)
        raise StimulusError(
            f"{len(problems)} images of a batch cannot be decoded:\n  {lines}\n"
            "Mend or remove the images and run again."
        )
    return batch
