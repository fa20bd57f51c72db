r"""What lies beside the arrays in a store.

``meta.json``
    Status, request, provenance, and for each array its file, shape, dtype and axes.
``stimuli.csv``
    A row per stimulus: row, id, target, class, digest of the image, status: ``ok``, or ``failed``
    if the image could not be decoded, with the reason; the digest is then empty and the rows of
    the arrays are NaN.
``file_names.txt``
    The ids, one per line. A line break inside an id is written as ``\n`` or ``\r``, so that lines
    and rows agree; ``stimuli.csv`` has the exact id.
``progress.txt``
    While a run is unfinished: a line per batch that is on disk, with its first row and the digests
    of its images, or ``!`` and the percent-encoded reason why one could not be decoded; then
    ``=`` and a CRC-32 of each array's rows. A shard has its own, such as ``progress-2-of-5.txt``.
    In an object store, it comes in pieces, such as ``progress.txt.96``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..provenance import digest_items, plain
from ..stimuli import StimulusSet
from ..text_files import reason_of
from .disk import sync
from .failures import Failure, read_spelled, spelled
from .missing import META as META
from .missing import no_features
from .remote import LOOK, is_remote
from .sums import without_sums

STIMULI, NAMES, PROGRESS = "stimuli.csv", "file_names.txt", "progress.txt"
FINISHED, UNFINISHED = "finished", "unfinished"
OK, FAILED = "ok", "failed"
MEND = "Put it back as it was, or delete the folder and extract the features again."
# Of the whole, or of a part; in an object store with the first row of what a piece of it lists.
_PROGRESS = re.compile(r"progress(?:-(\d+-of-\d+))?\.txt(?:\.\d+)?")
_BATCH = re.compile(r"(\d+)((?: (?:[0-9a-f]{64}|![^ ]*))+(?: =[0-9a-f,]*)?)")


def read_meta(folder: Path) -> dict[str, Any]:
    """Read ``meta.json`` of a store.

    Raises
    ------
    StoreError
        If the folder is no feature store.
    """
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_features(folder) from error
    except OSError as error:
        look = LOOK if is_remote(folder) else "Allow yourself to read it, or give another folder"
        raise StoreError(
            f"{META} in {str(folder)!r} cannot be read: {reason_of(error)}. {look}."
        ) from error
    except ValueError as error:
        raise StoreError(
            f"{META} in {str(folder)!r} is not JSON, as thingsvision writes it "
            f"({reason_of(error)}). {MEND}"
        ) from error
    if not isinstance(meta, dict) or not {"status", "request", "format"} <= set(meta):
        raise StoreError(
            f"{META} in {str(folder)!r} was not written by thingsvision, or was changed. {MEND}"
        )
    return meta


def is_begun(folder: Path) -> bool:
    """Tell whether a folder holds finished features, or a batch of unfinished ones."""
    if (folder / META).is_file() and read_meta(folder)["status"] == FINISHED:
        return True
    return any(_parsed(file.read_bytes())[0] for file in _files(folder))


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write ``meta.json`` so that there is always a whole one: beside, then moved over."""
    _replace(folder / META, json.dumps(plain(meta), indent=1, ensure_ascii=False), "utf-8")


def progress_file(folder: Path, part: str = "") -> Path:
    """Name the file that lists the batches of the whole, or of a part such as ``2-of-5``."""
    return folder / (f"progress-{part}.txt" if part else PROGRESS)


def read_progress(folder: Path, part: str = "") -> dict[int, list[str]]:
    """Read which batches are on disk: first row → digests of the images.

    A line that is torn or garbled, because the process or the machine stopped while it was
    written, is removed together with all that follows: those batches are done again.
    """
    file = progress_file(folder, part)
    if is_remote(folder):  # objects are whole
        return _parsed(b"".join(file.read_bytes() for file in _files(folder, part)))[0]
    if not file.is_file():
        return {}
    data = file.read_bytes()
    written, length = _parsed(data)
    if length != len(data):
        # Otherwise the next line would be glued to the torn one.
        with file.open("r+b") as stream:
            stream.truncate(length)
    return written


def read_all_progress(folder: Path) -> dict[int, list[str]]:
    """Read which batches anybody has written."""
    return read_other_progress(folder, None)


def read_other_progress(folder: Path, part: str | None = "") -> dict[int, list[str]]:
    """Read which batches others than a part, or than the whole, have written."""
    written: dict[int, list[str]] = {}
    for file in _files(folder):
        if _part(file) != part:
            try:
                written |= _parsed(file.read_bytes())[0]
            except FileNotFoundError:  # removed by its owner since it was named
                continue
    return written


def remove_progress(folder: Path, of_whole: bool = True) -> None:
    """Forget which batches are on disk; or only which of parts, once they are listed elsewhere."""
    for file in _files(folder):
        if of_whole or _part(file):
            file.unlink(missing_ok=True)


def _files(folder: Path, part: str | None = None) -> list[Path]:
    """Find the files that list batches: of all, or of one part; the whole has the part ``""``."""
    files = sorted(folder.glob("progress*.txt*"), key=lambda file: file.name)
    return [file for file in files if _part(file) is not None and part in (None, _part(file))]


