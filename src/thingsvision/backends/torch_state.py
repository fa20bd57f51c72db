"""The state of a PyTorch network and of PyTorch itself, put back as it was found."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ..errors import ModuleError, listing
from .neighbours import settle


def hookable(model: nn.Module) -> nn.Module:
    """Give the network whose modules are called one by one.

    Raises
    ------
    ModuleError
        If modules are compiled away, or do not know their shapes yet.
    """
    inner = getattr(model, "_orig_mod", model)  # of torch.compile, which ignores later hooks
    if not isinstance(inner, nn.Module) or isinstance(inner, torch.jit.ScriptModule):
        raise ModuleError(
            f"The network is a {type(inner).__name__}; TorchScript runs without the calls of "
            "modules that activations are taken from. Use the network it was made from."
        )
    lazy = [name for name, tensor in chain(inner.named_parameters(), inner.named_buffers())
            if isinstance(tensor, UninitializedParameter | UninitializedBuffer)]  # fmt: skip
    if lazy:
        raise ModuleError(
            f"{len(lazy)} parameters get their shape in a first forward pass that has not been "
            f"made: {listing(lazy)}. Run the network once, or load its weights."
        )
    return inner


def is_meta(model: nn.Module) -> bool:
    """Say whether a network has no weights, only their shapes."""
    return any(tensor.is_meta for tensor in _tensors(model))


def home(model: nn.Module) -> torch.device | None:
    """Find the device that a network lies on; None if it has no tensors."""
    return next((tensor.device for tensor in _tensors(model)), None)


def input_dtype(model: nn.Module) -> torch.dtype:
    """Find the type of a network's input: that of its first parameter with a fraction."""
    kinds = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(kinds, torch.float32)


def outline(model: nn.Module) -> nn.Module:
    """Copy a network onto the meta device: its course without its numbers.

    A copy, since a pass may leave traces in the network, e.g. cached anchors.
    """
    known: dict[int, object] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device="meta")
        known[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        known[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, known)


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Evaluate without gradients, then undo the mode of each module and the device of all."""
    settle()
    modes = [(module, module.training) for module in model.modules()]
    device = home(model)
    try:
        model.eval()
        with torch.no_grad(), _eagerly(model):
            yield
    finally:
        for module, training in modes:
            if module.training != training:
                module.train(training)  # may do more than set the mode
        for module, training in modes:
            module.training = training
        if device is not None and device != home(model):
            model.to(device)


@contextmanager
def seeded(seed: int, device: torch.device | str) -> Iterator[None]:
    """Seed the generators of the CPU and one device, then put their states back."""
    device = torch.device(device)
    forked = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=forked):
        # torch.manual_seed would seed every device there is.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            state = torch.mps.get_rng_state()
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if device.type == "mps":
                torch.mps.set_rng_state(state)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _eagerly(model: nn.Module) -> AbstractContextManager[object]:
    """Switch off torch.compile where parts of a network use it, since it ignores hooks."""
    compiled = any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )
    if not compiled:
        return nullcontext()
    if not hasattr(torch.compiler, "set_stance"):
        raise ModuleError(
            "Parts of the network are compiled, which hides their modules in this version of "
            "torch. Use the network as it was before torch.compile, or torch 2.6 or newer."
        )
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
