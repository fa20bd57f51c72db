"""PyTorch and TensorFlow in one process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module

from ..optional import is_installed


def import_triton() -> None:
    """Import Triton so that TensorFlow's symbols are not taken for its own.

    PyTorch imports its compiler Triton late, e.g. when torchvision is imported, or when shapes are
    computed on the meta device. Where TensorFlow was imported before, that ends the process with
    a segmentation fault (seen with TensorFlow 2.21 and Triton 3.8 on Linux).
    """
    if "triton" in sys.modules or not is_installed("triton"):
        return
    own_symbols_first = getattr(os, "RTLD_DEEPBIND", 0)
    flags = sys.getdlopenflags() if own_symbols_first else 0
    if own_symbols_first:
        sys.setdlopenflags(flags | own_symbols_first)
    try:
        with suppress(ImportError):
            import_module("triton")
    finally:
        if own_symbols_first:
            sys.setdlopenflags(flags)


def settle() -> None:
    """Do so if TensorFlow is in use."""
    if "tensorflow" in sys.modules:
        import_triton()
