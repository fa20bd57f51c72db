"""What ``thingsvision extract --dry-run`` prints: the plan of an extraction, and its cost."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import click

from ..errors import counted
from .output import duration_text, say, show_record, show_table, size_text

if TYPE_CHECKING:
    from ..engines.shard import Shard
    from ..estimate import Estimate
    from ..plans import Plan


def show_plan(
    work: Plan,
    cost: Estimate,
    out: str,
    weights: str | None,
    random: bool,
    style: str | None,
    n_done: int,
    shard: Shard | None,
) -> None:
    """Print what would be extracted, what is there already, and what all would cost."""
    card = work.network.card
    record = {
        "network": work.network.name,
        "weights": f"random, seed {work.seed}" if random else weights or card.weights or "your own",
        "images": len(work.stimuli),
        "first, last": f"{work.stimuli.ids[0]}, {work.stimuli.ids[-1]}",
        "preprocessing": str(work.network.preprocessing),
        "input": list(work.size),
        "batches": f"{len(work.starts)} of {counted(work.batch_size, 'image')}",
        **({} if shard is None else {"shard": _shard(shard, work)}),
        "out": out,
        "there already": counted(n_done, "image"),
        "bytes": f"{work.n_bytes} ({size_text(work.n_bytes)})",
        **_cost(cost),
    }
    arrays = [
        {
            "module": address,
            "shape": list(shape),
            "axes": list(work.axes[address]),
            "bytes": 4 * prod(shape),
        }
        for address, shape in work.shapes.items()
    ]
    if style == "json":
        numbers = {
            "bytes": work.n_bytes,
            "bytes on disk": cost.n_bytes,
            "free disk": cost.free_disk,
            "peak memory": cost.peak_memory,
            "free memory": cost.free_memory,
            "seconds": cost.seconds,
            "advice": list(cost.advice),
        }
        show_record({**record, **numbers, "modules": arrays}, style)
        return
    if style is None:
        show_record(record, style)
        click.echo()
    show_table(arrays, style, columns=("module", "shape", "axes", "bytes"), cut=("axes",))
    for advice in cost.advice:
        say(f"Note: {advice}")
    next_step = "Run it without --dry-run to extract."
    if n_done == len(work.stimuli):
        next_step = "All is there already: without --dry-run nothing would be computed."
    elif cost.advice:
        next_step = "Mind the note before you run it without --dry-run."
    say(f"Nothing was written. {next_step}")


def _shard(shard: Shard, work: Plan) -> str:
    """Say which batches a shard computes."""
    starts = shard.of(work.starts)
    return f"{shard}, which has {len(starts)} of the batches"


def _cost(cost: Estimate) -> dict[str, str]:
    """Spell what an extraction costs; what is not known is left out."""
    record = {}
    if cost.free_disk is not None:
        record["free disk"] = size_text(cost.free_disk)
    if cost.peak_memory is not None:
        free = f" ({size_text(cost.free_memory)} free)" if cost.free_memory is not None else ""
        record["peak memory"] = f"{size_text(cost.peak_memory)}{free}"
    if cost.seconds is not None and cost.images_per_second is not None:
        record["time"] = (
            f"about {duration_text(cost.seconds)} ({cost.images_per_second:.3g} a second, from a "
            "short trial)"
        )
    return record
