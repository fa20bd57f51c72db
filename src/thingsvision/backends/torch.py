"""PyTorch: hooks that copy, a pass that stops after the deepest wanted call."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InvalidArgument, ModuleError
from ..reduction import Reduce
from .found import check_found
from .survey import Capture, Survey
from .torch_folding import Watch
from .torch_hooks import Rows, Stop, copied, counted
from .torch_state import home, hookable, input_dtype, is_meta, left_as_found, outline, seeded
from .torch_survey import Trace, leaves, survey_from, trace_calls
from .torch_way import PLAIN, Way, check_precision

# A faster way takes as many images at once as keep the largest array of a pass below so many bytes,
# so that the next module finds it in the processor's cache; but not fewer than these.
CACHED = 24 << 20
FEWEST = 4
# Bytes of weights that one core hashes at a time.
BLOCK = 1 << 24


@dataclass(frozen=True)
class TorchBackend:
    """Runs PyTorch networks.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, the fastest there is.
    frames : int or None
        How often a still image is repeated for a video network; None for image networks.
    takes : {"images", "tokens"}
        What the network's forward takes.
    """

    device: str = "cpu"
    frames: int | None = None
    takes: str = "images"
    name = "torch"
    plain_way = PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", choose_device(self.device))

    def modules(self, model: nn.Module, size: tuple[int, ...]) -> Survey:
        """Find names, types, calls and output shapes.

        Works on the meta device, where shapes are computed without weights or memory;
        networks whose course depends on the data are run on small batches of noise.

        Parameters
        ----------
        model : torch.nn.Module
            Its weights are not touched.
        size : tuple of int
            Height and width of the input, or the shape of one text's tokens.

        Returns
        -------
        Survey

        Raises
        ------
        ModuleError
            If the network cannot be run on images of this size.
        """
        model = hookable(model)
        with left_as_found(model):
            method = "meta device"
            try:
                traced = outline(model)
                passes = [self._trace(traced, n, size) for n in (2, 3)]
            except Exception as why_not_meta:  # of any kind: it is the network's code that runs
                if is_meta(model):
                    raise _cannot_run(size, why_not_meta) from why_not_meta
                traced, method = model, "small forward pass"
                try:
                    passes = [self._trace(traced, n, size) for n in (2, 3)]
                except Exception as error:
                    raise _cannot_run(size, error) from error
            passes.append(self._larger(traced, size))
        return survey_from(model, passes, method)

    def run(
        self,
        model: nn.Module,
        batch: NDArray[Any],
        captures: Sequence[Capture],
        reductions: Mapping[str, Reduce],
        *,
        seed: int = 0,
        full: bool = False,
        way: Way = PLAIN,
    ) -> dict[str, NDArray[Any]]:
        """Run one batch and return the captures by address.

        Parameters
        ----------
        model : torch.nn.Module
            Left in the mode, on the device and with the hooks that it had.
        batch : array of float32, shape (n_stimuli, height, width, 3)
            Preprocessed images; cast to the type of the network's parameters. For a network
            that takes texts: their tokens, array of int64, shape ``(n_stimuli, ...)``.
        captures : sequence of Capture
            From ``Survey.resolve``.
        reductions : dict of str to callable
            Applied to each copy on the device; a missing one keeps the shape.
        seed : int
            For networks that are random in evaluation mode.
        full : bool
            Run to the end, and check that every module is called as often as surveyed.
        way : Way
            By default the plain one, whose results are those of the network's own library; or
            what `faster` gives.

        Returns
        -------
        dict of str to array, shape (n_stimuli, ...)
            A private copy of each output as it was when its module returned.

        Raises
        ------
        ModuleError
            If a module gave nothing, or was called more or less often than surveyed.
        """
        if not captures:
            return {}
        found, calls = self._forward(model, batch, captures, reductions, seed, full, way, None)
        check_found(captures, found, calls if full else None)
        return {c.address: _to_numpy(found[c.address]) for c in captures}

    def faster(
        self,
        model: nn.Module,
        batch: NDArray[Any],
        captures: Sequence[Capture],
        *,
        seed: int = 0,
    ) -> Way:
        """Find a faster way through the network, whose results differ in the last bits.

        Parameters
        ----------
        model, batch, captures, seed
            As in `run`; one image will do.

        Returns
        -------
        Way
            The plain one where nothing is gained.
        """
        if not captures or self.takes != "images" or input_dtype(model) != torch.float32:
            return PLAIN
        watch = Watch()
        way = Way(channels_last=self.frames is None)
        try:
            self._forward(model, batch, captures, {}, seed, False, way, watch)
        except RuntimeError as error:
            # Networks whose views need channels outermost in memory.
            if "view size is not compatible" not in str(error):
                raise
            way, watch = PLAIN, Watch()
            self._forward(model, batch, captures, {}, seed, False, way, watch)
        if self.device != "cpu":
            return Way(folds=watch.folds(self.device, False))
        is_better = way.channels_last and watch.has_maps
        folds = watch.folds(self.device, is_better)
        # Parts of a batch would draw the same random numbers.
        rows = None if watch.is_random else max(FEWEST, CACHED // max(watch.largest, 1))
        return Way(is_better, folds, rows=rows)

    def check_precision(self, precision: str) -> None:
        """Refuse a precision in which this device gains nothing; see `run`'s way."""
        check_precision(precision, self.device)

    def _forward(
        self,
        model: nn.Module,
        batch: NDArray[Any],
        captures: Sequence[Capture],
        reductions: Mapping[str, Reduce],
        seed: int,
        full: bool,
        way: Way,
        watch: Watch | None,
    ) -> tuple[dict[str, Tensor], Counter[str]]:
        """Run one batch; give copies of the captures, and the number of calls of each module."""
        model = hookable(model)
        if is_meta(model) or self.device == "meta":
            raise InvalidArgument(
                "The network was loaded without weights (device='meta'), to show its modules; "
                "it cannot be run. Load it with another device."
            )
        # Of several elements of one output the last one hooked stops the pass.
        deepest = max(reversed(captures), key=lambda capture: (capture.order, not capture.is_input))
        rows = len(batch) if full else way.rows or len(batch)
        found = Rows(len(batch))
        calls: Counter[str] = Counter()
        with ExitStack() as stack:
            stack.enter_context(left_as_found(model))
            stack.enter_context(seeded(seed, self.device))
            if home(model) not in (None, torch.device(self.device)):
                model.to(self.device)
            if watch is not None:
                stack.enter_context(watch.over(model, captures))
            if full:
                for name in {capture.module for capture in captures}:
                    stack.enter_context(counted(model, name, calls))
            for start in range(0, len(batch), rows):
                part = batch[start : start + rows]
                found.part = range(start, start + len(part))
                with ExitStack() as hooks:
                    for capture in captures:
                        reduce = reductions.get(capture.address)
                        stop = capture is deepest and not full
                        hooks.enter_context(copied(model, capture, found, reduce=reduce, stop=stop))
                    images = self._placed(self._moved(part, model), not way.channels_last)
                    # The way ends after the pass was stopped, and checks its course.
                    with way.taken(self.device), suppress(Stop):
                        model(images)
        return found.complete, calls

    def place(self, images: Float32[np.ndarray, "n_stimuli height width 3"]) -> Tensor:
        """Turn preprocessed images into the tensor that a network takes.

        Returns
        -------
        torch.Tensor, shape (n_stimuli, 3, height, width)
            With an axis of frames after the channels for video networks.
        """
        return self._placed(torch.from_numpy(images), planar=False)

    def digest(self, model: nn.Module) -> str:
        """Compute a SHA-256 of all weights and buffers, with their names, types and shapes.

        It is that of the digests of `BLOCK` bytes each, which several cores compute at once.
        """
        model = hookable(model)
        if is_meta(model):
            raise InvalidArgument("The network has no weights (device='meta'), so no digest.")
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            digests = pool.map(lambda block: hashlib.sha256(block).digest(), _blocks(model))
            return hashlib.sha256(b"".join(digests)).hexdigest()

    def structure(self, model: nn.Module) -> str:
        """Describe the modules and their settings, in the same words in every process."""
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(hookable(model)))

    def _moved(self, batch: NDArray[Any], model: nn.Module) -> Tensor:
        dtype = input_dtype(model) if self.takes == "images" else None
        tensor = torch.from_numpy(batch)
        if torch.device(self.device).type != "cuda":
            return tensor.to(self.device, dtype)
        # From pinned memory it is copied while this thread goes on to queue the forward pass.
        return tensor.pin_memory().to(self.device, dtype, non_blocking=True)

    def _placed(self, batch: Tensor, planar: bool) -> Tensor:
        if self.takes == "tokens":
            return batch.clone()
        # A permuted view keeps the channels innermost in memory. A copy: a network may work on
        # its input in place.
        images = batch.permute(0, 3, 1, 2)
        if self.frames is not None:
            images = images.unsqueeze(2).expand(-1, -1, self.frames, -1, -1)
        layout = torch.contiguous_format if planar else torch.preserve_format
        return images.clone(memory_format=layout)

    def _larger(self, model: nn.Module, size: tuple[int, ...]) -> Trace:
        """Trace a larger image, of another shape; nothing where the network refuses it."""
        if self.takes == "tokens":
            return Trace()
        height, width = size
        larger = (height + 64, width + 128)
        # Networks of one input size refuse another, in ways of their own.
        with suppress(Exception):
            return self._trace(model, 2, larger)
        with suppress(Exception):
            resize: Any = getattr(model, "set_input_size", None)  # timm's networks have it
            if resize and is_meta(model):  # a copy of ours, that may be changed
                resize(img_size=larger)
                return self._trace(model, 2, larger)
        return Trace()

    def _trace(self, model: nn.Module, count: int, size: tuple[int, ...]) -> Trace:
        device = home(model) or torch.device("cpu")
        dtype = input_dtype(model)
        shape = (count, *size, 3)
        if self.takes == "tokens":
            batch = torch.ones((count, *size), dtype=torch.int64, device=device)
        elif device.type == "meta":
            batch = torch.empty(shape, dtype=dtype, device=device)
        else:
            generator = torch.Generator().manual_seed(0)
            noise = torch.rand(shape, dtype=torch.float32, device="cpu", generator=generator)
            batch = noise.to(device, dtype)

        with seeded(0, device):
            return trace_calls(model, self._placed(batch, planar=True))


