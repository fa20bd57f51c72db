from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from thingsvision.errors import ImageError, InvalidArgument, StimulusError
from thingsvision.images import SUFFIXES
from thingsvision.stimuli import StimulusSet, load_stimuli
from thingsvision.stimuli.folders import find_images
from thingsvision.stimuli.loading import COMMON
from thingsvision.store.records import write_tables

MakeFolder = Callable[..., Path]


# Order


def test_sorted_by_parts_in_code_point_order(image_folder: MakeFolder) -> None:
    expected = (
        "10.png", "2.png", "Z.png", "a/x.png", "a/y/z.png", "a b/x.png", "a-b/x.png", "a.png",
        "é.png", "中.png", "🐈.png",
    )  # fmt: skip
    assert load_stimuli(image_folder(sorted(expected, key=hash))).ids == expected


NAME = st.text("aAzZ019 .-_é中🐈!~", min_size=1, max_size=4).filter(lambda s: s.strip(". ") == s)
PATHS = st.sets(st.lists(NAME, min_size=1, max_size=3).map(tuple), min_size=1, max_size=12)


@given(PATHS)
def test_order_property(tmp_path_factory: pytest.TempPathFactory, parts: set) -> None:
    root = tmp_path_factory.mktemp("order")
    wanted = set()
    for path in parts:
        path = (*path[:-1], f"{path[-1]}.png")
        try:
            root.joinpath(*path).parent.mkdir(parents=True, exist_ok=True)
            root.joinpath(*path).touch()
        except OSError:  # a file in the place of a folder
            continue
        wanted.add(path)
    # An independent key: code points of each part, compared as tuples of tuples.
    key = sorted(wanted, key=lambda path: tuple(tuple(map(ord, part)) for part in path))
    assert find_images(root)[1] == ["/".join(path) for path in key]


def test_order_does_not_depend_on_the_file_system(
    image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder(["b/2.png", "b/1.png", "a.png", "c/d/1.png"])
    ids = load_stimuli(folder).ids
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: Path) -> None:
            with scandir(path) as found:
                self.found = list(found)[::-1]

        def __enter__(self) -> list:
            return self.found

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert load_stimuli(folder).ids == ids


# Classes


def test_class_folders(image_folder: MakeFolder) -> None:
    stimuli = load_stimuli(image_folder(["dog/2.png", "Cat/1.png", "dog/1.png", "a b/deep/1.png"]))
    assert stimuli.ids == ("Cat/1.png", "a b/deep/1.png", "dog/1.png", "dog/2.png")
    assert stimuli.classes == ("Cat", "a b", "dog")
    assert stimuli.targets.tolist() == [0, 1, 2, 2]
    assert repr(stimuli).startswith("StimulusSet(4 stimuli in 3 classes: Cat/1.png")


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["cat/1.png", "2.png"]])
def test_no_classes_if_an_image_lies_outside(image_folder: MakeFolder, names: list[str]) -> None:
    stimuli = load_stimuli(image_folder(names))
    assert stimuli.targets is None and stimuli.classes == ()


# Choosing


def test_file_names_keep_their_order_and_the_folders_classes(image_folder: MakeFolder) -> None:
    folder = image_folder(["cat/1.png", "dog/1.png", "eel/1.png"])
    stimuli = load_stimuli(folder, file_names=["eel/1.png", "./dog/1.png"])
    assert stimuli.ids == ("eel/1.png", "dog/1.png")
    assert stimuli.classes == ("cat", "dog", "eel"), "as without file_names"
    assert stimuli.targets.tolist() == [2, 1]
    assert np.asarray(stimuli.image(0)).max() == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_file_names_from_a_file(image_folder: MakeFolder, tmp_path: Path, newline: str) -> None:
    names = ["b\u2028c.png", " a .png", "é.png"]  # not line ends, nor to be stripped
    folder = image_folder(names)
    table = tmp_path / "names.txt"
    table.write_bytes(("\ufeff" + newline.join([*names, "", " "]) + newline).encode())
    assert load_stimuli(folder, file_names=table).ids == tuple(names)
    assert load_stimuli(folder, file_names=str(table)).ids == tuple(names)


