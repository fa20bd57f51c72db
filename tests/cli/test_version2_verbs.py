from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import thingsvision as tv
from thingsvision.cli import main

PHOTOGRAPHS = Path(tv.__file__).parent / "demo" / "photographs"


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, args)
    return result.exit_code, result.output


def test_the_architecture_needs_no_download() -> None:
    code, shown = run("show-model", "--model-name", "alexnet", "--source", "torchvision")
    assert code == 0 and "(10): Conv2d(256, 256" in shown


def test_extraction_with_version_2s_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "thingsvision.version2.load_model",
        lambda name, pretrained, **options: tv.load_model(name, False, device=options["device"]),
    )  # no weights can be downloaded in a test
    code, shown = run(
        "extract-features", "--image-root", str(PHOTOGRAPHS), "--model-name", "alexnet",
        "--module-name", "features.10", "--batch-size", "32", "--device", "cpu", "--source",
        "torchvision", "--file-format", "npy", "--out-path", str(tmp_path), "--flatten-acts",
    )  # fmt: skip
    assert code == 0, shown
    network = tv.load_model("torchvision/alexnet", pretrained=False)
    core = tv.extract_features(network, PHOTOGRAPHS, "features.10", flatten=True, batch_size=32)
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), core.only.array)
    assert tuple((tmp_path / "file_names.txt").read_text().splitlines()) == core.only.ids


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--file-format", "npz"], "no format 'npz'"),
        (["--source", "hub"], "source 'hub'"),
        (["--model-parameters", "variant"], "write it as JSON"),
        (["--model-parameters", "[1]"], "give names with their values"),
    ],
)
def test_mistakes(args: list[str], words: str) -> None:
    code, shown = run("extract-features", "--image-root", str(PHOTOGRAPHS), *args)
    assert code != 0 and words in " ".join(shown.split()) and "Traceback" not in shown


def test_they_are_not_among_the_verbs_that_are_shown() -> None:
    assert "show-model" not in run("--help")[1]
    assert "--image-root" in run("extract-features", "--help")[1]
