"""Every format: full disks and deaths, after which the same command gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_kill import ENVIRONMENT

from thingsvision.store import STORES

pytest.importorskip("resource", reason="this system knows no limits")

SCRIPT = Path(__file__).with_name("interrupted.py")
FORMATS = [name for name in STORES if name not in STORES.missing()] + ["mat-7.3"]
# Every how manyth full disk, death amid a write, and death between two lines.
FEW, ALL = {"npy": (2, 3, 29), "csv": (4, 8, 199), "parquet": (4, 8, 199)}, (1, 1, 1)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "extent", ["few", pytest.param("all", marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_the_same_command_finishes(format: str, extent: str, tmp_path: Path) -> None:
    if format == "pt":
        pytest.importorskip("torch")
    strides = FEW.get(format, (3, 5, 149)) if extent == "few" else ALL
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), str(tmp_path), format, *map(str, strides)],
        capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)
    assert min(hits.values()) >= (2 if extent == "few" else 12), hits
    assert "Exception ignored" not in done.stderr, done.stderr