def _part(file: Path) -> str | None:
    match = _PROGRESS.fullmatch(file.name)
    return None if match is None else match[1] or ""


def _parsed(data: bytes) -> tuple[dict[int, list[str]], int]:
    """Split lines of progress up to the first that is torn; give their length, too."""
    written: dict[int, list[str]] = {}
    length = 0
    for line in data.splitlines(keepends=True):
        match = _BATCH.fullmatch(line.rstrip(b"\n").decode("ascii", "replace"))
        if match is None or not line.endswith(b"\n"):
            break
        written[int(match[1])] = [read_spelled(word) for word in match[2].split()]
        length += len(line)
    return written, length


def append_progress(folder: Path, start: int, digests: Sequence[str], part: str = "") -> None:
    """Write that a batch is on disk."""
    with progress_file(folder, part).open("a", encoding="ascii", newline="\n") as file:
        file.write(_lines({start: digests}))


def put_progress(folder: Path, batches: Mapping[int, Sequence[str]], part: str = "") -> None:
    """Write that batches are in an object store: in a piece of its own, as nothing is appended."""
    file = progress_file(folder, part)
    file.with_name(f"{file.name}.{min(batches)}").write_text(_lines(batches), encoding="ascii")


def write_progress(folder: Path, written: Mapping[int, Sequence[str]], part: str = "") -> None:
    """Write which batches are on disk, anew."""
    file = progress_file(folder, part)
    before = [other for other in _files(folder, part) if other.name != file.name]
    _replace(file, _lines(written), "ascii")
    for other in before:
        other.unlink(missing_ok=True)


def _lines(written: Mapping[int, Sequence[str]]) -> str:
    return "".join(
        f"{start} {' '.join(map(spelled, written[start]))}\n" for start in sorted(written)
    )


def _replace(file: Path, text: str, encoding: str) -> None:
    """Write a file so that there is always a whole one: beside, then moved over."""
    if is_remote(file):  # an object is replaced at once
        file.write_text(text, encoding=encoding)
        return
    draft = file.with_name(f".{file.name}")
    draft.write_text(text, encoding=encoding, newline="\n")
    _turn(draft, file)


def _turn(draft: Path, file: Path) -> None:
    """Give a draft its name once it is on the disk, and the name, too."""
    sync(draft)
    draft.replace(file)
    sync(file.parent)


def write_tables(folder: Path, stimuli: StimulusSet, digests: Sequence[str]) -> None:
    """Write ``stimuli.csv`` and ``file_names.txt``."""
    with (folder / STIMULI).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "id", "target", "class", "digest", "status", "reason"])
        for row, name in enumerate(stimuli.ids):
            target: list[object] = ["", ""]
            if stimuli.targets is not None:
                number = int(stimuli.targets[row])
                target = [number, stimuli.classes[number] if stimuli.classes else ""]
            digest = digests[row]
            became = ["", FAILED, digest] if isinstance(digest, Failure) else [digest, OK, ""]
            writer.writerow([row, name, *target, *became])
    write_names(folder, stimuli.ids)
    sync(folder / STIMULI)
    sync(folder / NAMES)


def write_names(folder: Path, ids: Sequence[str]) -> None:
    """Write ``file_names.txt``: an id on each line, line breaks inside it spelled out."""
    with (folder / NAMES).open("w", newline="\n", encoding="utf-8") as file:
        for name in ids:
            line = name.replace("\r", "\\r").replace("\n", "\\n")
            file.write(f"{line}\n")


def read_stimuli(folder: Path) -> list[dict[str, str]]:
    """Read ``stimuli.csv``, a dict of each row.

    Raises
    ------
    StoreError
        If it is missing or broken.
    """
    try:
        with (folder / STIMULI).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise StoreError(
            f"{STIMULI} in {str(folder)!r} is missing: it says which row is which stimulus. {MEND}"
        ) from error
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise StoreError(
            f"{STIMULI} in {str(folder)!r} cannot be read: {reason_of(error)}. {MEND}"
        ) from error
    if any(None in row.values() or not {"id", "target", "digest"} <= set(row) for row in rows):
        raise StoreError(f"{STIMULI} in {str(folder)!r} is not as thingsvision wrote it. {MEND}")
    return rows


def digests_of(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Take the digest, or the `Failure`, of each row of ``stimuli.csv``."""
    return [
        Failure(row.get("reason", "")) if row.get("status") == FAILED else row["digest"]
        for row in rows
    ]


def in_order(written: Mapping[int, Sequence[str]], count: int) -> list[str]:
    """Join the digests of all batches, row by row.

    Raises
    ------
    StoreError
        If batches are missing.
    """
    digests: list[str] = []
    for start in sorted(written):
        if start != len(digests):
            break
        digests += without_sums(written[start])
    if len(digests) != count:
        raise StoreError(f"Only the first {len(digests)} of {count} rows have been written.")
    return digests


def with_content(
    provenance: Mapping[str, Any], written: Mapping[int, Sequence[str]], count: int
) -> dict[str, Any]:
    """Put the digest of all images, in order, into the provenance."""
    content = digest_items(in_order(written, count))
    return {**provenance, "stimuli": {**provenance.get("stimuli", {}), "content": content}}
