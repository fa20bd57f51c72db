"""Hooks that copy outputs of PyTorch modules at the moment they return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from .found import check_shape
from .survey import Capture
from .torch_survey import first_input, leaves


class Stop(BaseException):
    """Ends a forward pass; not an Exception, so that no model can swallow it."""


@contextmanager
def copied(
    model: nn.Module,
    capture: Capture,
    found: dict[str, Tensor],
    rows: int,
    *,
    reduce: Callable[[Any], Any] | None,
    stop: bool,
) -> Iterator[None]:
    """Put a private copy of one output into `found` when its module returns.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    capture : Capture
        What to copy.
    found : dict of str to torch.Tensor
        Receives the copy under the capture's address.
    rows : int
        Number of images in the pass, which the copy must have as rows.
    reduce : callable or None
        Applied to the copy.
    stop : bool
        End the pass afterwards.
    """
    calls = 0

    def take(value: Any) -> None:
        nonlocal calls
        calls += 1
        if calls - 1 != capture.call:
            return
        for path, tensor in leaves(value):
            if path == capture.path:
                tensor = tensor.dequantize() if tensor.is_quantized else tensor
                batch = _by_stimulus(tensor, capture, rows)
                # The copy is made now: the next module may work in place.
                copy = batch.detach().clone(memory_format=torch.contiguous_format)
                if copy.dtype == torch.bfloat16:  # which NumPy does not have
                    copy = copy.float()
                with _in_full_precision(copy.device.type):
                    found[capture.address] = reduce(copy) if reduce else copy
        if stop:
            raise Stop

    module = model.get_submodule(capture.module)
    handle = (
        module.register_forward_pre_hook(
            lambda _, args, kwargs: take(first_input(args, kwargs)), with_kwargs=True
        )
        if capture.is_input
        else module.register_forward_hook(lambda _, args, output: take(output))
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def counted(model: nn.Module, name: str, calls: Counter[str]) -> Iterator[None]:
    """Count the calls of one module."""

    def count(*_: Any) -> None:
        calls[name] += 1

    handle = model.get_submodule(name).register_forward_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _in_full_precision(kind: str) -> AbstractContextManager[object]:
    """Reduce in the precision of the copy, also where the network runs in another."""
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _by_stimulus(tensor: Tensor, capture: Capture, rows: int) -> Tensor:
    check_shape(capture, tensor.shape, rows)
    return tensor.movedim(capture.batch_axis, 0)
