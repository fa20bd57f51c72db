"""Vision–language models in PyTorch, entered by their images or by their texts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import Tensor, nn


def tower(model: nn.Module, forward: Callable[[Any, Tensor], Any]) -> nn.Module:
    """Give a view of a model that is entered another way.

    The view has the model's class, modules, parameters and buffers; not copies of them but the
    same. Its modules keep their names, so they are addressed as in the model itself.

    Parameters
    ----------
    model : torch.nn.Module
        The whole model.
    forward : callable
        Takes the view and a batch, as a method would; gives the output.

    Returns
    -------
    torch.nn.Module

    Examples
    --------
    >>> model = nn.ModuleDict({"first": nn.Linear(2, 3), "second": nn.Linear(3, 1)})
    >>> import torch
    >>> tower(model, lambda self, batch: self["first"](batch))(torch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """
    view = copy.copy(model)
    view.forward = MethodType(forward, view)
    return view
