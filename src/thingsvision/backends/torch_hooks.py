"""Hooks that copy outputs of PyTorch modules at the moment they return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .found import check_shape
from .survey import Capture
from .torch_survey import first_input, leaves


@dataclass
class Rows:
    """Copies of outputs, filled part by part of a batch.

    Parameters
    ----------
    count : int
        Rows of the batch.
    part : range
        Rows of the part that is going through the network.
    arrays : dict of str to torch.Tensor, shape (count, ...)
        By the capture's address.
    """

    count: int
    part: range = range(0)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    filled: Counter[str] = field(default_factory=Counter)

    def put(self, address: str, rows: Tensor) -> None:
        """Copy the rows of this part."""
        if address not in self.arrays:
            self.arrays[address] = torch.empty(
                (self.count, *rows.shape[1:]), dtype=_kept_as(rows), device=rows.device
            )
        self.arrays[address][self.part.start : self.part.stop] = rows
        self.filled[address] += len(rows)

    @property
    def complete(self) -> dict[str, Tensor]:
        """Those that every part has given."""
        return {name: rows for name, rows in self.arrays.items() if self.filled[name] == self.count}


class Stop(BaseException):
    """Ends a forward pass; not an Exception, so that no model can swallow it."""


@contextmanager
def copied(
    model: nn.Module,
    capture: Capture,
    found: Rows,
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
    found : Rows
        Receives the copy, whose rows must be the images of the part.
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
                batch = _by_stimulus(tensor.detach(), capture, len(found.part))
                if reduce:
                    # Laid out as it is given, since sums over other layouts differ in the last bit.
                    batch = batch.contiguous().to(_kept_as(batch))
                    with _in_full_precision(batch.device.type):
                        batch = reduce(batch)
                # The copy is made now: the next module may work in place.
                found.put(capture.address, batch)
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


def _kept_as(tensor: Tensor) -> torch.dtype:
    """Choose the type of a copy: NumPy has no bfloat16, and other precisions end in float32."""
    is_cast = tensor.dtype == torch.float16 and torch.is_autocast_enabled(tensor.device.type)
    return torch.float32 if is_cast or tensor.dtype == torch.bfloat16 else tensor.dtype


def _in_full_precision(kind: str) -> AbstractContextManager[object]:
    """Reduce in the precision of the copy, also where the network runs in another."""
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _by_stimulus(tensor: Tensor, capture: Capture, rows: int) -> Tensor:
    check_shape(capture, tensor.shape, rows)
    return tensor.movedim(capture.batch_axis, 0)
