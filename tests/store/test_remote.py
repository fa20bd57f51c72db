"""Features in an object store: in memory, and in an S3 server that the tests start."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from itertools import count as numbers
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("zarr")
fsspec = pytest.importorskip("fsspec")

import zarr  # noqa: E402
from click.testing import CliRunner  # noqa: E402
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402

from thingsvision.backends.toy import ToyBackend  # noqa: E402
from thingsvision.cli.program import main  # noqa: E402
from thingsvision.engines.shard import extract_shard  # noqa: E402
from thingsvision.errors import (  # noqa: E402
    InvalidArgument,
    MissingPackage,
    StoreError,
    ThingsvisionWarning,
)
from thingsvision.extraction import extract_features  # noqa: E402
from thingsvision.store import base, lease, location, open_features  # noqa: E402
from thingsvision.store.lock import hold  # noqa: E402
from thingsvision.store.remote_zarr import RemoteZarrStore  # noqa: E402
from thingsvision.testing import check_store, toy_network  # noqa: E402

# A client that is dropped closes its connections when it likes.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
MODULES = ["thin", "fc"]
PLACES = numbers()


def pictures(count: int = 7) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 255, (count, 8, 6, 3), np.uint8)


def extract(out: Any, images: Any = None, **options: Any) -> Any:
    images = pictures() if images is None else images
    return extract_features(toy_network(), images, MODULES, out=out, batch_size=2, **options)


def contents(where: Any) -> dict[str, bytes]:
    """Read all objects by fsspec, or all files."""
    if isinstance(where, Path):
        files = (path for path in where.rglob("*") if path.is_file())
        return {path.relative_to(where).as_posix(): path.read_bytes() for path in files}
    system, root = fsspec.url_to_fs(where)
    system.invalidate_cache()
    return {path[len(root) + 1 :]: system.cat_file(path) for path in system.find(root)}


@pytest.fixture
def memory() -> str:
    return f"memory://bucket-{next(PLACES)}/some features"


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_the_contract_of_stores(url: str) -> None:
    check_store(RemoteZarrStore, location(url))


def test_objects_are_the_files_of_a_folder(url: str, tmp_path: Path) -> None:
    images = pictures()
    images[2:4] = 0  # a chunk of zeros
    extract(tmp_path / "out", images, format="zarr")
    found = extract(url, images)
    assert contents(url) == contents(tmp_path / "out")
    assert not [name for name in contents(url) if name.startswith(".") or "part" in name]
    again = open_features(url)
    assert str(again) == str(found) == str(open_features(tmp_path / "out"))


def test_another_reader_finds_the_same_bits(url: str) -> None:
    extract(url)
    wanted = extract_features(toy_network(), pictures(), MODULES, batch_size=2)
    for module in MODULES:
        store = zarr.storage.FsspecStore.from_url(f"{url}/{module}.zarr", read_only=True)
        array = zarr.open_array(store, mode="r")
        assert np.asarray(array[:]).tobytes() == np.asarray(wanted[module]).tobytes()
        assert array.chunks[0] == 2
        assert list(array.attrs["file_names"]) == list(wanted[module].ids)
    system, root = fsspec.url_to_fs(url)
    assert json.loads(system.cat_file(f"{root}/meta.json"))["status"] == "finished"


def test_rows_are_fetched_when_they_are_used(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = np.asarray(extract(memory)["thin"])
    fetched: list[str] = []
    original = MemoryFileSystem.cat_file

    def cat_file(self: Any, path: str, *args: Any, **options: Any) -> Any:
        fetched.append(path)
        return original(self, path, *args, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    thin = open_features(memory)["thin"]
    assert not [path for path in fetched if "/c/" in path]
    assert np.array_equal(thin[[5, 0, 5]], wanted[[5, 0, 5]])
    assert sorted(path.partition("/c/")[2] for path in fetched if "/c/" in path) == [
        "0/0/0/0", "2/0/0/0",
    ]  # fmt: skip
    assert np.array_equal(np.asarray(thin), wanted)


class Death(BaseException):
    pass


class Mortal:
    """Dies at a moment: from then on, nothing is written or deleted any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: int, is_before: bool) -> None:
        self.calls, self.names = 0, []
        for name in ("pipe_file", "rm_file"):
            original = getattr(MemoryFileSystem, name)

            def mortal(
                system: Any, path: str, *args: Any, original: Any = original, **options: Any
            ) -> Any:
                self.calls += 1
                if self.calls > moment or (self.calls == moment and is_before):
                    raise Death
                result = original(system, path, *args, **options)
                if self.calls == moment:
                    raise Death
                return result

            monkeypatch.setattr(MemoryFileSystem, name, mortal)


