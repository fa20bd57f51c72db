"""The interface of THINGSvision 2.x, as its scripts import it: a thin face of the core.

Its modules ``thingsvision.utils.data``, ``thingsvision.core.rsa`` and so on lead here.
``docs/how-to/version2.md`` puts each of its calls beside ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .errors import InvalidArgument, unknown
from .loader import Loader, extract_batch, extract_loaded
from .model_class import Model
from .preprocessing import Preprocessing
from .rsa import cka
from .store.array_files import write_array
from .version2_data import DataLoader, HDF5Dataset, ImageDataset
from .vision import (
    as_array,
    center_features,
    compute_rdm,
    correlate_rdms,
    merge_features,
    normalize_features,
    plot_rdm,
    save_features,
    split_features,
)
from .zoo import Network, load_model, wrap_model
from .zoo.former_names import current_name, token_reduction

IMAGENET = Preprocessing(
    resize=256, crop=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    origin="ImageNet's, assumed",
)  # fmt: skip
OUTPUT_TYPES = ("ndarray", "tensor")

__all__ = [
    "CKA",
    "DataLoader",
    "Extractor",
    "HDF5Dataset",
    "ImageDataset",
    "center_features",
    "compute_rdm",
    "correlate_rdms",
    "get_cka",
    "get_extractor",
    "get_extractor_from_model",
    "merge_features",
    "normalize_features",
    "plot_rdm",
    "save_features",
    "split_features",
]


class Extractor(Model):
    """A network by the names of version 2; from `get_extractor`.

    Parameters
    ----------
    network : Network
        The network.
    reduction : str, optional
        Of tokens, as version 2's ``model_parameters`` ask for it.
    """

    def __init__(self, network: Network, reduction: str | None = None) -> None:
        self.network = network
        self.model = network.model
        self.reduction = reduction

    def get_backend(self) -> str:
        """Give ``"pt"`` for PyTorch, ``"tf"`` for Keras."""
        return "pt" if self.network.backend.name == "torch" else "tf"

    def get_module_names(self) -> list[str]:
        """List the names of all modules."""
        return [module.name for module in self.network.modules().modules]

    def show_model(self) -> str:
        """Print the architecture, and return it as text."""
        print(self.network.structure)
        return self.network.structure

    def extract_features(
        self,
        batches: Loader | Iterable[Any],
        module_name: str | None = None,
        module_names: Sequence[str] | None = None,
        flatten_acts: bool = False,
        output_type: str = "ndarray",
        output_dir: str | os.PathLike[str] | None = None,
        step_size: int | None = None,
        file_name_suffix: str = "",
        save_in_one_file: bool = True,
    ) -> Any:
        """Extract the features of one module, or of several.

        Parameters
        ----------
        batches : Loader or iterable
            From `DataLoader`, or any that gives preprocessed batches.
        module_name : str, optional
            One module; gives an array.
        module_names : sequence of str, optional
            Several; gives a dictionary.
        flatten_acts : bool
            Give ``(n_stimuli, n_features)``.
        output_type : {"ndarray", "tensor"}
            What arrays are given as.
        output_dir : path, optional
            Write ``MODULE/features.npy`` there, or ``features.pt`` of tensors.
        step_size, save_in_one_file : optional
            Accepted for the sake of old scripts; the file is always one.
        file_name_suffix : str
            Of the file, e.g. ``"_train"`` for ``features_train.npy``.

        Returns
        -------
        array or tensor, shape (n_stimuli, ...), or dict of str to these
        """
        wanted = _one_or_several(module_name, module_names)
        _check_output_type(output_type)
        arrays, _ = extract_loaded(
            self.network, batches, wanted, reduction=self._reduction(flatten_acts)
        )
        if output_dir is not None:
            format = "pt" if output_type == "tensor" else "npy"
            for name, array in arrays.items():
                folder = Path(output_dir).expanduser() / name
                write_array(folder, f"features{file_name_suffix}", array, format)
        return _as_output(arrays, module_names, output_type)

    def extract_batch(
        self,
        batch: Any,
        module_name: str | None = None,
        module_names: Sequence[str] | None = None,
        flatten_acts: bool = False,
        output_type: str = "ndarray",
    ) -> Any:
        """Extract the features of one preprocessed batch; arguments as of `extract_features`."""
        wanted = _one_or_several(module_name, module_names)
        reduction = self._reduction(flatten_acts)
        arrays = extract_batch(self.network, batch, wanted, reduction=reduction)
        return _as_output(arrays, module_names, output_type)

    @contextmanager
    def batch_extraction(
        self,
        module_name: str | None = None,
        module_names: Sequence[str] | None = None,
        output_type: str = "ndarray",
    ) -> Iterator[_BatchExtraction]:
        """Give what takes batches for one choice of modules: ``e.extract_batch(batch, …)``."""
        _one_or_several(module_name, module_names)
        yield _BatchExtraction(self, module_name, module_names, output_type)

    def align(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: the matrices of gLocal are not part of this package."""
        raise InvalidArgument(
            "align() is not available: the matrices that map features to human similarity are "
            "published with gLocal (Muttenthaler et al. 2023), not with this package."
        )

    def _reduction(self, flatten: bool) -> str | None:
        return self.reduction or ("flatten" if flatten else None)


