from __future__ import annotations

import numpy as np
import pytest

from thingsvision.preprocessing import _bilinear


def test_shapes_in_annotations_are_checked() -> None:
    with pytest.raises(Exception, match="pixels"):
        _bilinear(np.zeros((4, 4), np.uint8), 2, 2)
    assert _bilinear(np.zeros((4, 4, 3), np.uint8), 2, 2).shape == (2, 2, 3)
