"""The paper's ``Model``, as its scripts import it: a thin face of the core.

Muttenthaler & Hebart 2021, doi:10.3389/fninf.2021.679838. New code reads better with
`thingsvision.load_model` and `thingsvision.extract_features`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidArgument, unknown
from .extraction import extract_features
from .preprocessing import Preprocessing
from .vision import BACKENDS, DataLoader
from .zoo import load_model

# The order of arguments in the paper's releases, and in those that came after.
PAPER = ("batch_size", "flatten_acts", "device", "clip", "return_probabilities")
LATER = ("flatten_acts", "clip", "return_probabilities")


class Model:
    """A network by the paper's names.

    Parameters
    ----------
    model_name : str
        E.g. ``"alexnet"``.
    pretrained : bool
        Trained weights, or a random initialisation (with seed 0).
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:k"``.
    model_path : path, optional
        Weights of your own.
    backend : str
        ``"pt"`` for PyTorch.

    Examples
    --------
    >>> Model("alexnet", pretrained=False, device="cpu").get_transformations().crop
    224
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool,
        device: str,
        model_path: str | os.PathLike[str] | None = None,
        backend: str = "pt",
    ) -> None:
        if backend not in BACKENDS:
            raise unknown("backend", backend, BACKENDS)
        self.network = load_model(
            f"{BACKENDS[backend]}/{model_name}",
            pretrained or model_path is not None,
            weights=model_path,
            device=device,
        )
        self.model = self.network.model

    def get_transformations(
        self,
        resize_dim: int | None = None,
        crop_dim: int | None = None,
        apply_center_crop: bool = True,
    ) -> Preprocessing:
        """Give the network's own preprocessing, with sizes changed where they are given."""
        given = {"resize": resize_dim, "crop": crop_dim}
        changed: dict[str, Any] = {key: size for key, size in given.items() if size is not None}
        if not apply_center_crop:
            changed["crop"] = None
        preprocessing = self.network.preprocessing
        assert isinstance(preprocessing, Preprocessing)  # of a network that takes images
        return preprocessing.override(**changed) if changed else preprocessing

    def extract_features(
        self, data_loader: DataLoader, module_name: str, *args: Any, **kwargs: Any
    ) -> tuple[NDArray[Any], ...]:
        """Extract the activations of one module.

        Parameters
        ----------
        data_loader : DataLoader
            From `thingsvision.vision.load_dl`.
        module_name : str
            E.g. ``"features.10"``.
        *args, **kwargs
            ``batch_size, flatten_acts, device, clip, return_probabilities`` as in the paper, or
            ``flatten_acts, clip, return_probabilities`` as in later releases. There is no
            default for ``flatten_acts``; ``device`` and ``clip`` are known to the network.

        Returns
        -------
        features : array, shape (n_stimuli, ...) or (n_stimuli, n_features)
        targets : array of int, shape (n_stimuli,)
        probabilities : array, shape (n_stimuli, n_classes)
            With ``return_probabilities`` only.

        Raises
        ------
        InvalidArgument
            If ``flatten_acts`` is missing, or the data loader is a foreign one.
        """
        options = _historical(args, kwargs)
        if not isinstance(data_loader, DataLoader):
            raise InvalidArgument(
                f"data_loader is a {type(data_loader).__name__}; make it with vision.load_dl."
            )
        network = self.network.preprocessed(data_loader.preprocessing)
        outputs = ["output"] if options.get("return_probabilities") else []
        features = extract_features(
            network,
            data_loader.stimuli,
            [module_name, *outputs],
            reduction={module_name: "flatten"} if options["flatten_acts"] else None,
            batch_size=options.get("batch_size") or data_loader.batch_size,
        )
        arrays = (np.asarray(features[module_name]), data_loader.targets)
        return (*arrays, *(_softmax(np.asarray(features[name])) for name in outputs))


def _historical(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Name the arguments of any release: where the paper has a size, later ones have a bool."""
    names = LATER if args and isinstance(args[0], bool) else PAPER
    options = {**dict(zip(names, args, strict=False)), **kwargs}
    foreign = [name for name in options if name not in PAPER]
    if foreign or len(args) > len(names):
        raise InvalidArgument(
            f"extract_features does not take {', '.join(foreign) or 'so many arguments'}; "
            f"it takes data_loader, module_name, {', '.join(PAPER)}."
        )
    if "flatten_acts" not in options:
        raise InvalidArgument(
            "flatten_acts was not given. True gives one row of numbers for each image, False "
            "keeps channels, height and width; the choice is yours."
        )
    return options


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    from scipy.special import softmax

    probabilities: NDArray[Any] = softmax(logits, axis=1)
    return probabilities
