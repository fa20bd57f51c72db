from __future__ import annotations

import socket

import numpy as np
import pytest

from thingsvision.preprocessing import _bilinear


def test_shapes_in_annotations_are_checked() -> None:
    with pytest.raises(Exception, match="pixels"):
        _bilinear(np.zeros((4, 4), np.uint8), 2, 2)
    assert _bilinear(np.zeros((4, 4, 3), np.uint8), 2, 2).shape == (2, 2, 3)


def test_the_network_is_out_of_reach() -> None:
    with (
        socket.socket() as outside,
        pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1:80"),
    ):
        outside.connect(("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
