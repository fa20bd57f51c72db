"""PyTorch: hooks that copy, a pass that stops after the deepest wanted call."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InvalidArgument, ModuleError, listing
from ..reduction import REDUCTIONS
from .base import Capture, Survey
from .torch_survey import Trace, leaves, survey_from, trace_calls

Hook = Callable[[int, Any], None]


class _Stop(BaseException):
    """Ends a forward pass; not an Exception, so that no model can swallow it."""


@dataclass(frozen=True)
class TorchBackend:
    """Runs PyTorch networks.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, the fastest there is.
    frames : int or None
        How often a still image is repeated for a video network; None for image networks.
    """

    device: str = "cpu"
    frames: int | None = None
    name = "torch"

    def modules(self, model: nn.Module, size: tuple[int, int]) -> Survey:
        """Find names, types, calls and output shapes.

        Works on the meta device, where shapes are computed without weights or memory;
        networks whose course depends on the data are run on small batches of noise.

        Parameters
        ----------
        model : torch.nn.Module
            Its weights are not touched.
        size : (int, int)
            Height and width of the input.

        Returns
        -------
        Survey
        """
        height, width = size
        larger = (height + 64, width + 128)
        with _left_as_found(model):
            try:
                passes = [self._trace(model, n, size, "meta") for n in (2, 3)]
                method = "meta device"
            except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
                if _is_meta(model):
                    raise ModuleError(
                        "The shapes of this network cannot be found without running it: "
                        f"{_first_line(error)}"
                    ) from error
                passes = [self._trace(model, n, size, "cpu") for n in (2, 3)]
                method = "small forward pass"
            try:
                device = "meta" if method == "meta device" else "cpu"
                passes.append(self._trace(model, 2, larger, device))
            except Exception:  # networks of one input size refuse another in ways of their own
                passes.append(Trace())
        return survey_from(model, *passes, larger=larger, method=method)

    def run(
        self,
        model: nn.Module,
        batch: Float32[np.ndarray, "n_stimuli height width 3"],
        captures: Sequence[Capture],
        reductions: Mapping[str, str | None],
        *,
        seed: int = 0,
        full: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch and return the captures by address.

        Parameters
        ----------
        model : torch.nn.Module
            Left in the mode, on the device and with the hooks that it had.
        batch : array of float32, shape (n_stimuli, height, width, 3)
            Preprocessed images.
        captures : sequence of Capture
            From ``Survey.resolve``.
        reductions : dict of str to str or None
            Name of the reduction of each address; a missing one keeps the shape.
        seed : int
            For networks that are random in evaluation mode.
        full : bool
            Run to the end, and check that every module is called as often as surveyed.

        Returns
        -------
        dict of str to array, shape (n_stimuli, ...)
            A private copy of each output as it was when its module returned.

        Raises
        ------
        ModuleError
            If a module gave nothing, or was called more or less often than surveyed.
        """
        device = choose_device(self.device)
        found: dict[str, Tensor] = {}
        calls: Counter[str] = Counter()
        # Of several elements of one output the last one hooked stops the pass.
        deepest = max(reversed(captures), key=lambda capture: (capture.order, not capture.is_input))
        with ExitStack() as stack:
            stack.enter_context(_left_as_found(model))
            stack.enter_context(torch.no_grad())
            stack.enter_context(_seeded(seed, device))
            model.to(device)
            for capture in captures:
                reduce = REDUCTIONS[name][0] if (name := reductions.get(capture.address)) else None
                stack.enter_context(
                    _hook(model, capture, found, reduce, stop=capture is deepest and not full)
                )
            if full:
                for name in {capture.module for capture in captures}:
                    stack.enter_context(_counted(model, name, calls))
            with suppress(_Stop):
                model(self._place(torch.from_numpy(batch), device))
        _check(captures, found, calls if full else None)
        return {c.address: _to_numpy(found[c.address]) for c in captures}

    def digest(self, model: nn.Module) -> str:
        """Compute the SHA-256 of all weights and buffers, with their names, types and shapes."""
        total = hashlib.sha256()
        for name, entry in sorted(model.state_dict().items()):
            for path, tensor in leaves(entry):  # quantized layers keep tuples
                value = tensor.dequantize() if tensor.is_quantized else tensor
                value = value.detach().cpu().contiguous()
                total.update(f"{name} {path} {value.dtype} {tuple(value.shape)}".encode())
                total.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return total.hexdigest()

    def _place(self, batch: Tensor, device: str) -> Tensor:
        # A permuted view keeps the channels innermost in memory, which convolutions run
        # fastest on; the values are the same.
        images = batch.to(device).permute(0, 3, 1, 2)
        if self.frames is None:
            return images
        return images.unsqueeze(2).expand(-1, -1, self.frames, -1, -1)

    def _trace(self, model: nn.Module, count: int, size: tuple[int, int], device: str) -> Trace:
        shape = (count, *size, 3)
        if device == "meta":
            batch = self._place(torch.empty(shape, device="meta"), "meta")
            tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            empty = {name: torch.empty_like(t, device="meta") for name, t in tensors.items()}

            def forward() -> Any:
                return torch.func.functional_call(model, empty, (batch,))
        else:
            noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
            home = next((p.device.type for p in model.parameters()), "cpu")
            batch = self._place(noise, home)

            def forward() -> Any:
                return model(batch)

        with torch.no_grad(), _seeded(0, "cpu"):
            return trace_calls(model, forward)