def check_unfinished(where: str, whole: dict[str, bytes]) -> None:
    """An array that can be opened has all its chunks."""
    found = contents(where)
    for name in found:
        if name.endswith("/zarr.json"):
            folder = name.removesuffix("zarr.json")
            chunks = [other for other in whole if other.startswith(f"{folder}c/")]
            assert all(found.get(chunk) == whole[chunk] for chunk in chunks), name
    if b'"status": "finished"' not in found.get("meta.json", b""):
        with pytest.raises(StoreError):
            open_features(where)


@pytest.mark.parametrize("shard", [None, (2, 2)])
@pytest.mark.parametrize("is_before", [True, False])
def test_death_at_any_moment(
    is_before: bool, shard: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SYNC_SECONDS", 0)
    images = pictures(5)

    def run(out: str) -> None:
        if shard is None:
            extract(out, images)
        else:
            extract_shard(toy_network(), images, MODULES, shard, out=out, batch_size=2)

    extract("memory://whole", images)
    whole = contents("memory://whole")
    for moment in range(1, 1000):
        out = f"memory://death-{next(PLACES)}"
        if shard is not None:
            extract_shard(toy_network(), images, MODULES, (1, 2), out=out, batch_size=2)
        with monkeypatch.context() as patch:
            mortal = Mortal(patch, moment, is_before)
            with suppress(Death):
                run(out)
            was_reached = mortal.calls >= moment
        if not was_reached:
            break
        check_unfinished(out, whole)
        run(out)
        assert contents(out) == whole, moment
    assert moment > 12


def test_what_was_listed_is_not_computed_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SYNC_SECONDS", 0)
    original, starts = base.Store.write, []

    def write(self: Any, start: int, *args: Any) -> None:
        if start == 4 and not starts:
            starts.append("died")
            raise Death
        if "died" in starts:
            starts.append(start)
        original(self, start, *args)

    monkeypatch.setattr(base.Store, "write", write)
    with pytest.raises(Death):
        extract(url)
    extract(url)
    assert starts == ["died", 4, 6]


def test_images_that_failed_are_computed_once_they_are_mended(url: str, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for row, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (5, 24, 20, 3), "u1")):
        Image.fromarray(pixels).save(images / f"{row}.png")
    data = (images / "3.png").read_bytes()
    extract(tmp_path / "whole", images, format="zarr")
    (images / "3.png").write_bytes(data[:700])
    with pytest.warns(ThingsvisionWarning, match="could not be decoded"):
        assert list(extract(url, images).failures) == ["3.png"]
    assert np.isnan(open_features(url)["fc"][3]).all()
    (images / "3.png").write_bytes(data)
    extract(url, images)
    assert contents(url) == contents(tmp_path / "whole")


def test_another_request_is_refused(url: str) -> None:
    extract(url)
    before = contents(url)
    with pytest.raises(StoreError, match="another request"):
        extract_features(toy_network(), pictures(), "fc", out=url)
    assert contents(url) == before


def test_shards_in_any_order(url: str, tmp_path: Path) -> None:
    extract(tmp_path / "whole", format="zarr")
    for number, missing in [(3, 3), (1, 1), (2, 0)]:
        part = extract_shard(toy_network(), pictures(), MODULES, (number, 3), out=url, batch_size=2)
        assert part.missing == missing or number == 3
    assert part.features is not None
    assert contents(url) == contents(tmp_path / "whole")


def work(out: str, number: int, barrier: Any) -> None:
    barrier.wait()
    extract_shard(toy_network(), pictures(24), MODULES, (number, 3), out=out, batch_size=2)


def test_shards_of_several_processes_at_the_same_time(s3: str, tmp_path: Path) -> None:
    extract(tmp_path / "whole", pictures(24), format="zarr")
    context = get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=work, args=(s3, k, barrier)) for k in (1, 2, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert contents(s3) == contents(tmp_path / "whole")


def killed(out: str) -> None:
    """Be killed in the middle of a run, by a signal that nothing can catch."""
    import signal

    base.SYNC_SECONDS = 0
    original = ToyBackend.run
    calls: list[int] = []

    def run(self: Any, model: Any, batch: Any, *args: Any, **options: Any) -> Any:
        calls.append(len(batch))
        if calls.count(2) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, model, batch, *args, **options)

    ToyBackend.run = run  # type: ignore[method-assign]
    extract(out, pictures(24))


@pytest.mark.skipif(os.name != "posix", reason="there is no kill -9")
def test_a_process_that_is_killed(s3: str, tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=killed, args=(s3,))
    process.start()
    process.join(300)
    assert process.exitcode == -9
    assert ".lock" in contents(s3)  # it could not let go
    with pytest.raises(StoreError, match="unfinished"):
        open_features(s3)
    extract(s3, pictures(24))
    extract(tmp_path / "whole", pictures(24), format="zarr")
    assert contents(s3) == contents(tmp_path / "whole")


