"""Values of options that several verbs take: sizes, reductions, devices, numbers."""

from __future__ import annotations

import re
from typing import Any

import click

from .verb import require_name


def read_size(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Read a number of pixels, or ``HEIGHTxWIDTH``; ``none`` stays a word."""
    if value in (None, "none"):
        return value
    parts = str(value).split("x")
    if not all(part.isdecimal() and int(part) for part in parts) or len(parts) > 2:
        raise click.BadParameter(f"{value!r} is no size; allowed are 224, 224x288 and none.")
    numbers = tuple(map(int, parts))
    return numbers[0] if len(numbers) == 1 else numbers


def read_reductions(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> str | dict[str, str] | None:
    """Read ``NAME`` for all modules, and ``PATTERN=NAME`` for those that match."""
    from ..reduction import REDUCTIONS

    rules = _rules(values)
    for name in rules.values():
        require_name("reduction", name, REDUCTIONS)
    return rules["*"] if list(rules) == ["*"] else rules or None


def read_projections(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> int | dict[str, int] | None:
    """Read ``K`` for all modules, and ``PATTERN=K`` for those that match."""
    rules = {}
    for pattern, number in _rules(values).items():
        if not number.isdecimal() or not int(number):
            raise click.BadParameter(f"{number!r} is no number of features; it is at least 1.")
        rules[pattern] = int(number)
    return rules["*"] if list(rules) == ["*"] else rules or None


def _rules(values: tuple[str, ...]) -> dict[str, str]:
    """Split ``PATTERN=VALUE``; a lone value is for all that is left."""
    rules: dict[str, str] = {}
    for value in sorted(values, key=lambda value: "=" not in value):
        pattern, _, wanted = value.rpartition("=")
        pattern = pattern or "*"
        if rules.setdefault(pattern, wanted) != wanted:
            raise click.BadParameter(f"{pattern!r} is to be {rules[pattern]!r} and {wanted!r}.")
    return rules


def read_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Refuse what is no device anywhere; whether it is here is known when it is used."""
    if not re.fullmatch(r"auto|cpu|mps|(cuda|gpu)(:\d+)?", value):
        require_name("device", value, ("auto", "cpu", "cuda", "cuda:1", "mps"))
    return value


def read_count(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Refuse a number below one."""
    if value is not None and value < 1:
        raise click.BadParameter(f"{value} is too few; it is at least 1.")
    return value


def read_shard_option(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Read ``K/N``."""
    if value is None:
        return None
    from ..engines.shard import read_shard
    from ..errors import InvalidArgument

    try:
        return read_shard(value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


def read_batch_size(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    """Read a number, at least one, or ``auto``."""
    if value == "auto":
        return value
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(
            f"{value!r} is no batch size; allowed are whole numbers from 1 on, and auto."
        )
    return int(value)
