"""Files of Keras weights: read without running code, and fitted to an application."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from ..errors import ThingsvisionWarning, WeightsError, listing
from ..text_files import beside
from .keras_weights import Application, as_trained, drawn, first_line

Shape = tuple[int, ...]


@dataclass(frozen=True)
class _File:
    """What a file of Keras weights holds: names and shapes in order, and all layers."""

    is_old: bool
    shapes: Mapping[str, Shape]
    layers: int

    def misfit(self, wanted: _File) -> str:
        """Say in what a file differs from that of the network; empty if it fits."""
        # Old files are read by position, since names in them were numbered by chance.
        if self.is_old and list(self.shapes.values()) == list(wanted.shapes.values()):
            return ""
        kinds = {
            "missing": [name for name in wanted.shapes if name not in self.shapes],
            "unexpected": [name for name in self.shapes if name not in wanted.shapes],
            "of another shape": [
                f"{name} {shape} in place of {wanted.shapes[name]}"
                for name, shape in self.shapes.items()
                if wanted.shapes.get(name, shape) != shape
            ],
        }
        return "\n".join(
            f"{len(names)} {kind}: {listing(names)}." for kind, names in kinds.items() if names
        )


def fitted(application: Application, path: str | os.PathLike[str]) -> tuple[Any, str]:
    """Build the variant of an application that a file of weights fits, and load it.

    Parameters
    ----------
    application : callable
        A function of ``keras.applications``.
    path : path
        ``.weights.h5``, an older ``.h5``, or ``.keras``, of which only the weights are read.

    Returns
    -------
    model : keras.Model
        With the weights, all of them used.
    architecture : str
        Which variant it is: as Keras builds it for trained, or for random weights.

    Raises
    ------
    WeightsError
        If the file cannot be read or does not fit; names what is missing, unexpected and of
        another shape.
    """
    path = Path(path).expanduser()
    with tempfile.TemporaryDirectory() as name, _readable(path, Path(name)) as source:
        folder = Path(name)
        given = _content(source, path)
        # Keras tells the layouts apart by the ending.
        ending = ".h5" if given.is_old else ".weights.h5"
        model = drawn(application, 0)
        wanted = _saved(model, folder / f"usual{ending}")
        trained, digest = as_trained(application, folder / f"usual{ending}")
        is_trained = False
        if len(trained.layers) != len(model.layers):
            published = bool(digest) and _digest(source, len(digest)) == digest
            is_trained = published or _is_trained(given, path, model, trained)
        classes = _number_of_classes(given, wanted)
        if classes is not None and not is_trained:
            model = drawn(application, 0, classes=classes)
            wanted = _saved(model, folder / f"fitting{ending}")
        if misfit := given.misfit(wanted):
            raise WeightsError(
                f"The weights {str(path)!r} do not fit the architecture.\n{misfit}\nWeights of a "
                "network of your own: build it in Keras and use thingsvision.wrap_model."
            )
        model = trained if is_trained else model
        try:
            model.load_weights(shutil.copyfile(source, folder / f"given{ending}"))
        except Exception as error:  # Keras raises what each layer raises
            raise WeightsError(
                f"The weights {str(path)!r} do not fit the architecture: {first_line(error)}"
            ) from error
    return model, "as for trained weights" if is_trained else "as for random weights"


def _digest(file: Path, length: int) -> str:
    return hashlib.new("sha256" if length == 64 else "md5", file.read_bytes()).hexdigest()


def _is_trained(given: _File, path: Path, model: Any, trained: Any) -> bool:
    """Tell from which variant of an application a file was saved: files list all layers."""
    if given.layers not in (len(model.layers), len(trained.layers)):
        warnings.warn(
            f"{str(path)!r} does not tell whether its network began from Keras' trained weights, "
            "for which Keras rescales the input once more; this was assumed. If it did not, build "
            "it in Keras with weights=None and use thingsvision.wrap_model.",
            ThingsvisionWarning,
            stacklevel=5,
        )
    return given.layers != len(model.layers)


@contextmanager
def _readable(path: Path, folder: Path) -> Iterator[Path]:
    """Give the HDF5 file; the rest of a .keras archive could name code to run, and is left."""
    if not path.is_file():
        raise WeightsError(f"There is no weights file {str(path)!r}.{beside(path)}")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            try:
                path = Path(archive.extract("model.weights.h5", folder))
            except (KeyError, zipfile.BadZipFile) as error:
                raise WeightsError(
                    f"The archive {str(path)!r} is broken or none of Keras: {first_line(error)}"
                ) from error
    yield path


def _content(source: Path, path: Path) -> _File:
    try:
        with h5py.File(source) as file:
            if "layers" in file:
                return _new(file)
            old = file.get("model_weights", file)
            if "layer_names" in old.attrs:
                return _old(old)
            found = listing(list(file))
    except (OSError, KeyError, RuntimeError) as error:
        raise WeightsError(
            f"The weights file {str(path)!r} is broken or none of Keras: {first_line(error)}"
        ) from error
    raise WeightsError(f"The weights file {str(path)!r} holds no layers of Keras, but: {found}.")


def _saved(model: Any, file: Path) -> _File:
    """Save a network to see how a file of it looks, in the layout of its name's ending."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the old layout
        if file.name.endswith(".weights.h5"):
            model.save_weights(file, overwrite=True)
        else:
            model.save(file, overwrite=True, include_optimizer=False)
    return _content(file, file)


def _new(file: Any) -> _File:
    shapes: dict[str, Shape] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = tuple(item.shape)

    file["layers"].visititems(visit)
    return _File(False, shapes, len(file["layers"]))


def _old(group: Any) -> _File:
    names = [_text(name) for name in group.attrs["layer_names"]]
    shapes = {
        f"{layer}/{_text(weight).removesuffix(':0')}": tuple(group[layer][_text(weight)].shape)
        for layer in names
        for weight in group[layer].attrs["weight_names"]
    }
    return _File(True, shapes, len(names))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _number_of_classes(given: _File, wanted: _File) -> int | None:
    """Find the number of classes of a file, whose last weights tell it."""
    if len(given.shapes) != len(wanted.shapes):
        return None
    pairs = list(zip(given.shapes.values(), wanted.shapes.values(), strict=True))
    differing = [(found, asked) for found, asked in pairs if found != asked]
    if not differing or not all(found and found[:-1] == asked[:-1] for found, asked in differing):
        return None
    sizes = {found[-1] for found, _ in differing}
    return sizes.pop() if len(sizes) == 1 else None