def test_missing_names_are_all_named(image_folder: MakeFolder) -> None:
    missing = [f"no{n}.png" for n in range(30)]
    with pytest.raises(StimulusError) as caught:
        load_stimuli(image_folder(["a.png"]), file_names=["a.png", *missing])
    assert "30 of 31" in str(caught.value) and all(name in str(caught.value) for name in missing)


def test_lists_that_cannot_be_read(image_folder: MakeFolder, tmp_path: Path) -> None:
    folder = image_folder(["a.png"])
    with pytest.raises(StimulusError, match=r"There is no list '.*none\.txt'"):
        load_stimuli(folder, file_names=tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"\xe9.png")
    with pytest.raises(StimulusError, match="UTF-8"):
        load_stimuli(folder, file_names=tmp_path / "latin.txt")


def test_list_keeps_its_order(image_folder: MakeFolder) -> None:
    folder = image_folder(["c.png", "a.png", "b/x.png"])
    paths = [folder / "c.png", str(folder / "b/x.png"), folder / "a.png"]
    assert load_stimuli(paths).ids == ("c.png", "b/x.png", "a.png")
    assert load_stimuli(np.array([str(path) for path in paths])).ids[0] == "c.png"
    assert load_stimuli(["c.png", "b/x.png"], root=folder).ids == ("c.png", "b/x.png")
    assert load_stimuli([folder / "c.png"], root=folder.parent).ids == ("images/c.png",)
    assert load_stimuli(folder / "c.png").ids == ("c.png",)


def test_list_takes_classes_from_folders(image_folder: MakeFolder) -> None:
    folder = image_folder(["dog/1.png", "cat/1.png"])
    stimuli = load_stimuli([folder / "dog/1.png", folder / "cat/1.png"])
    assert stimuli.classes == ("cat", "dog") and stimuli.targets.tolist() == [1, 0]


