"""The RDM in a file, of ours or of another program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InvalidArgument, listing
from . import files
from .dissimilarity import may_be_negative
from .matrix import checked
from .rdm import RDM


def load_rdm(
    path: str | Path,
    ids: Sequence[str] | str | Path | None = None,
    variable: str | None = None,
    dissimilarity: str = "",
) -> RDM:
    """Read an RDM that thingsvision or another program wrote.

    Parameters
    ----------
    path : str or Path
        ``.npz``; ``.npy`` and ``.mat`` (any version), square or condensed;
        ``.csv``, ``.tsv`` or ``.txt``, with ids as header and first column or
        without. Nothing in them is ever executed. A condensed ``.npy`` above 128 MB is
        mapped, so nothing of its size is in memory; a square one is read and checked
        part by part.
    ids : sequence of str, or path of a text file with one id a line, optional
        Names of the stimuli, for a file that does not carry them.
    variable : str, optional
        Which of several matrices in a ``.mat`` or ``.npz`` file; inside
        structures it is spelled ``"RDMs[0].RDM"``.
    dissimilarity : str
        How it was measured, for a file that does not say. Estimates below zero are only
        taken from a cross-validated measure, ``"crossnobis"`` or ``"poisson_cv"``.

    Returns
    -------
    RDM
        Without ids if neither the file nor the caller names them.

    Raises
    ------
    InvalidArgument
        If the file holds no dissimilarity matrix (see `RDM.from_matrix`), or
        several and none was chosen; the message names what was found.
    """
    path = Path(path)
    array, found_ids, about = files.read(path, variable)
    if isinstance(ids, str | Path):
        ids = files.read_ids(Path(ids))
    if ids is not None and found_ids is not None and list(ids) != list(found_ids):
        raise InvalidArgument(
            f"{path} names its stimuli itself ({listing(found_ids, 3)}), otherwise than the ids "
            "given. Leave ids out; for another order use load_rdm(path).select(ids)."
        )
    chosen = found_ids if ids is None else ids
    names = None if chosen is None else tuple(chosen)
    measure = files.agreed(path, about.get("dissimilarity", ""), dissimilarity)
    if "provenance" not in about:  # not written by RDM.save
        what = f"{path}, {variable}," if variable else str(path)
        array = checked(array, what, names, may_be_negative(measure))
    return RDM(
        array,
        names,
        measure,
        about.get("provenance", {"file": path.name}),
        about.get("name", path.stem),
    )
