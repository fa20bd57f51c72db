"""The classes that a network takes images for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from .errors import InvalidArgument, counted
from .text_files import read_text

# A line of a class file: a number and a synset, if wanted, before the name, if wanted in quotes.
_LINE = re.compile(r"""^\{?\s*(?:\d+\s*:\s*)?(?P<quote>['"]?)(?P<name>.+?)(?P=quote),?\s*\}?$""")


def as_probabilities(outputs: ArrayLike) -> NDArray[Any]:
    """Turn a classifier's outputs into probabilities by the softmax, unless they are some.

    The networks of Keras end in a softmax; a second one would level them.

    Parameters
    ----------
    outputs : array, shape (n_stimuli, n_classes)
        Logits, or numbers from 0 to 1 whose rows sum to 1.

    Returns
    -------
    array, shape (n_stimuli, n_classes)
        From 0 to 1; rows sum to 1.

    Examples
    --------
    >>> as_probabilities([[0.25, 0.75]]), as_probabilities([[1.0, 1.0]])
    (array([[0.25, 0.75]]), array([[0.5, 0.5]]))
    """
    found = np.asarray(outputs)
    are_some = (found >= 0).all() and np.allclose(found.sum(axis=1), 1, rtol=0, atol=1e-4)
    probabilities: NDArray[Any] = found if are_some else softmax(found, axis=1)
    return probabilities


def read_classes(path: str | os.PathLike[str]) -> list[str]:
    r"""Read the names of classes from a file, one a line.

    Lines may be bare names, ``n01440764 tench, Tinca tinca`` or ``0: 'tench, Tinca tinca',``,
    as the usual files of ImageNet have them.

    Parameters
    ----------
    path : path
        A text file.

    Raises
    ------
    InvalidArgument
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "classes.txt"
    >>> _ = file.write_text("{0: 'tench, Tinca tinca',\n 1: 'goldfish'}")
    >>> read_classes(file)
    ['tench, Tinca tinca', 'goldfish']
    """
    file = Path(path).expanduser()
    next_step = "Give a text file with one class a line, in the order of the network's output."
    text = read_text(file, "file of classes", next_step)
    lines = [line.strip() for line in text.splitlines()]
    matches = [_LINE.match(line) for line in lines if line.strip("{} ")]
    return [match["name"].strip() for match in matches if match]


def top_classes(
    probabilities: ArrayLike, classes: Sequence[str], ids: Sequence[str], k: int = 5
) -> pd.DataFrame:
    """Find the most probable classes of each image.

    Parameters
    ----------
    probabilities : array, shape (n_stimuli, n_classes)
        From 0 to 1.
    classes : sequence of str
        Their names.
    ids : sequence of str
        Of the images.
    k : int
        Classes for each image.

    Returns
    -------
    pandas.DataFrame
        Columns ``id``, ``rank`` from 1 on, ``class`` and ``probability``; k rows an image.

    Raises
    ------
    InvalidArgument
        If classes or ids are not as many as columns and rows, or k is not from 1 to n_classes.

    Examples
    --------
    >>> top_classes([[0.1, 0.9]], ["cat", "dog"], ["a.jpg"], k=1)
          id  rank class  probability
    0  a.jpg     1   dog          0.9
    """
    table = np.atleast_2d(np.asarray(probabilities))
    given = {"class": (len(classes), table.shape[1]), "id": (len(ids), len(table))}
    for what, (count, wanted) in given.items():
        if count != wanted:
            raise InvalidArgument(
                f"There are {counted(count, f'{what} name')}, but the probabilities have "
                f"{' × '.join(map(str, table.shape))} numbers, images × classes."
            )
    if not 1 <= k <= len(classes):
        raise InvalidArgument(f"{k} classes were asked for; there are 1 to {len(classes)}.")
    order = np.argsort(-table, axis=1, kind="stable")[:, :k]
    return pd.DataFrame(
        {
            "id": np.repeat(list(ids), k),
            "rank": np.tile(np.arange(1, k + 1), len(ids)),
            "class": [classes[column] for column in order.ravel().tolist()],
            "probability": np.take_along_axis(table, order, axis=1).ravel(),
        }
    )
