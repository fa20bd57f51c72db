"""Names that options allow, asked for only when an option is given: that spares imports."""

from __future__ import annotations

from collections.abc import Iterable


def formats() -> Iterable[str]:
    """List the formats that features are written in."""
    from ..store import STORES

    return STORES


def precisions() -> Iterable[str]:
    """List the precisions of the forward pass."""
    from ..planning import PRECISIONS

    return PRECISIONS


def decoders() -> Iterable[str]:
    """List the ways to decode."""
    from ..preprocessing import DECODERS

    return DECODERS


def initialisations() -> Iterable[str]:
    """List the initialisations of random weights."""
    from ..zoo.source import INITIALISATIONS

    return INITIALISATIONS


def interpolations() -> Iterable[str]:
    """List the interpolations of the resize."""
    from ..preprocessing import INTERPOLATIONS

    return INTERPOLATIONS
