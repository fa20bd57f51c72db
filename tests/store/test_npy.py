from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thingsvision import open_features
from thingsvision.backends.toy import ToyBackend
from thingsvision.errors import StoreError
from thingsvision.extraction import extract_features
from thingsvision.stimuli import StimulusSet, load_stimuli
from thingsvision.store import records
from thingsvision.store.npy import NpyStore
from thingsvision.testing import toy_network

Numbered = Callable[[int], np.ndarray]
MODULES = ["thin", "double:0", "split[0]", "fc"]


class Broken(Exception):
    pass


class BreakingBackend(ToyBackend):
    """Breaks down after some batches; counts them."""

    def __init__(self, after: int | None = None) -> None:
        object.__setattr__(self, "after", after)
        object.__setattr__(self, "passes", [])

    def run(self, *args: Any, **options: Any) -> dict[str, Any]:
        if self.after is not None and len(self.passes) > self.after:
            raise Broken
        self.passes.append(1)
        return super().run(*args, **options)


def extract(out: Path, images: Any, after: int | None = None, **options: Any) -> Any:
    network = toy_network(backend=BreakingBackend(after))
    return extract_features(network, images, MODULES, out=out, batch_size=2, **options)


def interrupted(out: Path, images: Any, after: int = 2) -> None:
    with pytest.raises(Broken):
        extract(out, images, after)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What is written


def test_arrays_are_what_numpy_writes(numbered: Numbered, tmp_path: Path) -> None:
    features = extract(tmp_path / "out", numbered(5))
    in_memory = extract_features(toy_network(), numbered(5), MODULES, batch_size=2)
    names = {"thin": "thin", "double:0": "double%3A0", "split[0]": "split[0]", "fc": "fc"}
    for module, name in names.items():
        file = tmp_path / "out" / f"{name}.npy"
        assert np.array_equal(np.load(file), in_memory[module])
        np.save(tmp_path / "saved.npy", in_memory[module].array)
        assert file.read_bytes() == (tmp_path / "saved.npy").read_bytes()
        assert isinstance(features[module].array, np.memmap)
        assert not features[module].array.flags.writeable
    assert sorted(contents(tmp_path / "out")) == sorted(
        [*(f"{name}.npy" for name in names.values()), "meta.json", "stimuli.csv", "file_names.txt"]
    )


def test_meta_says_what_is_where(numbered: Numbered, tmp_path: Path) -> None:
    extract(tmp_path / "out", numbered(5))
    meta = json.loads((tmp_path / "out" / "meta.json").read_text("utf-8"))
    assert meta["status"] == "finished" and meta["format"] == "npy"
    assert meta["arrays"]["double:0"] == {
        "file": "double%3A0", "shape": [5, 4, 3, 3], "dtype": "<f4",
        "axes": ["stimulus", "height", "width", "channel"],
    }  # fmt: skip
    assert meta["provenance"]["model"] == "local/toy"


AWKWARD = (
    "plain.png", 'comma, "quote".png', "line\nbreak.png", "re\rturn.png", "ü 中 🐈.png",
    "é\u2028.png",
)  # fmt: skip


def test_tables_are_read_by_pandas(numbered: Numbered, tmp_path: Path) -> None:
    stimuli = StimulusSet(AWKWARD, tuple(numbered(6)), np.array([0, 1, 1, 0, 1, 0]), ("a", "b,c"))
    extract(tmp_path / "out", stimuli)
    table = pd.read_csv(tmp_path / "out" / "stimuli.csv")
    assert tuple(table["id"]) == AWKWARD
    assert table["row"].tolist() == list(range(6)) and table["target"].tolist() == [
        0,
        1,
        1,
        0,
        1,
        0,
    ]
    assert table["class"].tolist() == ["a", "b,c", "b,c", "a", "b,c", "a"]
    assert table["digest"].tolist() == [stimuli.digest(row) for row in range(6)]
    assert set(table["status"]) == {"ok"}
    features = open_features(tmp_path / "out")["fc"]
    assert features.ids == AWKWARD and features.targets.tolist() == [0, 1, 1, 0, 1, 0]


