"""Verification: whether features in a folder still are what their record says."""

from .verify import verify_features

__all__ = ["verify_features"]