def test_faulty_lists(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png", "b.png"])
    with pytest.raises(StimulusError, match=r"2 of 3 files do not exist: .*c\.png, .*d\.png"):
        load_stimuli([folder / name for name in ("c.png", "a.png", "d.png")])
    with pytest.raises(StimulusError, match=r"1 id found more than once: a\.png"):
        load_stimuli([folder / "a.png", folder / "b.png", folder / "." / "a.png"])
    with pytest.raises(StimulusError, match="empty"):
        load_stimuli([])
    with pytest.raises(StimulusError, match=r"1 of 2 paths are folders: .*images"):
        load_stimuli([folder, folder / "a.png"])
    with pytest.raises(InvalidArgument, match="list"):
        load_stimuli([folder / "a.png", 3])
    with pytest.raises(InvalidArgument, match="file_names"):
        load_stimuli([folder / "a.png"], file_names=["a.png"])


@pytest.mark.parametrize(
    ("separator", "suffix", "bom"), [(",", ".csv", ""), ("\t", ".TSV", ""), (";", ".csv", "\ufeff")]
)
def test_table(image_folder: MakeFolder, separator: str, suffix: str, bom: str) -> None:
    folder = image_folder(["x/1.png", "y, z/2.png", "3.png"])
    rows = [
        ["Path", "note", "ID", "class"],
        ["y, z/2.png", "", "two", "b"],
        ["3.png", "", "3", "a"],
    ]
    text = "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    (folder / f"table{suffix}").write_bytes((bom + text).encode())
    stimuli = load_stimuli(folder / f"table{suffix}")
    assert stimuli.ids == ("two", "3")
    assert stimuli.classes == ("a", "b") and stimuli.targets.tolist() == [1, 0]
    assert np.asarray(stimuli.image(0)).max() == 1
    assert load_stimuli(folder / f"table{suffix}", ids=["p", "q"]).ids == ("p", "q")


def test_table_relative_to_a_root(image_folder: MakeFolder, tmp_path: Path) -> None:
    folder = image_folder(["x/1.png", "y/2.png"])
    table = tmp_path / "elsewhere.csv"
    table.write_text("file_name\ny/2.png\nx/1.png\n", encoding="utf-8")
    stimuli = load_stimuli(table, root=folder)
    assert stimuli.ids == ("y/2.png", "x/1.png") and stimuli.targets.tolist() == [1, 0]


def test_faulty_tables(image_folder: MakeFolder) -> None:
    folder = image_folder(["1.png"])
    table = folder / "t.csv"

    def load(text: str) -> StimulusSet:
        table.write_text(text, encoding="utf-8")
        return load_stimuli(table)

    with pytest.raises(StimulusError, match=r"2 of 3 files do not exist: .*8\.png, .*9\.png"):
        load("path\n8.png\n1.png\n9.png\n")
    with pytest.raises(StimulusError, match="1 row and the columns name, x; it needs a column"):
        load("name,x\n1.png,1\n")
    with pytest.raises(StimulusError, match="columns none"):
        load("")
    with pytest.raises(StimulusError, match=r"'class' of .* is empty in 1 of 2 rows: 2"):
        load("path,class\n1.png,a\n1.png\n")
    with pytest.raises(StimulusError, match="more than once: 1"):
        load("path,id\n1.png,1\n1.png,1\n")


def test_cells_that_would_be_lost(image_folder: MakeFolder) -> None:
    folder = image_folder(["1.png", "2.png"])
    table = folder / "t.csv"
    table.write_text("path,id\n1.png,one\n2.png,two, or so\n", encoding="utf-8")
    with pytest.raises(StimulusError, match=r"1 row with more cells than the 2 columns .*: line 3"):
        load_stimuli(table)
    table.write_text("path,id\n1.png,one,\n2.png,two,\n", encoding="utf-8")
    assert load_stimuli(table).ids == ("one", "two")
    table.write_text("path,Path \n1.png,2.png\n", encoding="utf-8")
    with pytest.raises(StimulusError, match=r"has 2 columns 'Path'; keep one"):
        load_stimuli(table)
    table.write_text("path,note,note\n1.png,x,y\n", encoding="utf-8")
    assert load_stimuli(table).ids == ("1.png",)


@pytest.mark.parametrize("names", [["b/2.png", "a/1.png"], ["2.png", "1.png"]])
def test_the_table_of_a_store(image_folder: MakeFolder, tmp_path: Path, names: list[str]) -> None:
    folder = image_folder(names)
    stimuli = load_stimuli(folder, file_names=names)
    (tmp_path / "store").mkdir()
    write_tables(tmp_path / "store", stimuli, ["digest"] * 2)
    table = tmp_path / "store" / "stimuli.csv"
    again = load_stimuli(table, root=folder)
    assert again.ids == stimuli.ids == tuple(names) and again.classes == stimuli.classes
    assert np.array_equal(again.targets, stimuli.targets)  # type: ignore[arg-type]
    with pytest.raises(StimulusError, match=r"relative to '.*store'; root= names another"):
        load_stimuli(table)


# Litter


def test_litter_is_named_in_one_line(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png", ".ipynb_checkpoints/a-checkpoint.png", "b/.hidden.png"])
    for name in ("Thumbs.db", ".DS_Store", "b/desktop.ini", "notes.txt", "two\nlines.txt"):
        (folder / name).write_text("x", encoding="utf-8")
    with pytest.warns(UserWarning) as caught:
        stimuli = load_stimuli(folder)
    assert stimuli.ids == ("a.png",)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "\n" not in message and "(7)" in message
    for name in stimuli.left_out:
        assert (name if name.isprintable() else repr(name)) in message
    assert set(stimuli.left_out) == {
        ".DS_Store", ".ipynb_checkpoints", "Thumbs.db", "b/.hidden.png", "b/desktop.ini",
        "notes.txt", "two\nlines.txt",
    }  # fmt: skip


def test_no_warning_without_litter_or_with_chosen_names(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_stimuli(folder)
        (folder / "notes.txt").write_text("x", encoding="utf-8")
        load_stimuli(folder, file_names=["a.png"])


# Faults of folders


def test_missing_folder(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png"])
    with pytest.raises(StimulusError, match=r"no folder or file '.*imags'.*Beside it: images"):
        load_stimuli(folder.parent / "imags")
    with pytest.raises(StimulusError, match="no folder or file"):
        load_stimuli("nowhere/at/all")


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match=r"no images .*\(it is empty\)"):
        load_stimuli(tmp_path)
    (tmp_path / "notes.txt").touch()
    known = r"\(other files: notes\.txt\)\. Known are \.jpg.*\.png.* and \d+ other suffixes\."
    with pytest.raises(StimulusError, match=known) as caught:
        load_stimuli(tmp_path)
    assert str(caught.value).split("Known")[1].count(".") < 10
    assert set(COMMON) <= SUFFIXES


def test_unreadable_subfolders_are_named(
    image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder(["a/1.png", "b/1.png", "c/1.png"])
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name in ("a", "c"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(StimulusError, match=r"2 folders cannot be read: .*a \(Perm.*c \(Perm"):
        load_stimuli(folder)


def test_one_name_in_two_spellings(image_folder: MakeFolder) -> None:
    composed, decomposed = "é.png", unicodedata.normalize("NFD", "é.png")
    folder = image_folder([composed, decomposed])
    if len(list(folder.iterdir())) < 2:
        pytest.skip("this file system keeps one of them only")
    with pytest.raises(StimulusError, match=r"1 id found more than once: é\.png.*Unicode"):
        load_stimuli(folder)


def test_ids_are_nfc_and_files_are_found(image_folder: MakeFolder) -> None:
    decomposed = unicodedata.normalize("NFD", "é/ü.png")
    stimuli = load_stimuli(image_folder([decomposed]))
    assert stimuli.ids == ("é/ü.png",) and stimuli.classes == ("é",)
    assert stimuli.image(0).size == (6, 8)
    assert stimuli.select([decomposed]).ids == ("é/ü.png",)
    assert load_stimuli(stimuli.sources[0].parents[1], file_names=[decomposed]).ids == stimuli.ids


def test_names_that_are_no_text(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png"])
    try:
        os.link(folder / "a.png", os.fsencode(folder) + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    with pytest.raises(StimulusError, match=r"no Unicode text: '\\udcff\.png'"):
        load_stimuli(folder)


def test_awkward_names(image_folder: MakeFolder) -> None:
    names = (" a.png", "new\nline.png", "per%cent.png", "quo'te\".png", "star*?.png")
    stimuli = load_stimuli(image_folder(names))
    assert stimuli.ids == names
    assert [np.asarray(stimuli.image(row)).max() for row in range(5)] == [0, 1, 2, 3, 4]


def test_links(image_folder: MakeFolder) -> None:
    folder = image_folder(["cat/1.png", "dog/1.png"])
    (folder / "eel").symlink_to(folder / "cat")
    (folder / "cat" / "up").symlink_to(folder)
    (folder / "dog" / "self").symlink_to(folder / "dog")
    with pytest.warns(UserWarning, match="leads back"):
        stimuli = load_stimuli(folder)
    assert stimuli.ids == ("cat/1.png", "dog/1.png", "eel/1.png")
    assert stimuli.left_out == tuple(
        f"{path} (a link that leads back)" for path in ("cat/up", "dog/self", "eel/up")
    )


def test_links_to_nowhere_and_pipes(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png"])
    (folder / "gone.png").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.png")
    with pytest.warns(UserWarning, match=r"pipe\.png"):
        stimuli = load_stimuli(folder)
    with pytest.raises(StimulusError, match=r"1 of 2 images cannot be read:\n.*gone\.png.* exist"):
        _ = stimuli.sizes


def test_all_unreadable_headers_are_named(image_folder: MakeFolder) -> None:
    folder = image_folder([f"{n:02}.png" for n in range(40)])
    for n in range(5, 35):
        (folder / f"{n:02}.png").write_bytes(b"" if n % 2 else b"no picture")
    with pytest.raises(StimulusError) as caught:
        _ = load_stimuli(folder).sizes
    assert "30 of 40 images" in str(caught.value)
    assert all(f"{n:02}.png" in str(caught.value) for n in range(5, 35))


# Arrays


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 8, 6, 3), 128, np.uint8),
        np.full((2, 8, 6, 3), 128 / 255, np.float32),
        np.full((2, 8, 6), 128, np.uint8),
        np.full((2, 8, 6, 1), 128 / 255),
        [np.full((8, 6, 3), 128, np.uint8), np.full((8, 6), 128 / 255)],
        [Image.new("RGB", (6, 8), (128,) * 3), Image.new("L", (6, 8), 128)],
        [Image.new("P", (6, 8), 128), Image.new("LA", (6, 8), (128, 255))],
    ],
    ids=["uint8", "float", "grey", "one channel", "list", "pillow", "palette"],
)
def test_arrays(array: object) -> None:
    stimuli = load_stimuli(array)
    assert stimuli.ids == ("000000", "000001") and stimuli.sizes == ((8, 6), (8, 6))
    for row in (0, 1):
        image, digest = stimuli.read(row)
        assert image.mode == "RGB" and image.size == (6, 8)
        if not isinstance(array[row], Image.Image) or array[row].mode != "P":
            assert set(np.asarray(image).ravel()) == {128}
        assert digest == stimuli.digest(row)
    assert load_stimuli(array, ids=["a", "b"]).ids == ("a", "b")


def test_pillow_images_follow_the_rules_for_files(tmp_path: Path) -> None:
    palette = Image.new("P", (6, 8), 1)
    palette.putpalette([0, 0, 0, 255, 128, 0])
    clear = Image.new("RGBA", (6, 8), (9, 9, 9, 0))
    turned = Image.new("RGB", (6, 8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as opened:
        stimuli = load_stimuli([palette, clear, opened])
    assert stimuli.image(0).getpixel((0, 0)) == (255, 128, 0)
    assert stimuli.image(1).getpixel((0, 0)) == (255, 255, 255), "laid on white"
    assert stimuli.sizes == ((8, 6), (8, 6), (6, 8))
    with pytest.raises(InvalidArgument, match="CMYK"):
        load_stimuli([Image.new("CMYK", (6, 8))])
    with pytest.raises(InvalidArgument, match="holds a str"):
        load_stimuli([palette, "a.png"])


def test_faulty_arrays() -> None:
    good, bright = np.zeros((8, 6, 3)), np.full((8, 6, 3), 255.0)
    with pytest.raises(
        StimulusError, match=r"(?s)2 of 3 images.*'b'.*divide by 255.*'c'"
    ) as caught:
        load_stimuli([good, bright, np.zeros((3, 8, 6, 2))], ids=["a", "b", "c"])
    assert "'a'" not in str(caught.value)
    with pytest.raises(StimulusError, match="channels last"):
        load_stimuli(np.zeros((2, 3, 8, 6), np.uint8))
    for shape in ((8, 6, 3), (3, 8, 6)):
        with pytest.raises(InvalidArgument, match="one colour image or several grey"):
            load_stimuli(np.zeros(shape, np.uint8))
    with pytest.raises(InvalidArgument, match="2 ids were given for 1 image;"):
        load_stimuli([good], ids=["a", "b"])
    with pytest.raises(StimulusError, match="more than once: a"):
        load_stimuli([good, good], ids=["a", "a"])
    with pytest.raises(StimulusError, match="There are no stimuli"):
        load_stimuli(np.zeros((0, 8, 6, 3), np.uint8))
    with pytest.raises(InvalidArgument, match="root"):
        load_stimuli([good], root="x")
    with pytest.raises(InvalidArgument, match="generator"):
        load_stimuli(item for item in [good])


# Records


def test_ids_replace_paths(image_folder: MakeFolder) -> None:
    folder = image_folder(["dog/1.png", "cat/1.png"])
    (folder / "notes.txt").touch()
    with pytest.warns(UserWarning):
        stimuli = load_stimuli(folder, ids=["c", "e\u0301"])
    assert stimuli.ids == ("c", "é") and stimuli.classes == ("cat", "dog")
    assert stimuli.left_out == ("notes.txt",)
    with pytest.raises(StimulusError, match="empty"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_stimuli(folder, ids=["c", ""])


def test_one_text_is_no_list_of_ids(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png", "b.png", "c.png"])
    with pytest.raises(InvalidArgument, match=r"put it in a list: stimuli\.select\(\['a\.png'\]"):
        load_stimuli(folder).select("a.png")
    for source in (folder, [folder / "a.png"], np.zeros((3, 4, 4, 3), np.uint8)):
        with pytest.raises(InvalidArgument, match=r"put it in a list: ids=\['abc'\]"):
            load_stimuli(source, ids="abc")


def test_select_and_slice(image_folder: MakeFolder) -> None:
    stimuli = load_stimuli(image_folder(["a/0.png", "b/1.png", "c/2.png"]))
    chosen = stimuli.select(["c/2.png", "a/0.png"])
    assert chosen.ids == ("c/2.png", "a/0.png") and chosen.targets.tolist() == [2, 0]
    assert np.asarray(chosen.image(0)).max() == 2
    assert stimuli[1:].ids == ("b/1.png", "c/2.png") and stimuli[::-1].targets.tolist() == [2, 1, 0]
    assert len(stimuli[:2]) == 2
    with pytest.raises(StimulusError, match=r"2 of 3 ids are not among .*: x, y\. Nearest"):
        stimuli.select(["x", "a/0.png", "y"])
    with pytest.raises(InvalidArgument, match=r"stimuli\[:10\]"):
        stimuli[0]  # type: ignore[index]
    with pytest.raises(StimulusError, match="no stimuli"):
        stimuli[5:]


def test_bytes_are_read_once(image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    stimuli = load_stimuli(image_folder(["a.png"]))
    opened = []
    original = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: opened.append(self) or original(self, *a, **k)
    )
    image, digest = stimuli.read(0)
    assert len(opened) == 1 and image.size == (6, 8)
    assert digest == stimuli.digest(0)


def test_broken_images_are_named_by_file(image_folder: MakeFolder) -> None:
    folder = image_folder(["a.png", "b.png"])
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:2000])
    stimuli = load_stimuli(folder)
    for action in (stimuli.read, stimuli.image):
        with pytest.raises(ImageError, match=r"images/a\.png' is truncated"):
            action(0)
    (folder / "b.png").unlink()
    for action in (stimuli.read, stimuli.image, stimuli.digest):
        with pytest.raises(ImageError, match=r"images/b\.png"):
            action(1)
    arrays = StimulusSet(("x",), (np.full((2, 2), np.nan),))
    with pytest.raises(ImageError, match=r"Stimulus 'x': .*NaN"):
        arrays.read(0)


def test_digests_tell_arrays_apart() -> None:
    base = np.zeros((2, 3), np.uint8)
    arrays = (base, base.T, base.astype("u2"), base + 1)
    stimuli = StimulusSet(tuple("abcd"), arrays)
    assert len({stimuli.digest(row) for row in range(4)}) == 4
    turned = StimulusSet(("a",), (np.asfortranarray(base),))
    assert turned.digest(0) == stimuli.digest(0), "memory order is no difference"
