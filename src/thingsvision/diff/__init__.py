"""Why two sets of features disagree."""

from .differing import FeatureDiff, Finding, diff_features

__all__ = ["FeatureDiff", "Finding", "diff_features"]
