"""Models in PyTorch entered another way: by their texts, or through a function of the user's."""

from __future__ import annotations

import copy
from collections import OrderedDict
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


def entered(model: nn.Module, forward: Callable[[Any, Tensor], Any]) -> nn.Module:
    """Give a view of a model whose batches go through a function that calls the model.

    Parameters
    ----------
    model : torch.nn.Module
        The whole model, whose own ``forward`` may need further arguments.
    forward : callable
        Takes the model and a batch; gives the output.

    Returns
    -------
    torch.nn.Module
        As of `tower`.

    Examples
    --------
    >>> import torch
    >>> model = nn.Bilinear(2, 3, 1)
    >>> entered(model, lambda model, batch: model(batch, torch.ones(4, 3)))(torch.zeros(4, 2)).shape
    torch.Size([4, 1])
    """

    def run(view: nn.Module, batch: Tensor) -> Any:
        # The same modules as the view's, which may be a copy of the model by now, with the
        # model's own forward; hooks on the whole model are the view's.
        plain = copy.copy(view)
        del plain.__dict__["forward"]
        plain._forward_hooks, plain._forward_pre_hooks = OrderedDict(), OrderedDict()
        return forward(plain, batch)

    return tower(model, run)
