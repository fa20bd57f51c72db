"""Which framework a model at hand is of, and what this framework offers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..backends.base import Backend
from ..errors import InvalidArgument


@dataclass(frozen=True)
class Framework:
    """A deep-learning framework, known by the class of its models.

    Parameters
    ----------
    kind : str
        Full name of the class that all models have in common.
    backend : callable
        Takes a model and a device, or None for where the model is; gives what runs it.
    parameters : callable
        Counts the parameters of a model.
    """

    kind: str
    backend: Callable[[Any, str | None], Backend]
    parameters: Callable[[Any], int | None]

    def owns(self, model: object) -> bool:
        """Tell a model of this framework, without importing it: who holds one has done so."""
        package, *path = self.kind.split(".")
        found: Any = sys.modules.get(package)
        for attribute in path:
            found = getattr(found, attribute, None)
        return isinstance(found, type) and isinstance(model, found)


def framework_of(model: object) -> Framework | None:
    """Find the framework of a model; None if it is of none that is known."""
    return next((framework for framework in FRAMEWORKS if framework.owns(model)), None)


def _torch(model: Any, device: str | None) -> Backend:
    from ..backends.torch import TorchBackend
    from ..backends.torch_state import home

    if device == "meta":
        raise InvalidArgument("device is 'meta', where your model would lose its weights.")
    backend = TorchBackend(device or str(home(model) or "cpu"))
    if device is not None:
        model.to(backend.device)
    return backend


def _keras(model: Any, device: str | None) -> Backend:
    from ..backends.keras import KerasBackend

    return KerasBackend(device or "auto")


def _torch_parameters(model: Any) -> int | None:
    try:
        return sum(int(parameter.numel()) for parameter in model.parameters())
    except ValueError:  # those of lazy layers have no shape before a first pass
        return None


def _keras_parameters(model: Any) -> int | None:
    return int(model.count_params()) if model.built else None


# Keras goes first: on its torch engine, its models are modules of torch as well.
FRAMEWORKS = (
    Framework("keras.Model", _keras, _keras_parameters),
    Framework("torch.nn.Module", _torch, _torch_parameters),
)
