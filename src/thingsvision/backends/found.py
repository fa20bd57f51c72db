"""Refusals of what a forward pass gave, the same for every framework."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from ..errors import ModuleError, listing
from .survey import Capture


def check_found(
    captures: Sequence[Capture], found: Collection[str], calls: Mapping[str, int] | None
) -> None:
    """Refuse a pass in which modules gave nothing, or were called another number of times."""
    missing = [capture.address for capture in captures if capture.address not in found]
    if missing:
        raise ModuleError(
            f"{listing(missing)}: returned no output of its own in the forward pass, probably "
            "because it ran inside a fused operation. Ask for the module around it."
        )
    wrong = [
        f"{capture.module} ({calls[capture.module]} calls, not {capture.calls})"
        for capture in captures
        if calls is not None
        and calls[capture.module] != capture.calls
        # Who counts from the first call is not misled by more of them.
        and not re.search(rf":{capture.call}(\[|$)", capture.address)
    ]
    if wrong:
        raise ModuleError(
            "These modules were called more or less often with your images than when the "
            f"network was surveyed, so their last call cannot be told for certain: "
            f"{listing(list(dict.fromkeys(wrong)))}. Name the call, as in name:0."
        )


def check_shape(capture: Capture, shape: Sequence[int], rows: int) -> None:
    """Refuse an output whose rows are not the stimuli.

    Parameters
    ----------
    capture : Capture
        What was promised.
    shape : sequence of int
        What the module gave, before the stimuli were made the first axis.
    rows : int
        Number of stimuli in the pass.
    """
    expected = list(capture.shape)
    expected.insert(capture.batch_axis, rows)
    if list(shape) != expected:
        raise ModuleError(
            f"{capture.address} has the shape {tuple(shape)} for {rows} images, not "
            f"{tuple(expected)} as surveyed, so its rows cannot be told apart. Ask for a module "
            "whose output does not depend on the content of the images."
        )
