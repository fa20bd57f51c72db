"""File names for module addresses that every file system takes, all different on each."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

# Characters that no file system minds, beside letters and digits.
SAFE = "._-+=@,()[]~"
# Names that Windows gives to devices, whatever suffix they carry.
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
# File systems take 255 bytes; a store adds a suffix.
LONGEST = 200


def file_names(addresses: Sequence[str]) -> dict[str, str]:
    """Spell module addresses as file names, without suffix.

    Other characters than letters, digits and ``._-+=@,()[]~`` are percent-encoded, as
    ``urllib.parse.unquote`` undoes it. Of addresses that differ only in case, which some
    file systems do not tell apart, the capitals are encoded as well. Very long ones are
    cut and end in a digest of the whole.

    Parameters
    ----------
    addresses : sequence of str
        All different.

    Returns
    -------
    dict of str to str
        Address → file name; different also where case does not count.

    Examples
    --------
    >>> file_names(["features.10", "block/conv:0", "B[0]", "b[0]"])
    {'features.10': 'features.10', 'block/conv:0': 'block%2Fconv%3A0', 'B[0]': '%42[0]', 'b[0]': 'b[0]'}
    """  # noqa: E501
    names = {address: _encoded(address) for address in addresses}
    folded = Counter(name.lower() for name in names.values())
    for address, name in names.items():
        if folded[name.lower()] > 1:
            name = re.sub("%..|[A-Z]", lambda m: m[0] if len(m[0]) > 1 else _escape(m[0]), name)
        if len(name) > LONGEST:
            name = f"{name[: LONGEST - 33]}-{hashlib.sha256(address.encode()).hexdigest()[:32]}"
        names[address] = name
    return names


def _encoded(address: str) -> str:
    name = quote(address, safe=SAFE)
    # A hidden file would be overlooked, and a device would swallow everything.
    if name.startswith(".") or _DEVICE.match(name):
        name = _escape(name[0]) + name[1:]
    return name


def _escape(character: str) -> str:
    return f"%{ord(character):02X}"
