"""Property: whatever interrupts a run, whenever and how often, the bytes are the same."""

from __future__ import annotations

import shutil
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thingsvision.backends.toy import ToyBackend
from thingsvision.engines.shard import extract_shard
from thingsvision.errors import StimulusError, ThingsvisionWarning
from thingsvision.extraction import extract_features
from thingsvision.store import STORES, base, disk, records
from thingsvision.testing import toy_network

ROWS = 7
FORMATS = [name for name in ("npy", "hdf5", "mat", "zarr") if name not in STORES.missing()]
# Where an interruption can come: (owner, function).
PLACES = [
    (ToyBackend, "run"), (base.Store, "write"), (base.Store, "_list"), (base.Store, "finish"),
    (base, "sync"), (disk, "write_at"), (records, "append_progress"), (records, "write_progress"),
    (records, "write_tables"), (records, "write_meta"),
]  # fmt: skip


class Interruption(BaseException):
    pass


@cache
def picture(row: int) -> bytes:
    with TemporaryDirectory() as folder:
        noise = np.random.default_rng(row).integers(0, 255, (24, 20, 3), np.uint8)
        path = Path(folder) / "picture.png"
        Image.fromarray(noise).save(path)
        return path.read_bytes()


def extract(
    images: Path, out: Path, format: str, batch_size: int, shard: tuple[int, int] | None = None
) -> None:
    options: dict[str, Any] = {
        "out": out, "format": format, "batch_size": batch_size, "progress": False
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThingsvisionWarning)
        if shard is None:
            extract_features(toy_network(), images, ["thin", "fc"], **options)
        else:
            extract_shard(toy_network(), images, ["thin", "fc"], shard, **options)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


shards = st.integers(1, 4).flatmap(lambda count: st.tuples(st.integers(1, count), st.just(count)))
interruptions = st.lists(
    st.tuples(
        st.none() | shards,
        st.sampled_from(PLACES),
        st.integers(0, 5),  # at which call
        st.booleans(),  # before it, or after it
        st.booleans(),  # whether what is not listed yet is listed on the way out
        st.sets(st.integers(0, ROWS - 1), max_size=2),  # images that are broken meanwhile
    ),
    max_size=4,
)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=12)
@given(
    batch_size=st.integers(1, ROWS + 1), seconds=st.sampled_from([0, 1000]), course=interruptions
)
def test_the_bytes_are_the_same(
    format: str, batch_size: int, seconds: float, course: list[Any]
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as always:
        always.setattr(base, "SYNC_SECONDS", seconds)
        images, out, whole = (Path(folder) / name for name in ("images", "out", "whole"))
        images.mkdir()

        def lay(broken: Any = ()) -> None:
            for row in range(ROWS):
                data = picture(row)
                (images / f"{row}.png").write_bytes(data[:700] if row in broken else data)

        lay()
        extract(images, whole, format, batch_size)
        failed: set[int] = set()
        for shard, (owner, name), moment, is_before, is_clean, broken in course:
            # Only what is not extracted yet may be broken: else it counts as changed.
            failed = set(broken) if not out.exists() else failed & set(broken)
            lay(failed)
            calls: list[int] = []
            original = getattr(owner, name)

            def interrupted(
                *args: Any, original: Any = original, calls: list[int] = calls,
                moment: int = moment, is_before: bool = is_before, **options: Any,
            ) -> Any:  # fmt: skip
                calls.append(1)
                if len(calls) == moment + 1 and is_before:
                    raise Interruption
                result = original(*args, **options)
                if len(calls) == moment + 1:
                    raise Interruption
                return result

            with pytest.MonkeyPatch.context() as patch:
                if not is_clean:
                    patch.setattr(base.Store, "close", lambda self: self.release())
                patch.setattr(owner, name, interrupted)
                with suppress(Interruption, StimulusError):
                    extract(images, out, format, batch_size, shard)
        lay()
        extract(images, out, format, batch_size)
        assert contents(out) == contents(whole)
        shutil.rmtree(out)


@settings(max_examples=25)
@given(order=st.permutations(range(ROWS)), batch_size=st.integers(1, ROWS + 1))
def test_rows_follow_the_order_that_was_given(order: list[int], batch_size: int) -> None:
    arrays = np.random.default_rng(0).integers(0, 255, (ROWS, 8, 6, 3), np.uint8)
    names = [f"{row}.png" for row in range(ROWS)]
    from thingsvision.stimuli import load_stimuli

    def extracted(rows: list[int]) -> Any:
        stimuli = load_stimuli(arrays[rows], ids=[names[row] for row in rows])
        return extract_features(toy_network(), stimuli, "fc", batch_size=batch_size)["fc"]

    found, wanted = extracted(list(order)), extracted(list(range(ROWS)))
    assert found.ids == tuple(names[row] for row in order)
    assert np.allclose(found[:], wanted[list(order)], rtol=1e-5)
    assert np.array_equal(found.select(names).array, found[np.argsort(order)])
