"""Files of PyTorch weights, read without running code."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ThingsvisionWarning, WeightsError, listing
from ..text_files import beside
from .downloads import no_weights

# Where training scripts put the state dict inside a checkpoint.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")


def read_weights(path: str | os.PathLike[str], inside: str = "") -> dict[str, Any]:
    """Read a state dict from a file, without executing anything in it.

    Parameters
    ----------
    path : path
        ``.safetensors``, or any file that ``torch.save`` wrote.
    inside : str
        Keys, joined by dots, under which the state dict lies, if it does; otherwise it is
        looked for under the usual ones.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU. Quantized layers also have tuples of tensors, and types.

    Raises
    ------
    WeightsError
        If the file is missing or broken, holds no state dict, or would need unpickling.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        is_folder = f"{str(path)!r} is a folder, not a weights file."
        raise WeightsError(
            is_folder if path.is_dir() else f"There is no weights file {str(path)!r}.{beside(path)}"
        )
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = _unpickled(path)
    except Exception as error:  # each reader has errors of its own for a broken file
        # torch names the class or function that it would have to import.
        code = re.search(r"(?:GLOBAL|class) (?!None\b)(\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and code:
            raise WeightsError(
                f"The weights file {str(path)!r} holds more than tensors ({code[1]}), and "
                "reading it could run code, so it was not read. If you trust it, open it once "
                "with torch.load(file, weights_only=False) and torch.save its state dict alone."
            ) from error
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch's own text advises to run it
            reason = "torch.save did not write it"
        reason = no_weights(path) or reason
        raise WeightsError(
            f"The weights file {str(path)!r} is broken or no weights file: "
            f"{reason.rstrip('.')}. Copy or download it again."
        ) from error
    return _state_dict(_inside(content, inside), path)


def _unpickled(path: Path) -> Any:
    """Load tensors alone; mapped into memory where the format allows it, not copied."""
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not look at the checksums
        if damaged is not None:
            raise ValueError(
                f"the checksum of its part {damaged!r} is wrong. Get the file again; if it was "
                "saved with torch.serialization.set_crc32_options(False), save it without that."
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on formats of old versions
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=is_zip)


def _inside(content: Any, keys: str) -> Any:
    found = content
    for key in keys.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return content
        found = found[key]
    return found


def _state_dict(content: Any, path: Path) -> dict[str, Any]:
    while isinstance(content, Mapping):
        used = next((w for w in WRAPPERS if isinstance(content.get(w), Mapping)), None)
        if used is None:
            break
        others = [name for name in content if name != used and _holds_tensors(content[name])]
        if others:
            warnings.warn(
                f"The weights file {str(path)!r} holds several sets of weights; {used!r} was "
                f"used, not {listing(others)}. For another, torch.save it alone.",
                ThingsvisionWarning,
                stacklevel=3,
            )
        content = content[used]
    if isinstance(content, Mapping):
        entries = {str(name): value for name, value in content.items() if _is_entry(value)}
        if any(isinstance(value, Tensor) for value in entries.values()):
            return versioned(entries, getattr(content, "_metadata", None))
    keys = listing(list(content)) if isinstance(content, Mapping) else type(content).__name__
    raise WeightsError(
        f"The weights file {str(path)!r} holds no state dict (name → tensor), but: {keys}."
    )


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())


def versioned(entries: Mapping[str, Any], versions: Any) -> dict[str, Any]:
    """Keep the versions of layers beside a state dict; some layers cannot be read without."""
    state = OrderedDict(entries)
    state._metadata = versions  # type: ignore[attr-defined]
    return state


def _is_entry(value: Any) -> bool:
    # Quantized layers keep (weight, bias) in one entry, and their type in another.
    if isinstance(value, tuple):
        return any(isinstance(part, Tensor) for part in value)
    return isinstance(value, (Tensor, torch.dtype))
