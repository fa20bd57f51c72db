"""The contract of a feature store, and the bookkeeping that all stores share.

A store is a folder. While it is written, ``meta.json`` says ``"unfinished"``, and
``progress.txt`` lists the batches that are safely on disk; an array carries the name
it will be found under only when it is complete.
"""

from __future__ import annotations

import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, listing
from ..features import Features, FeatureSet
from ..provenance import differences
from ..stimuli import StimulusSet

META, STIMULI, NAMES, PROGRESS = "meta.json", "stimuli.csv", "file_names.txt", "progress.txt"
# Characters that no file system minds, beside letters and digits.
SAFE = "._-+=@,()[] "


class Store(ABC):
    """A folder of features, written batch by batch.

    Parameters
    ----------
    folder : path
        Made if it is missing.

    Notes
    -----
    A format adds four methods: `create`, `put`, `close` and `get`.
    """

    format: str

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()
        self._written: dict[int, list[str]] = {}
        self._arrays: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Reserve the space of an array, or open what an interrupted run left of it."""

    @abstractmethod
    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""

    @abstractmethod
    def flush(self) -> None:
        """Bring everything that was put to the disk."""

    @abstractmethod
    def close(self) -> None:
        """Let go of all files."""

    @abstractmethod
    def complete(self, file: str) -> None:
        """Give a complete array the name that it is found under."""

    @abstractmethod
    def get(self, file: str) -> NDArray[Any]:
        """Open a complete array lazily."""

    def begin(self, request: Mapping[str, Any], stimuli: StimulusSet) -> bool:
        """Claim the folder for a request.

        Parameters
        ----------
        request : dict
            What the features shall be, in plain values.
        stimuli : StimulusSet
            Their stimuli.

        Returns
        -------
        bool
            Whether these very features are there already, complete.

        Raises
        ------
        StoreError
            If the folder holds other features, or images have changed since.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The folder {str(self.folder)!r} cannot be made: {error}") from error
        if not (self.folder / META).is_file():
            self._refuse_foreign()
            self._write_meta({"status": "unfinished", "request": dict(request)})
            return False
        meta = read_meta(self.folder)
        changed = differences(meta["request"], json.loads(json.dumps(request)))
        if changed:
            raise StoreError(
                f"{str(self.folder)!r} holds features of another request: {listing(changed)}. "
                "Choose another folder, or delete this one."
            )
        if meta["status"] == "finished":
            self._refuse_changed(stimuli)
            return True
        self._arrays = meta.get("arrays", {})
        self._written = self._read_progress(stimuli)
        return False

    def has(self, start: int) -> bool:
        """Tell whether the batch that starts at a row is safely on disk."""
        return start in self._written

    def write(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        axes: Mapping[str, tuple[str, ...]],
        digests: Sequence[str],
        n_stimuli: int,
    ) -> None:
        """Write a batch of all modules.

        Parameters
        ----------
        start : int
            Row of its first stimulus.
        arrays : dict of str to array, shape (n_in_batch, ...)
            By module address.
        axes : dict of str to tuple of str
            Names of each array's axes.
        digests : sequence of str
            Of the batch's images.
        n_stimuli : int
            Rows that the complete arrays will have.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written.
        """
        try:
            if not self._arrays:
                self._arrays = {
                    address: {
                        "file": self.file_name(address),
                        "shape": [n_stimuli, *array.shape[1:]],
                        "dtype": array.dtype.str,
                        "axes": list(axes[address]),
                    }
                    for address, array in arrays.items()
                }
                request = read_meta(self.folder)["request"]
                self._write_meta(
                    {"status": "unfinished", "request": request, "arrays": self._arrays}
                )
            for address, array in arrays.items():
                entry = self._arrays[address]
                self.create(entry["file"], tuple(entry["shape"]), np.dtype(entry["dtype"]))
                self.put(entry["file"], start, array)
            self.flush()
            # The line follows the data to the disk: a batch that is listed is complete.
            with (self.folder / PROGRESS).open("a", encoding="utf-8") as file:
                file.write(f"{start} {' '.join(digests)}\n")
        except OSError as error:
            self.close()
            raise StoreError(
                f"Writing to {str(self.folder)!r} failed: {error}. What was finished is kept; "
                "make room and run the same command again, which goes on from here."
            ) from error
        self._written[start] = list(digests)

    def finish(self, stimuli: StimulusSet, provenance: Mapping[str, Any]) -> None:
        """Write the tables beside the arrays, and declare the store complete."""
        self.close()
        digests = [digest for start in sorted(self._written) for digest in self._written[start]]
        with (self.folder / STIMULI).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["row", "id", "target", "class", "digest", "status"])
            for row, name in enumerate(stimuli.ids):
                target: list[object] = ["", ""]
                if stimuli.targets is not None:
                    number = int(stimuli.targets[row])
                    target = [number, stimuli.classes[number]]
                writer.writerow([row, name, *target, digests[row], "ok"])
        lines = "".join(f"{name}\n" for name in stimuli.ids)
        (self.folder / NAMES).write_text(lines, encoding="utf-8")
        for entry in self._arrays.values():
            self.complete(entry["file"])
        request = read_meta(self.folder)["request"]
        self._write_meta(
            {
                "status": "finished",
                "format": self.format,
                "arrays": self._arrays,
                "request": request,
                "provenance": dict(provenance),
            }
        )
        with suppress(FileNotFoundError):
            (self.folder / PROGRESS).unlink()

    def read(self) -> FeatureSet:
        """Open the features lazily.

        Raises
        ------
        StoreError
            If the store is unfinished.
        """
        meta = read_meta(self.folder)
        if meta["status"] != "finished":
            raise StoreError(
                f"The features in {str(self.folder)!r} are unfinished. Run the same command "
                "again: it goes on where it stopped."
            )
        rows = _read_rows(self.folder)
        ids = tuple(row["id"] for row in rows)
        has_targets = bool(rows) and all(row["target"] != "" for row in rows)
        targets = np.array([int(row["target"]) for row in rows]) if has_targets else None
        return FeatureSet(
            {
                address: Features(
                    self.get(entry["file"]), ids, address, tuple(entry["axes"]), targets,
                    meta["provenance"],
                )
                for address, entry in meta["arrays"].items()
            }
        )  # fmt: skip

    def file_name(self, address: str) -> str:
        """Spell a module address so that every file system takes it."""
        return quote(address, safe=SAFE).replace(" ", "%20")

    def _refuse_foreign(self) -> None:
        present = [item.name for item in self.folder.iterdir() if not item.name.startswith(".")]
        if present:
            raise StoreError(
                f"The folder {str(self.folder)!r} holds other files ({listing(present, 5)}) and "
                "no features. Choose a new or empty folder."
            )

    def _refuse_changed(self, stimuli: StimulusSet) -> None:
        rows = _read_rows(self.folder)
        changed = [
            row["id"] for number, row in enumerate(rows) if row["digest"] != stimuli.digest(number)
        ]
        if changed:
            raise StoreError(
                f"{len(changed)} images have changed since the features in {str(self.folder)!r} "
                f"were extracted: {listing(changed)}. Choose another folder, or delete this one."
            )

    def _read_progress(self, stimuli: StimulusSet) -> dict[int, list[str]]:
        file = self.folder / PROGRESS
        if not file.is_file():
            return {}
        written = {}
        for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):  # a torn last line is of a batch that is done again
                start, *digests = line.split()
                written[int(start)] = digests
        changed = [
            stimuli.ids[start + offset]
            for start, digests in written.items()
            for offset, digest in enumerate(digests)
            if stimuli.digest(start + offset) != digest
        ]
        if changed:
            raise StoreError(
                f"{len(changed)} images have changed since the unfinished run in "
                f"{str(self.folder)!r}: {listing(changed)}. Delete the folder to start anew."
            )
        return written

    def _write_meta(self, meta: Mapping[str, Any]) -> None:
        # Written beside and moved over, so that there is always a whole one.
        draft = self.folder / f".{META}"
        draft.write_text(json.dumps(meta, indent=1, ensure_ascii=False), encoding="utf-8")
        draft.replace(self.folder / META)


def read_meta(folder: Path) -> dict[str, Any]:
    """Read ``meta.json`` of a store.

    Raises
    ------
    StoreError
        If the folder is no feature store.
    """
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(
            f"{str(folder)!r} is no folder of features: it has no {META}. "
            "thingsvision extract makes one."
        ) from error
    except (json.JSONDecodeError, OSError) as error:
        raise StoreError(f"{META} in {str(folder)!r} cannot be read: {error}") from error
    return meta


def _read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / STIMULI).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
