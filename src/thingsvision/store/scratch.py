"""Features that are needed once: in memory while they fit, in nameless files beyond."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StimulusError, StoreError, counted
from ..features import Features, FeatureSet
from ..provenance import plain
from ..stimuli import StimulusSet
from ..text_files import reason_of
from .disk import reserve, write_at
from .failures import Failure, failures, refuse_nothing
from .records import in_order, with_content


class Room:
    """Bytes of memory that rows may take, shared by the modules of one or several networks.

    Parameters
    ----------
    n_bytes : int
        All of them.

    Examples
    --------
    >>> room = Room(10)
    >>> room.take(8), room.take(8)
    (True, False)
    """

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = n_bytes

    def take(self, n_bytes: int) -> bool:
        """Take some, if there are as many."""
        if n_bytes > self.n_bytes:
            return False
        self.n_bytes -= n_bytes
        return True


class _Spill:
    """Rows in a file without a name: the system removes it however this process ends."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path) -> None:
        self.shape, self.dtype = shape, dtype
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        self._file: Any = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        size = max(1, shape[0] * self._row)
        try:
            self._file.truncate(size)
            reserve(self._file.fileno(), size)
        except OSError:
            self._file.close()
            raise

    def put(self, start: int, rows: NDArray[Any]) -> None:
        # Written, not mapped: a full disk is then an error, not the end of the process.
        data = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8)
        raw: io.RawIOBase = getattr(self._file, "file", self._file)  # Windows wraps it
        write_at(raw, start * self._row, data.data)

    def array(self) -> NDArray[Any]:
        return np.memmap(self._file, self.dtype, "r+", shape=self.shape)

    def close(self) -> None:
        self._file.close()


class ScratchStore:
    """Rows of modules, to be taken once each; a `Sink`.

    Parameters
    ----------
    room : Room
        What may be in memory; of the modules of a batch the smallest come first.
    folder : path
        Where the others go to.
    refuse_failed : bool
        End the work at the first image that cannot be decoded.

    Examples
    --------
    >>> ScratchStore(Room(2**20), Path()).spilled
    {}
    """

    def __init__(self, room: Room, folder: Path, refuse_failed: bool = True) -> None:
        self._refuse_failed = refuse_failed
        self.spilled: dict[str, int] = {}  # bytes by address
        self._room, self._folder = room, folder
        self._arrays: dict[str, NDArray[Any] | _Spill] = {}
        self._axes: dict[str, tuple[str, ...]] = {}
        self._written: dict[int, list[str]] = {}
        self._failures: dict[str, str] = {}

    def begin(
        self, request: Mapping[str, Any], provenance: Mapping[str, Any], stimuli: StimulusSet
    ) -> bool:
        """Make ready; there is never anything of an earlier run."""
        self._provenance, self._stimuli = plain(provenance), stimuli
        return False

    def note(self, provenance: Mapping[str, Any]) -> None:
        """Add to the provenance."""
        self._provenance |= plain(provenance)

    def has(self, start: int) -> bool:
        """Tell whether the batch that starts at a row is here already."""
        return start in self._written

    def write(
        self,
        start: int,
        arrays: Mapping[str, NDArray[Any]],
        axes: Mapping[str, tuple[str, ...]],
        digests: Sequence[str],
    ) -> None:
        """Keep a batch of all modules.

        Raises
        ------
        StoreError
            If the disk has no room.
        StimulusError
            If an image failed, and that is not allowed.
        """
        if failed := [digest for digest in digests if isinstance(digest, Failure)]:
            self._failed(failed)
        if not self._arrays:
            self._make(arrays)
        for address, rows in arrays.items():
            kept = self._arrays[address]
            if isinstance(kept, _Spill):
                try:
                    kept.put(start, rows)
                except OSError as error:
                    raise self._no_room(error) from error
            else:
                kept[start : start + len(rows)] = rows
            self._axes[address] = axes[address]
        self._written[start] = list(digests)

    def _make(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Reserve all memory and files that the rows of all batches will take."""
        count = len(self._stimuli)
        for address in sorted(arrays, key=lambda address: arrays[address][:1].nbytes):
            rows = arrays[address]
            shape, size = (count, *rows.shape[1:]), count * rows[:1].nbytes
            if self._room.take(size):
                self._arrays[address] = np.empty(shape, rows.dtype)
                continue
            self.spilled[address] = size
            try:
                self._arrays[address] = _Spill(shape, rows.dtype, self._folder)
            except OSError as error:
                raise self._no_room(error) from error

    def _failed(self, reasons: Sequence[str]) -> None:
        if self._refuse_failed:
            lines = "\n  ".join(reasons)
            raise StimulusError(
                f"{counted(len(reasons), 'image')} of a batch cannot be decoded:\n  {lines}\n"
                "Mend or remove them, or leave such images out with drop_failed=True, and run "
                "again."
            )

    def _no_room(self, error: OSError) -> StoreError:
        needed = sum(self.spilled.values())
        return StoreError(
            f"Activations of {len(self.spilled)} modules do not fit the memory, and there is no "
            f"room for them in {str(self._folder)!r}, {needed / 1e9:.3g} GB or more: "
            f"{reason_of(error)}. Name another folder as scratch=…, take fewer modules at a "
            "time, or keep less of each with project=… or reduction='mean'."
        )

    def finish(self) -> None:
        """Give the rows their ids and provenance."""
        count = len(self._stimuli)
        digests = in_order(self._written, count)
        refuse_nothing(self._stimuli.ids, digests)
        self._provenance = with_content(self._provenance, self._written, count)
        self._failures = failures(self._stimuli.ids, digests)

    def take(self, address: str) -> Features:
        """Give the rows of a module, which then are the caller's alone to keep or let go."""
        kept = self._arrays.pop(address)
        return self._features(address, kept, is_last=True)

    def _features(self, address: str, kept: NDArray[Any] | _Spill, is_last: bool) -> Features:
        if isinstance(kept, _Spill):
            array = kept.array()
            if is_last:
                kept.close()  # mapped as it is, it stays until the map is let go
        else:
            array = kept
            self._room.n_bytes += kept.nbytes if is_last else 0
        stimuli = self._stimuli
        return Features(
            array, stimuli.ids, address, self._axes[address], stimuli.targets,
            self._provenance, self._failures,
        )  # fmt: skip

    def read(self) -> FeatureSet:
        """Give the features of all modules that have not been taken."""
        return FeatureSet(
            {name: self._features(name, kept, is_last=False) for name, kept in self._arrays.items()}
        )

    def close(self) -> None:
        """Let go of all that was not taken."""
        for kept in self._arrays.values():
            if isinstance(kept, _Spill):
                with suppress(OSError):
                    kept.close()
        self._arrays = {}