def choose_device(device: str) -> str:
    """Turn ``"auto"`` into the fastest device there is, and check any other.

    Raises
    ------
    InvalidArgument
        If the device does not exist here.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available[:0] = ["cuda", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    if device == "auto":
        return available[0]
    if device not in available and device != "meta":
        raise InvalidArgument(
            f"device is {device!r}; on this machine there are: auto, {', '.join(available)}."
        )
    return device


@contextmanager
def _hook(
    model: nn.Module,
    capture: Capture,
    found: dict[str, Tensor],
    reduce: Callable[[Any], Any] | None,
    stop: bool,
) -> Iterator[None]:
    """Take a private copy of one output at the moment its module returns."""
    calls = 0

    def take(value: Any) -> None:
        nonlocal calls
        calls += 1
        if calls - 1 != capture.call:
            return
        for path, tensor in leaves(value):
            if path == capture.path:
                tensor = tensor.dequantize() if tensor.is_quantized else tensor
                rows = tensor.movedim(capture.batch_axis, 0)
                # The copy is made now: the next module may work in place.
                copy = rows.detach().clone(memory_format=torch.contiguous_format)
                found[capture.address] = reduce(copy) if reduce else copy
        if stop:
            raise _Stop

    module = model.get_submodule(capture.module)
    handle = (
        module.register_forward_pre_hook(lambda _, args: take(args[0]))
        if capture.is_input
        else module.register_forward_hook(lambda _, args, output: take(output))
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _counted(model: nn.Module, name: str, calls: Counter[str]) -> Iterator[None]:
    def count(*_: Any) -> None:
        calls[name] += 1

    handle = model.get_submodule(name).register_forward_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _check(
    captures: Sequence[Capture], found: Mapping[str, Tensor], calls: Mapping[str, int] | None
) -> None:
    missing = [capture.address for capture in captures if capture.address not in found]
    if missing:
        raise ModuleError(
            f"{listing(missing)}: returned no output of its own in the forward pass, probably "
            "because it ran inside a fused operation. Ask for the module around it."
        )
    wrong = [
        f"{capture.module} ({calls[capture.module]} calls, not {capture.calls})"
        for capture in captures
        if calls is not None and calls[capture.module] != capture.calls
    ]
    if wrong:
        raise ModuleError(
            "These modules were called more or less often with your images than when the "
            f"network was surveyed, so a call cannot be told for certain: {listing(wrong)}. "
            "Name the call, as in name:0."
        )


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Evaluate, then undo the mode of each module and the device of all."""
    modes = {module: module.training for module in model.modules()}
    home = next((tensor.device for tensor in model.parameters()), None)
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        if home is not None and home != next(model.parameters()).device:
            model.to(home)


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    devices = [device] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _to_numpy(value: Tensor) -> NDArray[Any]:
    # NumPy has no bfloat16.
    array: NDArray[Any] = (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
    return array


def _is_meta(model: nn.Module) -> bool:
    return any(parameter.is_meta for parameter in model.parameters())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