class _BatchExtraction:
    """One extractor with a choice of modules."""

    def __init__(self, extractor: Extractor, name: Any, names: Any, output_type: str) -> None:
        self._extractor = extractor
        self._choice = (name, names)
        self._output_type = output_type

    def extract_batch(self, batch: Any, flatten_acts: bool = False) -> Any:
        """Extract the features of one preprocessed batch."""
        return self._extractor.extract_batch(
            batch, *self._choice, flatten_acts=flatten_acts, output_type=self._output_type
        )


def get_extractor(
    model_name: str,
    source: str,
    device: str = "auto",
    pretrained: bool = True,
    model_path: str | os.PathLike[str] | None = None,
    model_parameters: Mapping[str, Any] | None = None,
) -> Extractor:
    """Load a network by the names of version 2.

    Parameters
    ----------
    model_name : str
        E.g. ``"alexnet"``, ``"clip"``, ``"simclr-rn50"``.
    source : str
        ``"torchvision"``, ``"timm"``, ``"keras"``, ``"ssl"`` or ``"custom"``.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:k"``.
    pretrained : bool
        Trained weights, or a random initialisation (with seed 0).
    model_path : path, optional
        Weights of your own.
    model_parameters : dict, optional
        ``variant`` and ``dataset`` of CLIP, ``weights`` of torchvision, ``extract_cls_token`` or
        ``token_extraction`` of transformers.

    Returns
    -------
    Extractor

    Raises
    ------
    UnknownName
        If there is no such model or source.

    Examples
    --------
    >>> extractor = get_extractor("alexnet", source="torchvision", pretrained=False)
    >>> extractor.get_backend(), extractor.get_module_names()[:2]
    ('pt', ['features', 'features.0'])
    """
    is_trained = pretrained or model_path is not None
    network = load_model(
        current_name(model_name, source, model_parameters, pretrained and model_path is None),
        is_trained,
        weights=model_path,
        device=device,
    )
    return Extractor(network, token_reduction(model_parameters))


def get_extractor_from_model(
    model: Any,
    device: str = "auto",
    backend: str = "pt",
    transforms: Any = None,
    preprocess: Any = None,
    forward_fn: Callable[[Any, Any], Any] | None = None,
) -> Extractor:
    """Use a network of your own.

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
        With its weights.
    device : str
        As of `get_extractor`.
    backend : str
        Accepted for the sake of old scripts; the model's class tells.
    transforms, preprocess : Preprocessing or callable, optional
        What ``get_transformations()`` gives: the same thing in its two former spellings.
    forward_fn : callable, optional
        ``forward_fn(self, batch)`` in place of ``self.model(batch)``; for PyTorch.

    Returns
    -------
    Extractor

    """
    given = transforms or preprocess
    record = given if isinstance(given, Preprocessing) else IMAGENET

    def forward(entered: Any, batch: Any) -> Any:
        assert forward_fn is not None
        return forward_fn(SimpleNamespace(model=entered, device=device), batch)

    network = wrap_model(model, record, device=device, forward=forward if forward_fn else None)
    extractor = Extractor(network)
    extractor.model = model
    if given is not None and given is not record:
        extractor.get_transformations = lambda *sizes, **named: given  # type: ignore[method-assign]
    return extractor


class CKA:
    """Centred kernel alignment of two sets of features, by version 2's words; see `cka`.

    Parameters
    ----------
    m : int
        Number of stimuli.
    kernel : {"linear", "rbf"}
        Of the similarities between stimuli.
    unbiased : bool
        Use the unbiased estimate.
    sigma : float
        Width of the RBF kernel, as a multiple of the median distance between stimuli.
    """

    def __init__(
        self, m: int, kernel: str = "linear", unbiased: bool = False, sigma: float | None = 1.0
    ) -> None:
        self.m, self.kernel, self.unbiased, self.sigma = m, kernel, unbiased, sigma or 1.0

    def compare(self, X: Any, Y: Any) -> float:  # noqa: N803
        """Compare two sets of features, shapes ``(m, n_features)``."""
        x, y = as_array(X), as_array(Y)
        if len(x) != self.m or len(y) != self.m:
            raise InvalidArgument(
                f"X has {len(x)} rows and Y {len(y)}, but m is {self.m}, the number of stimuli."
            )
        return cka(x, y, self.kernel, self.unbiased, self.sigma)


def get_cka(
    backend: str = "numpy",
    m: int = 0,
    kernel: str = "linear",
    unbiased: bool = False,
    sigma: float | None = 1.0,
    device: str | None = None,
    verbose: bool = False,
) -> CKA:
    """Make what compares features; `backend`, `device` and `verbose` are for old scripts."""
    return CKA(m, kernel, unbiased, sigma)


def _one_or_several(name: str | None, names: Sequence[str] | None) -> Sequence[str]:
    if (name is None) == (names is None):
        raise InvalidArgument(
            "Give module_name='features.10' for one module, or module_names=['features.10', …] "
            "for several."
        )
    return [name] if name is not None else list(names or ())


def _check_output_type(output_type: str) -> None:
    if output_type not in OUTPUT_TYPES:
        raise unknown("output_type", output_type, OUTPUT_TYPES)


def _as_output(
    arrays: Mapping[str, np.ndarray[Any, Any]], names: Sequence[str] | None, output_type: str
) -> Any:
    """Give arrays or tensors, alone or by the names that were asked for."""
    _check_output_type(output_type)
    found: dict[str, Any] = dict(arrays)
    if output_type == "tensor":
        from .backends.torch import as_tensor

        found = {name: as_tensor(array) for name, array in arrays.items()}
    return found if names is not None else next(iter(found.values()))
