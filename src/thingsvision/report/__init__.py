"""Reports: networks beside brains and behaviour, from images to figures and tables in one call."""

from __future__ import annotations

from .rsa import RSAReport, report_rsa
from .sets import ReferenceSet, make_set, read_sets

__all__ = ["RSAReport", "ReferenceSet", "make_set", "read_sets", "report_rsa"]