def test_a_second_one_is_refused(url: str) -> None:
    with hold(url):
        with pytest.raises(StoreError, match="being written by another process"), hold(url):
            pass
        with pytest.raises(StoreError, match="being written"), hold(url, "1-of-2"):
            pass
    with hold(url, "1-of-2"), hold(url, "2-of-2"):
        with pytest.raises(StoreError, match="Shard 1/2"), hold(url, "1-of-2"):
            pass
        with pytest.raises(StoreError, match="being written"), hold(url):
            pass
        with pytest.raises(StoreError, match="being written"), hold(url, "1-of-3"):
            pass
    assert contents(url) == {}


def foreign(beat: int) -> bytes:
    record = {"token": "another", "machine": "elsewhere", "pid": 1, "beat": beat}
    return json.dumps(record).encode()


def test_a_lock_without_a_sign_of_life_is_taken_over(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 0.2)
    (location(memory) / ".lock").write_bytes(foreign(0))
    with hold(memory):
        assert json.loads(contents(memory)[".lock"])["pid"] == os.getpid()
    assert contents(memory) == {}


def test_a_lock_of_a_living_process_elsewhere_is_respected(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, beats = location(memory) / ".lock", numbers(1)
    lock.write_bytes(foreign(0))
    # While this process waits, the other gives a sign of life.
    monkeypatch.setattr(lease, "sleep", lambda seconds: lock.write_bytes(foreign(next(beats))))
    with pytest.raises(StoreError, match="being written by another process"), hold(memory):
        pass
    assert json.loads(lock.read_bytes())["token"] == "another"


def test_a_lock_is_renewed(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    with hold(memory):
        seen: set[bytes] = set()
        while len(seen) < 3:  # until it has changed twice; the test's time limit ends it if not
            seen.add(contents(memory)[".lock"])
    assert contents(memory) == {}


@pytest.mark.parametrize("format", ["npy", "hdf5", "csv"])
def test_other_formats_are_refused_before_any_work(format: str, memory: str) -> None:
    nothing: Any = None
    for begin in (extract_features, lambda *a, **o: extract_shard(*a, (1, 2), **o)):
        with pytest.raises(InvalidArgument, match="replaced as a whole"):
            begin(nothing, nothing, "fc", out=memory, format=format)


def test_file_urls_are_folders(tmp_path: Path) -> None:
    extract((tmp_path / "a b").as_uri())
    extract(tmp_path / "folder")
    assert contents(tmp_path / "a b") == contents(tmp_path / "folder")
    assert str(open_features((tmp_path / "a b").as_uri())) == str(open_features(tmp_path / "a b"))


def run_verb(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


def test_verbs_take_urls(url: str, tmp_path: Path) -> None:
    extract(url)
    back, there = str(tmp_path / "back"), f"{url}-again"
    for words in (
        ["verify", url, "--sample", "0"], ["methods", url], ["rdm", url, "-m", "fc"],
        ["diff", url, url], ["convert", url, "--to", "npy", "-o", back],
        ["convert", back, "--to", "zarr", "-o", there], ["diff", back, there],
    ):  # fmt: skip
        result = run_verb(*words)
        assert result.exit_code in ((0, 4) if words[0] == "verify" else (0,)), result.output
    assert np.array_equal(open_features(back)["fc"][:], open_features(url)["fc"][:])
    assert np.array_equal(open_features(there)["fc"][:], open_features(url)["fc"][:])


def check_refusal(words: list[str], *parts: str) -> None:
    result = run_verb(*words)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output and "not foreseen" not in result.output
    for part in parts:
        assert part in " ".join(result.output.split()), result.output


def test_what_a_store_refuses_is_told_in_a_sentence(
    s3: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"bucket does not exist.*Look at the address"):
        extract("s3://no-such-bucket/features")
    check_refusal(["methods", "s3://no-such-bucket/features"], "no folder of features")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"(?i)credentials.*Look at"):
        extract(s3)
    check_refusal(["methods", s3], "redentials", "Look at")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_network_that_is_away(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Exception):
        """As clients of stores have their own."""

    extract(memory)

    def away(*_: Any, **__: Any) -> Any:
        raise Away("no route to the store")

    features = open_features(memory)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", away)
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", away)
    with pytest.raises(StoreError, match=r"Away: no route to the store.*Look at"):
        features["fc"][0]
    check_refusal(["rdm", memory], "Away: no route to the store", "Look at")
    with pytest.raises(StoreError, match=r"Away: no route to the store.*Look at"):
        extract(f"{memory}-2")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, url in {"s3fs": "s3://bucket/a", "gcsfs": "gs://bucket/a"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingPackage, match=rf"{package}.*pip install"):
            open_features(url)
    with pytest.raises(InvalidArgument, match="nonsense"):
        open_features("nonsense://bucket/a")


def test_a_chunk_that_is_missing_is_no_row_of_zeros(memory: str) -> None:
    extract(memory)
    system, root = fsspec.url_to_fs(memory)
    system.rm_file(f"{root}/fc.zarr/c/1/0")
    features = open_features(memory)["fc"]
    assert features[0].shape == (5,)
    with pytest.raises(StoreError, match="c/1/0"):
        features[2]
