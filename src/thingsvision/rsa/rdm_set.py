"""RDMs of several modules by address, in memory or in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import InvalidArgument, listing, unknown
from .loading import load_rdm
from .rdm import RDM


class RDMSet(Mapping[str, RDM]):
    """RDMs of the modules of a network, by address; those in files are read when asked for.

    Parameters
    ----------
    rdms : dict of str to RDM or Path
        In the order of the network's modules.
    failed : dict of str to InvalidArgument
        Modules whose RDM is not defined, and why.

    Examples
    --------
    >>> RDMSet({"fc": RDM(np.array([0.1, 0.8, 0.9]))})
    RDMSet(fc)
    """

    def __init__(
        self, rdms: Mapping[str, RDM | Path], failed: Mapping[str, InvalidArgument] | None = None
    ) -> None:
        self._rdms = dict(rdms)
        self.failed = dict(failed or {})

    @property
    def files(self) -> dict[str, Path]:
        """Where the RDMs lie, of those that are in files."""
        return {name: kept for name, kept in self._rdms.items() if isinstance(kept, Path)}

    def __getitem__(self, module: str) -> RDM:
        if module in self.failed:
            raise self.failed[module]
        if module not in self._rdms:
            raise unknown("module", module, self._rdms, listed_by="list(rdms)")
        kept = self._rdms[module]
        return load_rdm(kept) if isinstance(kept, Path) else kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._rdms)

    def __len__(self) -> int:
        return len(self._rdms)

    def __repr__(self) -> str:
        failed = f"; failed: {listing(list(self.failed), 5)}" if self.failed else ""
        return f"RDMSet({listing(list(self._rdms), 5)}{failed})"


def save_whole(rdm: RDM, path: Path) -> Path:
    """Write an RDM so that there is never half of one under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    try:
        if path.suffix == ".npy":
            np.save(draft, rdm.dissimilarities)
        else:
            rdm.save(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
