"""What all stores share: a folder that is finished or visibly unfinished.

While a folder is written, ``meta.json`` says ``"unfinished"``, ``progress.txt`` lists the batches
that are on disk, and an array carries the name it will be found under only when it is complete.

Every `SYNC_SECONDS` the rows are forced onto the disk (``fsync``), and only then are their batches
listed. So what is listed is whole after the end of the process at any moment, ``kill -9`` included,
and after a power failure; what was not listed yet is computed again. An array, the tables and
``meta.json`` are forced onto the disk before they get the names they are found under.

Several processes may each fill a part of the rows. What concerns all of them
(``meta.json``, laying out the arrays, the finish) is done by one at a time; each lists its own
batches, and whoever finds all of them listed finishes.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..features import FeatureSet
from ..provenance import digest_items, plain
from ..stimuli import StimulusSet
from ..text_files import reason_of
from . import records
from .claims import refuse_changed, refuse_elsewhere, refuse_foreign, refuse_other
from .disk import sync
from .failures import failures, refuse_nothing, without_mended
from .lock import alone
from .naming import file_names
from .reading import read_store, spec
from .remote import LOOK, is_remote, location
from .sums import MARK, Sums, only_sums, sums_of, without_sums

# Where the record has the checksums of each batch, in the order of the batches and arrays.
SUMS = "checksums"
# Where the provenance says which batches were run in parts, for want of memory.
PARTS = "parts"
# Work that a power failure or kill -9 may cost, in seconds.
SYNC_SECONDS = 5.0


class Store(ABC):
    """A folder of features, written batch by batch; a `Sink`.

    Parameters
    ----------
    folder : path
        Made if it is missing.

    Notes
    -----
    A format adds the methods that are abstract here. ``file`` is a name without suffix, made of
    a module's address; ``shape`` that of the complete array.
    """

    format: str

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = location(folder)
        self._written: dict[int, list[str]] = {}
        self._arrays: dict[str, dict[str, Any]] = {}
        self._unlisted: dict[int, list[str]] = {}
        self._synced = monotonic()
        self._is_prepared = False
        self._part = ""
        self._of_others: dict[int, list[str]] = {}

    @abstractmethod
    def create(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Reserve the space of an array, or open what an interrupted run left of it."""

    @abstractmethod
    def put(self, file: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows of an array, from row `start` on."""

    @abstractmethod
    def flush(self) -> None:
        """Hand everything that was put to the operating system.

        From then on it outlives this process, but not the operating system.
        """

    @abstractmethod
    def sync(self) -> None:
        """Force everything that was put onto the disk; it then survives a power failure."""

    @abstractmethod
    def release(self) -> None:
        """Let go of all files. What was written stays; may be called twice."""

    @abstractmethod
    def holds(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an array's file is there, complete or not, and of the right size."""

    @abstractmethod
    def complete(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Give a complete array the name that it is found under; may be called twice."""

    @abstractmethod
    def get(self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Open a complete array lazily: an array, a memory map, or a `LazyArray`."""

    def reopen(  # noqa: B027  # most formats are written in place
        self, file: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        """Make a complete array one that `create` goes on with; may be called twice."""

    def take_part(self, part: str) -> None:
        """Fill a part of the rows only, such as ``"2-of-5"``, while other processes fill others.

        Comes before ``begin``. Batches that others have written by then are not written again.
        """
        self._part = part

    def missing(self) -> list[int]:
        """Find the batches that nobody has written: the first row of each.

        Returns
        -------
        list of int
            Empty for a finished folder.
        """
        if records.read_meta(self.folder)["status"] == records.FINISHED:
            return []
        self._of_others = records.read_other_progress(self.folder, self._part)
        step = int(self._request.get("batch_size", 1))
        return [start for start in range(0, len(self._stimuli), step) if not self.has(start)]

    def failures(self) -> dict[str, str]:
        """Find the stimuli of the batches written here that failed: id → reason."""
        found: dict[str, str] = {}
        for start, digests in self._written.items():
            digests = without_sums(digests)
            found |= failures(self._stimuli.ids[start : start + len(digests)], digests)
        return found

    def begin(
        self, request: Mapping[str, Any], provenance: Mapping[str, Any], stimuli: StimulusSet
    ) -> bool:
        """Claim the folder for a request; as in `Sink`.

        Raises
        ------
        StoreError
            If the folder holds anything else, images have changed since, another environment
            began, or the folder cannot be written.
        """
        self._request, self._provenance = plain(request), plain(provenance)
        self._stimuli = stimuli
        with self._alone():
            return self._begun()

    def _begun(self) -> bool:
        if not (self.folder / records.META).is_file():
            with self._writing():
                self.folder.mkdir(parents=True, exist_ok=True)
                refuse_foreign(self.folder)
                self._write_meta(records.UNFINISHED)
            return False
        meta = records.read_meta(self.folder)
        wanted = {"format": self.format, "request": self._request}
        refuse_other(self.folder, meta, wanted, self._stimuli.ids)
        self._arrays = meta.get("arrays", {})
        if parts := meta.get("provenance", {}).get(PARTS):
            self._provenance[PARTS] = parts
        if meta["status"] == records.FINISHED:
            return not self._reopened(meta)
        refuse_elsewhere(self.folder, meta, self._provenance)
        with self._writing():
            if not self._arrays or not all(self.holds(*spec(e)) for e in self._arrays.values()):
                records.remove_progress(self.folder)
            self._written = records.read_progress(self.folder, self._part)
            self._of_others = records.read_other_progress(self.folder, self._part)
            if self._of_others and not self._part:  # shards came before; this run takes over
                self._written = self._of_others | self._written
                self._of_others = {}
                records.write_progress(self.folder, self._written)
                records.remove_progress(self.folder, of_whole=False)
        refuse_changed(
            self.folder, self._stimuli,
            ((start + offset, digest)
             for start, digests in self._written.items()
             for offset, digest in enumerate(digests)),
        )  # fmt: skip
        kept = without_mended(self._written, self._stimuli)
        if kept != self._written:
            self._go_on_from(kept)
        return False

    def note(self, provenance: Mapping[str, Any]) -> None:
        """Add to the provenance what is known only when the work has begun."""
        noted = plain(provenance)
        if PARTS not in noted:
            self._provenance |= noted
            return
        with self._alone(), self._writing():
            self._learn()
            # An earlier run's stay, and this run's outlive it.
            noted[PARTS] = {**self._provenance.get(PARTS, {}), **noted[PARTS]}
            self._provenance |= noted
            self._write_meta(records.UNFINISHED)

    def has(self, start: int) -> bool:
        """Tell whether the batch that starts at a row is on disk."""
        return start in self._written or start in self._of_others

    def write(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        axes: Mapping[str, tuple[str, ...]],
        digests: Sequence[str],
    ) -> None:
        """Write a batch of all modules; as in `Sink`.

        Raises
        ------
        StoreError
            If the disk is full or cannot be written, or the batch does not fit the others.
        """
        with self._writing():
            if not self._is_prepared:
                with self._alone():
                    self._prepare(arrays, axes)
                self._is_prepared = True
            for address, array in arrays.items():
                file, shape, dtype = spec(self._arrays[address])
                if array.shape[1:] != shape[1:] or array.dtype != dtype:
                    raise StoreError(
                        f"{address!r} gave rows of shape {array.shape[1:]} and type "
                        f"{array.dtype}, but {shape[1:]} and {dtype} before."
                    )
                self.put(file, start, array)
            self.flush()
            sums = sums_of(arrays[address] for address in self._arrays)
            self._written[start] = self._unlisted[start] = [*digests, sums]
            if monotonic() - self._synced >= SYNC_SECONDS:
                self._list()

    def finish(self) -> None:
        """Write the tables beside the arrays, and declare the store complete.

        A part does so if it is the last: if nothing is missing.

        Raises
        ------
        StoreError
            If batches are missing, or the disk cannot be written.
        """
        with self._writing():
            self._list()
        self.release()
        with self._alone():
            if not self._part:
                self._finish()
            elif (
                records.read_meta(self.folder)["status"] != records.FINISHED and not self.missing()
            ):
                self._learn()
                self._written = self._of_others | self._written
                self._finish()

    def _finish(self) -> None:
        digests = records.in_order(self._written, len(self._stimuli))
        refuse_nothing(self._stimuli.ids, digests)
        self._provenance = records.with_content(self._provenance, self._written, len(self._stimuli))
        with self._writing():
            records.write_tables(self.folder, self._stimuli, digests)
            for entry in self._arrays.values():
                self.complete(*spec(entry))
            self._write_meta(records.FINISHED)
            records.remove_progress(self.folder)

    def close(self) -> None:
        """Let go of all files. What was written stays; may be called twice."""
        try:
            with suppress(OSError):  # it was told before, or costs the work of some seconds
                self._list()
        finally:
            self.release()

    def read(self) -> FeatureSet:
        """Open the features lazily.

        Raises
        ------
        StoreError
            If the store is unfinished, or files are missing or damaged.
        """
        return read_store(self.folder, self.get)

    def _list(self) -> None:
        """Force the rows onto the disk, and list their batches: what is listed is whole."""
        if self._unlisted:
            self.sync()
            sync(self.folder)
            if is_remote(self.folder):
                records.put_progress(self.folder, self._unlisted, self._part)
                self._unlisted = {}
            for start in list(self._unlisted):
                records.append_progress(self.folder, start, self._unlisted[start], self._part)
                del self._unlisted[start]
        self._synced = monotonic()

    def _reopened(self, meta: Mapping[str, Any]) -> bool:
        """Open a finished store again if images that failed can be decoded by now."""
        digests = records.digests_of(records.read_stimuli(self.folder))
        refuse_changed(self.folder, self._stimuli, enumerate(digests))
        step = int(self._request.get("batch_size", 1))
        starts = range(0, len(digests), step)
        sums = meta.get(SUMS) or [""] * len(starts)
        whole = {
            start: [*digests[start : start + step], Sums(f"{MARK}{word}")]
            for start, word in zip(starts, sums, strict=True)
        }
        kept = without_mended(whole, self._stimuli)
        if kept == whole:
            with suppress(OSError):  # left by a run that was killed at the very end
                records.remove_progress(self.folder)
            return False
        refuse_elsewhere(self.folder, meta, self._provenance)
        self._go_on_from(kept)
        with self._writing():
            self._write_meta(records.UNFINISHED)
        return True

    def _go_on_from(self, written: dict[int, list[str]]) -> None:
        """Forget that other batches were written, also on the disk."""
        with self._writing():
            for entry in self._arrays.values():
                self.reopen(*spec(entry))
            records.write_progress(self.folder, written, self._part)
        self._written = written

    def _prepare(
        self, arrays: Mapping[str, NDArray[Any]], axes: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Reserve the arrays, as the first batch, or another process, found them to be."""
        self._learn()
        if not self._arrays:
            names = file_names(list(arrays))
            self._arrays = {
                address: {
                    "file": names[address],
                    "shape": [len(self._stimuli), *array.shape[1:]],
                    "dtype": array.dtype.str,
                    "axes": list(axes[address]),
                }
                for address, array in arrays.items()
            }
            self._write_meta(records.UNFINISHED)
        for entry in self._arrays.values():
            self.create(*spec(entry))

    def _learn(self) -> None:
        """Take over what other processes have recorded of the whole in the meantime."""
        if self._part:
            meta = records.read_meta(self.folder)
            self._arrays = meta.get("arrays", {})
            if parts := meta.get("provenance", {}).get(PARTS):
                self._provenance[PARTS] = {**self._provenance.get(PARTS, {}), **parts}

    def _alone(self) -> AbstractContextManager[None]:
        """Keep other processes that fill parts away for a moment."""
        return alone(self.folder) if self._part else nullcontext()

    def _module(self, file: str) -> str:
        """Find the address of the module whose array a file holds."""
        return next(name for name, entry in self._arrays.items() if entry["file"] == file)

    def _write_meta(self, status: str) -> None:
        meta = {"status": status, "format": self.format, "arrays": self._arrays,
                "ids": digest_items(self._stimuli.ids), "request": self._request,
                "provenance": self._provenance}  # fmt: skip
        if status == records.FINISHED:
            meta[SUMS] = [only_sums(self._written[start]) for start in sorted(self._written)]
        records.write_meta(self.folder, meta)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            mend = LOOK if is_remote(self.folder) else "Make room, or make the folder writable"
            raise StoreError(
                f"Writing to {str(self.folder)!r} failed: {reason_of(error)}. What was finished "
                f"is kept. {mend}, and run the same command again, which goes on from here."
            ) from error
