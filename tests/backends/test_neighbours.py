"""PyTorch and TensorFlow in one process, in either order of their imports."""

import subprocess
import sys

import pytest

from thingsvision.optional import is_installed

TORCH = """
import thingsvision as tv
network = tv.load_model("torchvision/squeezenet1_1", pretrained=False, device="meta")
print(network.modules().method)
"""
TENSORFLOW = "import tensorflow\n"
KERAS = "import thingsvision.backends.keras\n"


@pytest.mark.skipif(not is_installed("tensorflow"), reason="TensorFlow is not installed")
@pytest.mark.parametrize(
    "code",
    [TENSORFLOW + TORCH, "import torch\n" + TENSORFLOW + TORCH, KERAS + TORCH],
    ids=["tensorflow first", "torch first", "the toolbox's keras first"],
)
def test_shapes_are_found_on_the_meta_device_beside_tensorflow(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "meta device"
