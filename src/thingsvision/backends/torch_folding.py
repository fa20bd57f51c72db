"""Batch norms folded into the convolutions before them, for as long as a forward pass lasts.

In evaluation mode a batch norm is ``y = scale · x + shift`` for each channel, and ``x`` is linear
in the weights of the convolution that made it, so one convolution with other weights gives ``y``.
The network is not changed: during a pass the ``forward`` of both modules is replaced, on the
instance, and put back afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import ModuleError
from .survey import Capture
from .torch_survey import first_input, leaves

# Other classes, also those derived of these, may do something of their own.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# timm's batch norm goes on with two modules of its own.
WITH_ACTIVATION = ("timm.layers.norm_act", "BatchNormAct2d")
# Folded weights are copies. Beyond this many bytes of them, batch norms are left as they are.
MOST_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Fold:
    """One call of a convolution, and the one call of a batch norm that takes its output.

    Parameters
    ----------
    convolution, norm : torch.nn.Module
        The modules.
    convolution_call, norm_call : int
        Which call of each in a forward pass.
    weight, bias : torch.Tensor
        Of the convolution that does the work of both.
    """

    convolution: _ConvNd
    convolution_call: int
    norm: _BatchNorm
    norm_call: int
    weight: Tensor
    bias: Tensor


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches a forward pass for outputs of convolutions that only one batch norm takes.

    It holds on to these outputs, so that no other tensor can be mistaken for one.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.has_maps = False  # a convolution whose windows overlap
        self.is_random = False
        self.largest = 0  # of what operations gave, in bytes
        self._inside: nn.Module | None = None
        self._made: dict[int, tuple[_ConvNd, int, Tensor, int]] = {}
        self._taken: dict[int, tuple[_BatchNorm, int]] = {}
        self._normed: dict[int, tuple[Tensor, int]] = {}
        self._barred: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        """Run an operation, and bar what it takes from being folded, unless a batch norm runs."""
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and id(value) in self._made:
                taker = self._taken.get(id(value))
                if taker is None or self._inside is not taker[0]:
                    self._barred.add(id(value))
        given = function(*args, **(kwargs or {}))
        sizes = [value.nbytes for value in tree_leaves(given) if isinstance(value, Tensor)]
        self.largest = max([self.largest, *sizes])
        return given

    @contextmanager
    def over(self, model: nn.Module, captures: Sequence[Capture]) -> Iterator[None]:
        """Watch the passes of a network in this context."""
        with ExitStack() as stack:
            for module in model.modules():
                if isinstance(module, _ConvNd) and type(module) in CONVOLUTIONS:
                    self._follow_convolution(module, stack)
                if isinstance(module, _BatchNorm) and _is_known(module):
                    self._follow_norm(module, stack)
            # After the others, so that the output of a convolution is known when it is barred.
            for capture in captures:
                self._bar(model.get_submodule(capture.module), capture, stack)
            state = torch.get_rng_state()
            stack.enter_context(self)
            yield
            self.is_random = not torch.equal(state, torch.get_rng_state())

    def folds(self, device: str, channels_last: bool) -> tuple[Fold, ...]:
        """Fold what was found, in the order of the pass, while the copies stay small."""
        found, bytes_ = [], 0
        copies: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for key, (convolution, convolution_call, _, _) in self._made.items():
            if key not in self._taken or key in self._barred:
                continue
            norm, norm_call = self._taken[key]
            pair = id(convolution), id(norm)
            if pair not in copies:
                if bytes_ + convolution.weight.nbytes > MOST_BYTES:
                    continue
                weight, bias = (one.to(device) for one in _folded(convolution, norm))
                if channels_last and weight.ndim == 4:
                    weight = weight.contiguous(memory_format=torch.channels_last)
                copies[pair] = weight, bias
                bytes_ += convolution.weight.nbytes
            found.append(Fold(convolution, convolution_call, norm, norm_call, *copies[pair]))
        return tuple(found)

    def _follow_convolution(self, module: _ConvNd, stack: ExitStack) -> None:
        is_plain, calls = _is_plain_convolution(module), 0

        def after(_: nn.Module, args: Any, output: Any) -> None:
            nonlocal calls
            window = zip(module.kernel_size, module.stride, strict=True)
            self.has_maps |= any(size > step for size, step in window)
            if is_plain and len(args) == 1:
                self._made[id(output)] = module, calls, output, output._version
            calls += 1

        stack.callback(module.register_forward_hook(after).remove)

    def _follow_norm(self, module: _BatchNorm, stack: ExitStack) -> None:
        is_plain, calls = _is_plain_norm(module), 0

        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            made = self._made.get(id(args[0])) if len(args) == 1 else None
            if made is None:
                return
            if not is_plain or id(args[0]) in self._taken or made[2]._version != made[3]:
                self._barred.add(id(args[0]))
            else:
                self._taken[id(args[0])] = module, calls
                self._inside = module

        def after(_: nn.Module, args: Any, output: Any) -> None:
            nonlocal calls
            if self._inside is module:
                self._normed[id(args[0])] = output, output._version
            self._inside = None
            calls += 1

        stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        stack.callback(module.register_forward_hook(after).remove)

    def _bar(self, module: nn.Module, capture: Capture, stack: ExitStack) -> None:
        """Leave alone what is captured: the output of a convolution or of a batch norm."""

        def bar(value: Any) -> None:
            for path, tensor in leaves(value):
                if path == capture.path or capture.is_input:
                    for key, (_, _, made, version) in self._made.items():
                        normed = self._normed.get(key)
                        if _is_same(tensor, made, version) or (
                            normed is not None and _is_same(tensor, *normed)
                        ):
                            self._barred.add(key)

        if capture.is_input:
            handle = module.register_forward_pre_hook(
                lambda _, args, kwargs: bar(first_input(args, kwargs)), with_kwargs=True
            )
        else:
            handle = module.register_forward_hook(lambda _, args, output: bar(output))
        stack.callback(handle.remove)


@contextmanager
def folded(folds: Sequence[Fold]) -> Iterator[None]:
    """Run folded convolutions in this context, and pass over their batch norms.

    Raises
    ------
    ModuleError
        If the network takes another course than when it was watched.
    """
    by_call: dict[tuple[nn.Module, int], Fold] = {}
    by_call |= {(fold.convolution, fold.convolution_call): fold for fold in folds}
    by_call |= {(fold.norm, fold.norm_call): fold for fold in folds}
    coming: dict[Fold, Tensor] = {}
    calls: Counter[nn.Module] = Counter()

    def in_place_of(module: nn.Module) -> Callable[[Tensor], Tensor]:
        own = module.forward

        def forward(given: Tensor) -> Tensor:
            fold = by_call.get((module, calls[module]))
            calls[module] += 1
            if fold is None:
                output: Tensor = own(given)
                return output
            if module is fold.convolution:
                coming[fold] = fold.convolution._conv_forward(given, fold.weight, fold.bias)
                return coming[fold]
            if coming.pop(fold, None) is not given:
                raise _other_course()
            return _rest_of(fold.norm, given)

        return forward

    modules = dict.fromkeys(module for module, _ in by_call)
    try:
        for module in modules:
            module.__dict__["forward"] = in_place_of(module)
        yield
        if coming:
            raise _other_course()
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)


def _other_course() -> ModuleError:
    return ModuleError(
        "The network calls its modules in another order than for the first images, so its batch "
        "norms cannot be folded into convolutions. Extract with exact=True (--exact)."
    )


def _is_same(tensor: Tensor, other: Tensor, version: int) -> bool:
    """Tell whether a tensor still holds what another held when it was made, or a part of it."""
    if tensor.is_quantized or tensor.layout != other.layout:
        return False
    return (
        tensor.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
        and tensor._version == version
    )


def _is_plain_convolution(module: _ConvNd) -> bool:
    # Anything that others have hung onto a module may look at it, or change it.
    return _is_untouched(module) and "weight" in module._parameters


def _is_known(norm: _BatchNorm) -> bool:
    kind = type(norm)
    return kind in NORMS or (kind.__module__, kind.__qualname__) == WITH_ACTIVATION


def _rest_of(norm: _BatchNorm, normed: Tensor) -> Tensor:
    """Do what a batch norm does after it has normed."""
    if type(norm) in NORMS:
        return normed
    rest: Tensor = norm.act(norm.drop(normed))  # type: ignore[operator]
    return rest


def _is_plain_norm(module: _BatchNorm) -> bool:
    return (
        _is_untouched(module)
        and not module.training
        and isinstance(module.running_mean, Tensor)
        and isinstance(module.running_var, Tensor)
    )


def _is_untouched(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks")
    everyone = ("_global_forward_hooks", "_global_forward_pre_hooks")
    dtypes = {t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()}
    return (
        dtypes <= {torch.float32}
        and "forward" not in module.__dict__
        and not any(getattr(module, name) for name in hooks)
        and not any(getattr(torch_module, name) for name in everyone)
    )


def _folded(convolution: _ConvNd, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Compute the weights of both, in float64, rounded once."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = -norm.running_mean.double()
    if convolution.bias is not None:
        bias = bias + convolution.bias.double()
    bias = bias * scale
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    weight = convolution.weight
    folded_weight = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return folded_weight.to(weight.dtype), bias.to(weight.dtype)
