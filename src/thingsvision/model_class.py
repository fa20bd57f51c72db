"""The paper's ``Model``, as its scripts import it: a thin face of the core.

Muttenthaler & Hebart 2021, doi:10.3389/fninf.2021.679838. New code reads better with
`thingsvision.load_model` and `thingsvision.extract_features`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .ask import ask_module
from .classes import as_probabilities
from .errors import InvalidArgument
from .loader import Loader, extract_loaded
from .preprocessing import Preprocessing
from .zoo import load_model
from .zoo.former_names import current_name

# The order of arguments in the paper's releases, and in those that came after.
PAPER = ("batch_size", "flatten_acts", "device", "clip", "return_probabilities")
LATER = ("flatten_acts", "clip", "return_probabilities")


class Model:
    """A network by the paper's names.

    Parameters
    ----------
    model_name : str
        E.g. ``"alexnet"``, ``"cornet-s"``, ``"clip-ViT"``; ``"VGG16"`` with ``backend="tf"``.
    pretrained : bool
        Trained weights, or a random initialisation (with seed 0).
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:k"``.
    model_path : path, optional
        Weights of your own.
    backend : str
        ``"pt"`` for PyTorch, ``"tf"`` for Keras.
    source : str, optional
        A later release's name for `backend`, e.g. ``"timm"``.

    Raises
    ------
    UnknownName
        If there is no such model or backend.

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
        source: str | None = None,
    ) -> None:
        self.network = load_model(
            current_name(model_name, source or backend),
            pretrained or model_path is not None,
            weights=model_path,
            device=device,
        )
        self.model = self.network.model

    def show(self) -> str:
        """Print the architecture, ask for a part of the model, and return its name.

        Raises
        ------
        InvalidArgument
            If nobody answers.
        """
        return ask_module(self.network)

    def get_transformations(
        self,
        resize_dim: int | None = None,
        crop_dim: int | None = None,
        apply_center_crop: bool = True,
    ) -> Preprocessing:
        """Give the network's own preprocessing, with sizes changed where they are given.

        Parameters
        ----------
        resize_dim, crop_dim : int, optional
            In pixels; by default what belongs to the weights.
        apply_center_crop : bool
            Cut out the centre, or leave the whole image; images of different sizes are refused
            then.

        Returns
        -------
        Preprocessing
        """
        given = {"resize": resize_dim, "crop": crop_dim}
        changed: dict[str, Any] = {key: size for key, size in given.items() if size is not None}
        if not apply_center_crop:
            changed["crop"] = None
        return cast(Preprocessing, self.network.preprocessed(**changed).preprocessing)

    def extract_features(
        self, data_loader: Loader, module_name: str, *args: Any, **kwargs: Any
    ) -> tuple[NDArray[Any], ...]:
        """Extract the activations of one module.

        Parameters
        ----------
        data_loader : Loader
            From `thingsvision.vision.load_dl`, or any that gives preprocessed batches.
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
            If ``flatten_acts`` is missing, or the data loader is none.
        """
        options = _historical(args, kwargs)
        outputs = ["output"] if options.get("return_probabilities") else []
        arrays, targets = extract_loaded(
            self.network,
            data_loader,
            [module_name, *outputs],
            reduction={module_name: "flatten"} if options["flatten_acts"] else None,
            batch_size=options.get("batch_size"),
        )
        probabilities = (as_probabilities(arrays[name]) for name in outputs)
        return (next(iter(arrays.values())), np.asarray(targets), *probabilities)


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
