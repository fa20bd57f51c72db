"""PyTorch: a file per module that ``torch.load(file, weights_only=True)`` opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .staged import StagedStore


class PtStore(StagedStore):
    """Features as a dictionary: ``features``, ``file_names``, ``targets``, ``classes``, ``module``.

    ``features`` is a tensor, and ``targets`` too; without classes, ``targets`` is None.
    """

    format = "pt"
    suffix = ".pt"

    def save(self, path: Path, array: NDArray[Any], module: str) -> None:
        """Write an array as a tensor."""
        import torch

        targets = self._stimuli.targets
        content = {
            # Copied on write, so the file of the rows stays as it is.
            "features": torch.from_numpy(np.load(array.filename, mmap_mode="c")),  # type: ignore[attr-defined]
            "file_names": list(self._stimuli.ids),
            "targets": None if targets is None else torch.from_numpy(targets.copy()),
            "classes": list(self._stimuli.classes),
            "module": module,
            "axes": list(self._arrays[module]["axes"]),
        }
        with path.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                # What PyTorch says of a full disk is that it is not where it expected to be.
                raise error.__context__ or error from None

    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Map the tensor of a complete file."""
        import torch

        try:
            content = torch.load(self.path(file), map_location="cpu", weights_only=True, mmap=True)
            array: NDArray[Any] = content["features"].numpy()
        except (RuntimeError, KeyError) as error:
            raise ValueError(str(error)) from error
        return array


def write_tensor(path: Path, array: NDArray[Any]) -> None:
    """Write an array, shape ``(n_stimuli, ...)``, as a bare tensor."""
    import torch

    torch.save(torch.from_numpy(np.ascontiguousarray(array)), path)


def read_tensor(path: Path) -> NDArray[Any]:
    """Read a bare tensor."""
    import torch

    array: NDArray[Any] = torch.load(path, map_location="cpu", weights_only=True).numpy()
    return array
