"""Where ``thingsvision rdm`` writes to; looked at before anything is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..zoo import Network


def check_rdm_file(path: Path) -> None:
    """Refuse a file that an RDM cannot be written to, by its suffix."""
    from ..errors import unknown
    from ..rsa.files import WRITERS

    if path.suffix != ".npy" and path.suffix.lower() not in WRITERS:
        raise unknown("RDM file format", path.suffix, [*WRITERS, ".npy"], f"Received: {path}.")


def check_figure_file(path: Path) -> None:
    """Refuse a file that a figure cannot be drawn to, by its suffix."""
    from ..plotting.rdm import check_format

    check_format(path)


# What a folder's files end with, and what one file is checked by.
FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "--out": (".npz", check_rdm_file),
    "--plot": (".png", check_figure_file),
}


def check_target(option: str, path: str | None, n_networks: int = 1) -> None:
    """Refuse, of a path that is given, what can be refused before the modules are known.

    Raises
    ------
    InvalidArgument
        If it is one file for several networks, a file without a suffix, or one of a kind that
        cannot be written.
    """
    from ..errors import InvalidArgument

    if path is None:
        return
    target = Path(path).expanduser()
    if file := next((one for one in target.parents if one.is_file()), None):
        raise InvalidArgument(
            f"{option} {path} would lie in {str(file)!r}, which is a file. Give another place; "
            "folders are made where there are none."
        )
    if is_one_file(path):
        if n_networks > 1:
            raise InvalidArgument(
                f"{option} {path} is one file, for {n_networks} networks. Give a folder."
            )
        FILES[option][1](target)
    elif target.is_file():
        raise InvalidArgument(
            f"{option} {path} is a file without a suffix. Give a name with one, such as "
            f"{path}{FILES[option][0]}, or a folder; it is made where there is none."
        )


def is_one_file(path: str) -> bool:
    """Tell whether a path names a file, which has a suffix, and not a folder."""
    target = Path(path).expanduser()
    return bool(target.suffix) and not target.is_dir() and not path.endswith(("/", os.sep))


def targets(option: str, path: str | None, names: Sequence[str]) -> dict[str, Path]:
    """Find the file of each module: the one named, or one each in a folder.

    Raises
    ------
    InvalidArgument
        If one file is named for several modules, or as `check_target`.
    """
    from ..errors import InvalidArgument, listing
    from ..store.naming import file_names

    if path is None:
        return {}
    check_target(option, path)
    target = Path(path).expanduser()
    if is_one_file(path):
        if len(names) > 1:
            raise InvalidArgument(
                f"{option} {path} is one file, for {len(names)} modules: {listing(names, 5)}. "
                "Choose one of them with -m, or give a folder."
            )
        return {names[0]: target}
    return {name: target / f"{file}{FILES[option][0]}" for name, file in file_names(names).items()}


def network_targets(
    option: str, path: str | None, networks: Sequence[Network], addresses: Sequence[Sequence[str]]
) -> list[dict[str, Path]]:
    """Find the file of each module of each network."""
    from ..streaming import output_folders

    if path is None or len(networks) == 1:
        return [targets(option, path, names) for names in addresses]
    folders = output_folders(Path(path).expanduser(), networks)
    return [
        targets(option, f"{folder}/", names)
        for folder, names in zip(folders, addresses, strict=True)
    ]
