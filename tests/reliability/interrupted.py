"""Extractions that meet a full disk or die, for one format; run by test_interrupted.py.

A limit on the size of files takes effect in the system, below every library: what exceeds it is
written up to the limit, and then fails as on a full disk, or, if the process takes the signal as
it comes, ends the process amid the write. Other deaths come between two lines of a store, or where
a file in its folder is opened, renamed or deleted. Each run is a child of its own.

    python interrupted.py FOLDER FORMAT FULL AMID BETWEEN

takes every FULL-th case of a full disk, every AMID-th death amid a write, and every BETWEEN-th
between two lines, and prints how many failed, or died, as they were meant to.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import thingsvision.store
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import StoreError
from thingsvision.extraction import extract_features
from thingsvision.store import STORES, base, mat, records
from thingsvision.testing import toy_network

BASE = Path(sys.argv[1])
FORMAT, _, version = sys.argv[2].partition("-")
if version:  # mat-7.3, which is for large arrays
    mat.LARGEST = 0
base.SYNC_SECONDS = 0  # every batch is listed at once, so that there is something to go on from
FULL, AMID, BETWEEN = map(int, sys.argv[3:])
ROWS, BATCH = 7, 2
MODULES = ["thin", "fc"]
IMAGES = np.random.default_rng(0).integers(0, 255, (ROWS, 24, 16, 3), np.uint8)
# Bytes of the largest array. Half a line of progress, some lines, meta.json, and parts of arrays.
ARRAY = ROWS * 12 * 8 * 3 * 4
SIZES = [60, 300, 1500, *(int(ARRAY * part) for part in (0.2, 0.5, 0.97, 1.01, 1.5))]
LIBRARIES = {"pt": ["torch"], "csv": ["pyarrow.csv"], "parquet": ["pyarrow.parquet"]}
# The first forward pass only looks; then come the batches, then the tables, then the turning.
MOMENTS = [1, 2, 4, "turning"]


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


class Counting(ToyBackend):
    """Counts forward passes, and sets a limit before one."""

    passes, moment, size = 0, None, 0

    def run(self, *args: Any, **options: Any) -> Any:
        type(self).passes += 1
        if Counting.passes - 1 == Counting.moment:
            limit(Counting.size)
        return super().run(*args, **options)


def extract(name: str, moment: Any = None, size: int = 0) -> Any:
    """Extract; from a moment on no file can grow beyond a size."""
    Counting.passes, Counting.moment, Counting.size = 0, moment, size
    original = records.write_tables

    def tables(*args: Any) -> None:
        original(*args)
        if moment == "turning":
            limit(size)

    records.write_tables = tables
    try:
        return extract_features(
            toy_network(backend=Counting()), IMAGES, MODULES, out=BASE / name, format=FORMAT,
            batch_size=BATCH, progress=False,
        )  # fmt: skip
    finally:
        records.write_tables = original
        limit(resource.RLIM_INFINITY)


def contents(name: str) -> dict[str, bytes]:
    files = [path for path in (BASE / name).rglob("*") if path.is_file()]
    return {path.relative_to(BASE / name).as_posix(): path.read_bytes() for path in files}


def child(action: Callable[..., Any], *args: Any) -> int:
    """Act in a child; give its exit status."""
    if not (pid := os.fork()):
        try:
            action(*args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.stderr.flush()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def finish(name: str) -> None:
    """Run the same command again, and compare."""
    lines = []
    with suppress(FileNotFoundError):
        lines = (BASE / name / records.PROGRESS).read_bytes().splitlines(keepends=True)
    kept = sum(line.endswith(b"\n") for line in lines)
    extract(name)
    if kept:  # what was finished is not computed again; one pass more looks at the modules
        missing = -(-ROWS // BATCH) - kept
        assert Counting.passes == missing + (missing > 0), (kept, Counting.passes)
    found, wanted = contents(name), contents("whole")
    assert found == wanted, sorted(set(found) ^ set(wanted)) or [
        key for key in found if found[key] != wanted[key]
    ]


def full(name: str, moment: Any, size: int) -> None:
    """Meet a full disk, and go on in the same process when there is room."""
    try:
        extract(name, moment, size)
    except StoreError as error:
        assert str(error).count("same command") == 1 and "File too large" in str(error), error
        drafts = [path.name for path in (BASE / name).glob(".*") if path.name != f".{records.META}"]
        assert not drafts or moment != "turning", f"a draft takes room on a full disk: {drafts}"
        (BASE / f"{name}.failed").touch()
    finish(name)


def amid(name: str, moment: Any, size: int) -> None:
    """Die amid a write."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    extract(name, moment, size)


def between(name: str, death: int) -> None:
    """Die before a line of a store, or where a file is opened, renamed or deleted."""
    here = str(Path(thingsvision.store.__file__).parent)
    moment = -1

    def tick() -> None:
        nonlocal moment
        moment += 1
        if moment == death:
            os.kill(os.getpid(), signal.SIGKILL)

    def line(frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            tick()
        return line

    def call(frame: Any, event: str, arg: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(here) else None

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and any(
            str(BASE) in os.fsdecode(arg) for arg in args if isinstance(arg, (str, bytes))
        ):
            tick()

    sys.addaudithook(audit)
    threading.settrace(call)
    sys.settrace(call)
    extract(name)
    sys.settrace(None)
    if death < 0:
        (BASE / "moments").write_text(str(moment))


def must(status: int, what: str) -> None:
    if status:
        sys.exit(f"{FORMAT}: {what} ended with the status {status}")


def main() -> None:
    STORES[FORMAT]("nowhere")
    for library in LIBRARIES.get(FORMAT, ()):  # once for all children
        import_module(library)
    must(child(extract, "whole"), "an undisturbed run")
    hits = {"full": 0, "amid": 0, "between": 0}
    cases = [*product(MOMENTS, SIZES)]
    for moment, size in cases[FULL // 2 :: FULL]:
        name = f"full {moment} {size}"
        must(child(full, name, moment, size), name)
        hits["full"] += (BASE / f"{name}.failed").exists()
    for moment, size in cases[AMID // 2 :: AMID]:
        name = f"amid {moment} {size}"
        hits["amid"] += child(amid, name, moment, size) == signal.SIGXFSZ
        must(child(finish, name), f"the run after {name}")
    must(child(between, "counted", -1), "counting the moments")
    for death in range(BETWEEN // 2, int((BASE / "moments").read_text()), BETWEEN):
        name = f"between {death}"
        hits["between"] += child(between, name, death) == signal.SIGKILL
        child(between, name, death // 2)  # and once more, somewhere else
        must(child(finish, name), f"the run after {name}")
    print(json.dumps(hits))


if __name__ == "__main__":
    main()