def available_devices() -> dict[str, str]:
    """List the devices of this machine, the fastest first, each with a description."""
    devices = {}
    for number in range(torch.cuda.device_count()):
        devices[f"cuda:{number}"] = torch.cuda.get_device_name(number)
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    devices["cpu"] = f"{torch.get_num_threads()} threads"
    return devices


def choose_device(device: str) -> str:
    """Turn ``"auto"`` into the fastest device there is, and check any other.

    Raises
    ------
    InvalidArgument
        If the device does not exist here.
    """
    available = list(available_devices())
    if device == "auto":
        return available[0]
    if device == "cuda" and "cuda:0" in available:
        return "cuda:0"
    if device not in available and device != "meta":
        raise InvalidArgument(
            f"device is {device!r}; on this machine there are: auto, {', '.join(available)}."
        )
    return device


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Give an array as a tensor in the processor's memory."""
    return torch.from_numpy(np.ascontiguousarray(array))


def _blocks(model: nn.Module) -> Iterator[bytes | memoryview]:
    """Give what tells the weights, in blocks."""
    for name, entry in sorted(model.state_dict().items()):
        for path, tensor in leaves(entry):  # quantized layers keep tuples
            value = tensor.dequantize() if tensor.is_quantized else tensor
            value = value.detach().cpu().contiguous()
            yield f"{name} {path} {value.dtype} {tuple(value.shape)}".encode()
            data = value.reshape(-1).view(torch.uint8).numpy().data
            yield from (data[start : start + BLOCK] for start in range(0, len(data), BLOCK))


def _to_numpy(value: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.cpu().numpy()
    return array


def _cannot_run(size: tuple[int, ...], error: Exception) -> ModuleError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return ModuleError(
        "The shapes of the network's modules cannot be found: for an input of "
        f"{' × '.join(map(str, size))} it says: {reason}"
    )
