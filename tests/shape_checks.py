"""Checks the shapes in annotations while tests run, and nothing but shapes.

Tests hand over wrong types on purpose, to see what the toolbox itself says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def shapes_only(function: Callable[..., Any]) -> Callable[..., Any]:
    """Type-check the annotations of a function that state a shape."""
    stated = {name: a for name, a in function.__annotations__.items() if _has_shape(a)}
    if stated:
        function.__annotations__ = stated
        return beartype(function)
    return function


def _has_shape(annotation: Any) -> bool:
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(annotation))