def test_names_are_one_line_each(numbered: Numbered, tmp_path: Path) -> None:
    extract(tmp_path / "out", StimulusSet(AWKWARD, tuple(numbered(6))))
    lines = (tmp_path / "out" / "file_names.txt").read_bytes().decode().split("\n")
    assert lines == [AWKWARD[0], AWKWARD[1], "line\\nbreak.png", "re\\rturn.png", *AWKWARD[4:], ""]


def test_names_choose_the_same_images_again(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder(["b.png", "a/é.png", " c.png"])
    stimuli = load_stimuli(folder, file_names=["b.png", " c.png", "a/é.png"])
    extract(tmp_path / "out", stimuli)
    again = load_stimuli(folder, file_names=tmp_path / "out" / "file_names.txt")
    assert again.ids == stimuli.ids


def test_one_row_and_many_modules(numbered: Numbered, tmp_path: Path) -> None:
    assert extract(tmp_path / "out", numbered(1))["fc"].shape == (1, 5)


# Finished or visibly unfinished


def test_an_unfinished_store_cannot_be_taken_for_a_finished_one(
    numbered: Numbered, tmp_path: Path
) -> None:
    interrupted(tmp_path / "out", numbered(9))
    names = sorted(contents(tmp_path / "out"))
    assert [name for name in names if name.endswith(".npy")] == []
    parts = [name for name in names if name.endswith(".npy.part")]
    assert len(parts) == len(MODULES) and "stimuli.csv" not in names
    for part in parts:
        with pytest.raises(ValueError):
            np.load(tmp_path / "out" / part)
    with pytest.raises(StoreError, match=r"unfinished\. Run the same command again"):
        open_features(tmp_path / "out")


def test_a_finished_store_needs_no_forward_pass(
    numbered: Numbered, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = extract(tmp_path / "out", numbered(5))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with caplog.at_level("INFO", "thingsvision"):
        again = extract(tmp_path / "out", numbered(5), after=-1)  # would break at once
    assert np.array_equal(first["fc"], again["fc"])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    assert "complete already" in caplog.text


def test_resuming_gives_the_same_bytes(numbered: Numbered, tmp_path: Path) -> None:
    extract(tmp_path / "whole", numbered(9))
    for after in (0, 1, 3, 4):
        interrupted(tmp_path / f"{after}", numbered(9), after)
        extract(tmp_path / f"{after}", numbered(9))
        assert contents(tmp_path / f"{after}") == contents(tmp_path / "whole")


def test_only_missing_batches_are_computed(numbered: Numbered, tmp_path: Path) -> None:
    interrupted(tmp_path / "out", numbered(9), after=3)
    backend = BreakingBackend()
    extract_features(
        toy_network(backend=backend), numbered(9), MODULES, out=tmp_path / "out", batch_size=2
    )
    assert len(backend.passes) == 1 + 2, "one full pass of one image, and two of five batches"


@pytest.mark.parametrize("torn", [b"4", b"4 " + b"a" * 70, b"\0" * 40 + b"\n", b"4 short\n"])
def test_torn_progress_is_done_again(numbered: Numbered, tmp_path: Path, torn: bytes) -> None:
    extract(tmp_path / "whole", numbered(9))
    interrupted(tmp_path / "out", numbered(9))
    progress = tmp_path / "out" / "progress.txt"
    progress.write_bytes(progress.read_bytes() + torn)
    interrupted(tmp_path / "out", numbered(9), after=1)
    assert [line[:2] for line in progress.read_bytes().splitlines()] == [b"0 ", b"2 ", b"4 "]
    extract(tmp_path / "out", numbered(9))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["delete", "shorten", "lengthen"])
def test_arrays_damaged_between_runs_are_done_again(
    numbered: Numbered, tmp_path: Path, damage: str
) -> None:
    extract(tmp_path / "whole", numbered(9))
    interrupted(tmp_path / "out", numbered(9))
    part = tmp_path / "out" / "fc.npy.part"
    data = part.read_bytes()
    part.unlink()
    if damage != "delete":
        part.write_bytes(data[:-8] if damage == "shorten" else data + b"more")
    extract(tmp_path / "out", numbered(9))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


# Refusals


@pytest.mark.parametrize("finished", [True, False])
def test_other_requests_are_refused_by_name(
    numbered: Numbered, tmp_path: Path, finished: bool
) -> None:
    out = tmp_path / "out"
    if finished:
        extract(out, numbered(9))
    else:
        interrupted(out, numbered(9))
    before = contents(out)

    def message(seed: int = 0, images: Any = None, modules: Any = MODULES, **options: Any) -> str:
        options = {"batch_size": 2, **options}
        with pytest.raises(StoreError) as caught:
            extract_features(
                toy_network(seed), numbered(9) if images is None else images, modules, out=out,
                **options,
            )  # fmt: skip
        return str(caught.value)

    assert "weights.digest was" in message(seed=1)
    fewer = message(images=numbered(8))
    assert ("1 stimulus gone: 000008" if finished else "stimuli.count was 9, is now 8") in fewer
    assert "batch_size was 2, is now 3" in message(batch_size=3)
    assert 'modules.thin was null, is now "flatten"' in message(reduction={"thin": "flatten"})
    assert "modules.thin was null, is now absent" in message(modules=MODULES[1:])
    assert "modules.noise was absent, is now null" in message(modules=[*MODULES, "noise"])
    changed = numbered(9)
    changed[3] = 77
    if finished:
        assert "1 image changed" in message(images=changed)
        assert "000003" in message(images=changed)
    assert contents(out) == before


def test_changed_and_vanished_images_are_named(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder([f"{n}.png" for n in range(6)])
    stimuli = load_stimuli(folder)
    interrupted(tmp_path / "part", stimuli)
    extract(tmp_path / "whole", stimuli)
    (folder / "0.png").write_bytes((folder / "5.png").read_bytes())
    (folder / "3.png").write_bytes((folder / "5.png").read_bytes())
    with pytest.raises(StoreError, match=r"2 images changed .*: 0\.png, 3\.png\."):
        extract(tmp_path / "part", stimuli)
    (folder / "3.png").unlink()
    _ = stimuli.__dict__.setdefault("sizes", ((8, 6),) * 6)
    with pytest.raises(StoreError, match=r"2 images changed .*: 0\.png, 3\.png\."):
        extract(tmp_path / "whole", stimuli)


def test_another_environment_does_not_go_on(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path / "part", numbered(9))
    extract(tmp_path / "whole", numbered(9))
    monkeypatch.setattr("thingsvision.plans.versions", lambda: {"numpy": "9.9"})
    with pytest.raises(StoreError, match=r'begun elsewhere .*numpy was .*, is now "9\.9"'):
        extract(tmp_path / "part", numbered(9))
    assert extract(tmp_path / "whole", numbered(9))["fc"].shape == (9, 5), "finished is finished"


def test_foreign_folders_are_refused(numbered: Numbered, tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"holds other files \(thesis\.tex\) and no features"):
        extract(tmp_path, numbered(2))
    with pytest.raises(StoreError, match=r"has no meta\.json"):
        open_features(tmp_path)
    with pytest.raises(StoreError, match=r"There is no folder '.*nowhere'"):
        open_features(tmp_path / "nowhere")
    for text, message in (("{", "is not JSON"), ('{"a": 1}', "was not written by thingsvision")):
        (tmp_path / "meta.json").write_text(text, encoding="utf-8")
        with pytest.raises(StoreError, match=message):
            open_features(tmp_path)
        with pytest.raises(StoreError, match=message):
            extract(tmp_path, numbered(2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    assert extract(tmp_path / "empty", numbered(2))["fc"].shape == (2, 5)


def test_a_file_in_the_place_of_the_folder(numbered: Numbered, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(StoreError, match="failed"):
            extract(out, numbered(2))


def test_folders_that_cannot_be_written(
    numbered: Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(tmp_path / "whole", numbered(4))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("write_meta", "append_progress", "write_tables"):
        monkeypatch.setattr(records, name, refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=r"Writing to '.*out' failed: .*Permission denied"):
        extract(tmp_path / "out", numbered(4))
    assert extract(tmp_path / "whole", numbered(4))["fc"].shape == (4, 5), "reading needs no right"


def test_damage_after_the_end_is_noticed(numbered: Numbered, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def damage(name: str, data: bytes | None, message: str) -> None:
        original = (out / name).read_bytes()
        (out / name).unlink()
        if data is not None:
            (out / name).write_bytes(data)
        with pytest.raises(StoreError, match=message):
            open_features(out)
        (out / name).write_bytes(original)

    extract(out, numbered(4))
    fc = (out / "fc.npy").read_bytes()
    damage("fc.npy", None, "'fc' in .* is missing or damaged")
    damage("fc.npy", fc[:-4], "'fc' in .* is missing or damaged")
    damage("fc.npy", b"", "'fc' in .* is missing or damaged")
    damage("fc.npy", (out / "thin.npy").read_bytes(), r"has the shape \(4, 4, 3, 3\)")
    damage("stimuli.csv", None, r"stimuli\.csv in .* is missing: it says which row is which")
    damage("stimuli.csv", b"a,b\n1,2\n", "not as thingsvision wrote it")
    shorter = b"".join((out / "stimuli.csv").read_bytes().splitlines(keepends=True)[:-1])
    damage("stimuli.csv", shorter, "stimuli.csv .* was changed")
    assert open_features(out)["fc"].shape == (4, 5)


def test_batches_must_fit_each_other(tmp_path: Path) -> None:
    stimuli = StimulusSet(("a", "b"), (np.zeros((2, 2)), np.ones((2, 2))))
    store = NpyStore(tmp_path / "out")
    store.begin({}, {}, stimuli)
    axes = {"m": ("stimulus", "feature")}
    digest = stimuli.digest(0)
    store.write(0, {"m": np.zeros((1, 3), np.float32)}, axes, [digest])
    for rows in (np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float64)):
        with pytest.raises(StoreError, match="'m' gave rows of shape"):
            store.write(1, {"m": rows}, axes, [digest])
    with pytest.raises(StoreError, match="Only the first 1 of 2 rows"):
        store.finish()
    store.close()


def test_a_store_of_another_format_is_refused(numbered: Numbered, tmp_path: Path) -> None:
    class Other(NpyStore):
        format = "other"

    interrupted(tmp_path / "out", numbered(9))
    with pytest.raises(StoreError, match='format was "npy", is now "other"'):
        Other(tmp_path / "out").begin({}, {}, load_stimuli(numbered(9)))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8", "?", "c8", ">f4"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (1, 2, 3, 4)])
def test_any_type_and_shape(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    stimuli = StimulusSet(tuple("abc"), tuple(np.zeros((3, 2, 2))))
    array = np.random.default_rng(0).integers(0, 2, (3, *shape)).astype(dtype)
    store = NpyStore(tmp_path / "out")
    store.begin({}, {}, stimuli)
    axes = {"m": tuple(f"axis_{k}" for k in range(array.ndim))}
    for start, rows in ((2, array[2:]), (0, np.asfortranarray(array[:2]))):
        digests = [stimuli.digest(start + k) for k in range(len(rows))]
        store.write(start, {"m": rows}, axes, digests)
    store.finish()
    found = store.read()["m"].array
    assert found.dtype == np.dtype(dtype) and np.array_equal(found, array)
    assert np.array_equal(np.load(tmp_path / "out" / "m.npy"), array)
