"""Ways through a PyTorch network that are faster than the plain one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch

from ..errors import InvalidArgument
from .torch_folding import Fold, folded


@dataclass(frozen=True)
class Way:
    """How a forward pass is made; without arguments as the network's own library makes it.

    Parameters
    ----------
    channels_last : bool
        Images lie in memory with their channels innermost, which convolutions run fastest on.
    folds : tuple of Fold
        Batch norms that are folded into the convolutions before them.
    precision : {"float32", "bfloat16", "float16"}
        Of convolutions and matrix products; what they give is float32 again in the end.
    rows : int or None
        Images that go through the network at once, so that what passes from module to module
        stays in the processor's cache; None for whole batches.
    """

    channels_last: bool = False
    folds: tuple[Fold, ...] = ()
    precision: str = "float32"
    rows: int | None = None

    def __str__(self) -> str:
        norms = len({fold.norm for fold in self.folds})
        parts = [
            "channels-last memory" if self.channels_last else "",
            f"{norms} batch norms folded into convolutions" if norms else "",
            self.precision if self.precision != "float32" else "",
            f"{self.rows} images at once" if self.rows else "",
        ]
        return ", ".join(filter(None, parts)) or "plain"

    def in_precision(self, precision: str) -> Way:
        """Give the same way in another precision."""
        dtype = getattr(torch, precision)
        cast = tuple(replace(fold, weight=fold.weight.to(dtype)) for fold in self.folds)
        return replace(self, folds=cast, precision=precision)

    @contextmanager
    def taken(self, device: str) -> Iterator[None]:
        """Go this way in this context."""
        with ExitStack() as stack:
            stack.enter_context(folded(self.folds))
            if self.precision != "float32":
                # Without a cache, since that would keep a second copy of all weights.
                stack.enter_context(
                    torch.autocast(
                        torch.device(device).type,
                        dtype=getattr(torch, self.precision),
                        cache_enabled=False,
                    )
                )
            yield


PLAIN = Way()


def check_precision(precision: str, device: str) -> None:
    """Refuse a precision in which this device gains nothing.

    Raises
    ------
    InvalidArgument
        With the reason.
    """
    if precision == "float32":
        return
    kind = torch.device(device).type
    if precision == "float16":
        is_fast = kind in ("cuda", "mps")
        reason = f"the device {device!r} gains nothing by it; it is for GPUs without bfloat16"
    elif kind == "cpu":
        # Private, so a version of torch without them counts as a processor without.
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        is_fast = any(getattr(torch.cpu, name, bool)() for name in asked)
        reason = "this processor has no instructions for it (AVX-512 BF16 or AMX)"
    else:
        is_fast = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        reason = f"the device {device!r} has no instructions for it"
    if not is_fast:
        raise InvalidArgument(
            f"precision is {precision!r}, but {reason}, so that it would be slower than float32 "
            "as well as less exact. Use precision='float32'."
        )
