"""Keras and its engine (TensorFlow, PyTorch or JAX), imported without their chatter."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from numpy.typing import NDArray

from ..errors import InvalidArgument
from ..optional import require
from .neighbours import import_triton

# What TensorFlow logs below this is about its own business: 0 all, 1 no information, 2 no
# warnings, 3 no errors.
LOG_LEVEL = "2"


@contextmanager
def quietly() -> Iterator[None]:
    """Keep off the screen what TensorFlow says when it is imported, whatever the engine.

    Nothing is kept back from users who have set ``TF_CPP_MIN_LOG_LEVEL`` themselves.
    """
    if "tensorflow" in sys.modules or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    # The level is read once, but some lines are written before it is.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = LOG_LEVEL
    screen = nowhere = None
    with suppress(OSError):  # a process without a standard error
        sys.stderr.flush()
        screen, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
    try:
        yield
    finally:
        if screen is not None:
            os.dup2(screen, 2)
        for opened in (screen, nowhere):
            if opened is not None:
                os.close(opened)
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]


@contextmanager
def computing_on(device: str) -> Iterator[None]:
    """Compute on a device; keep back the warning that graphs are made often, as Keras does."""

    def is_other(record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        with keras.device(device):
            yield
    finally:
        logger.removeFilter(is_other)


def _imported() -> Any:
    import_triton()
    with quietly():
        module = require("keras")
        if module.config.backend() == "tensorflow":
            # Looking for devices is what some libraries complain about.
            require("tensorflow").config.list_physical_devices()
    return module


keras: Any = _imported()


def engine() -> str:
    """Name what Keras computes with: ``"tensorflow"``, ``"torch"`` or ``"jax"``."""
    return str(keras.config.backend())


def weights_of(variable: Any) -> NDArray[Any]:
    """Copy the numbers of a variable."""
    array: NDArray[Any] = keras.ops.convert_to_numpy(keras.ops.copy(variable))
    return array


def available_devices() -> dict[str, str]:
    """List the devices that the engine has here, the fastest first, each with a description."""
    return {**_ACCELERATORS.get(engine(), dict)(), "cpu": f"{os.cpu_count()} processors"}


def choose_device(device: str) -> str:
    """Turn ``"auto"`` into the fastest device there is, and check any other.

    Raises
    ------
    InvalidArgument
        If the device does not exist here.
    """
    available = available_devices()
    if device == "auto":
        return next(iter(available))
    # Keras says gpu where PyTorch says cuda.
    spelled = device.replace("cuda", "gpu")
    spelled = "gpu:0" if spelled == "gpu" else spelled
    if spelled not in available and device != "meta":
        raise InvalidArgument(
            f"device is {device!r}; for Keras with {engine()} there are on this machine: auto, "
            f"{', '.join(available)}."
        )
    return spelled


def _tensorflow_accelerators() -> dict[str, str]:
    found = require("tensorflow").config.list_physical_devices("GPU")
    return {f"gpu:{number}": device.name for number, device in enumerate(found)}


def _torch_accelerators() -> dict[str, str]:
    torch: Any = require("torch")
    cuda = torch.cuda
    found = {f"gpu:{k}": cuda.get_device_name(k) for k in range(cuda.device_count())}
    return {**found, **({"mps": "Apple GPU"} if torch.backends.mps.is_available() else {})}


def _jax_accelerators() -> dict[str, str]:
    devices = [device for device in require("jax").devices() if device.platform == "gpu"]
    return {f"gpu:{number}": str(device) for number, device in enumerate(devices)}


_ACCELERATORS = {
    "tensorflow": _tensorflow_accelerators,
    "torch": _torch_accelerators,
    "jax": _jax_accelerators,
}
