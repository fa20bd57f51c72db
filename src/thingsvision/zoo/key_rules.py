"""From the keys of a published checkpoint to those of an architecture, by rules that are data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import WeightsError, unknown


@dataclass(frozen=True)
class KeyRule:
    """What to do with the keys of a checkpoint, in this order.

    Parameters
    ----------
    inside : str
        Keys, joined by dots, under which the state dict lies in the file.
    prefix : str
        Taken off; keys without it are left away.
    drop : tuple of str
        Beginnings of keys that are left away, such as the head used in training.
    rename : tuple of (str, str)
        Regular expressions and their replacements.
    by_order : bool
        The i-th key is the architecture's i-th key; their shapes must agree.
    """

    inside: str = ""
    prefix: str = ""
    drop: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    by_order: bool = False

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> KeyRule:
        """Make a rule of an entry's table.

        Raises
        ------
        UnknownName
            If there is no such part of a rule.
        """
        values = dict(entry)
        parts = [part.name for part in fields(cls)]
        for name in values:
            if name not in parts:
                raise unknown("part of a key rule", name, parts)
        values["drop"] = tuple(values.get("drop", ()))
        values["rename"] = tuple((old, new) for old, new in values.get("rename", ()))
        return cls(**values)

    def apply(
        self, name: str, state: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give a checkpoint the architecture's keys.

        Parameters
        ----------
        name : str
            Of the checkpoint, for errors.
        state : dict of str to torch.Tensor
            As it lies in the file. What has the architecture's keys already, such as weights
            that were saved again, is left as it is.
        expected : dict of str to torch.Tensor
            State dict of the architecture.

        Returns
        -------
        dict of str to torch.Tensor

        Raises
        ------
        WeightsError
            If the checkpoint cannot be fitted by order.
        """
        if state.keys() == expected.keys():
            return dict(state)
        keyed = dict(state)
        if any(key.startswith(self.prefix) for key in keyed):
            keyed = {
                key.removeprefix(self.prefix): value
                for key, value in keyed.items()
                if key.startswith(self.prefix)
            }
        keyed = {key: value for key, value in keyed.items() if not key.startswith(self.drop)}
        for old, new in self.rename:
            keyed = {re.sub(old, new, key): value for key, value in keyed.items()}
        return _by_order(name, keyed, expected) if self.by_order else keyed

    def dropped(self, state: Mapping[str, Any]) -> list[str]:
        """List the entries of a checkpoint that the rule leaves out."""
        has_prefix = any(key.startswith(self.prefix) for key in state)
        return [
            key
            for key in state
            if (has_prefix and not key.startswith(self.prefix))
            or key.removeprefix(self.prefix).startswith(self.drop)
        ]


def _by_order(name: str, state: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    pairs = list(zip(expected.items(), state.items(), strict=False))
    wrong = [key for (key, want), (_, have) in pairs if want.shape != have.shape]
    if len(expected) != len(state) or wrong:
        raise WeightsError(
            f"The checkpoint {name} has {len(state)} entries for {len(expected)} of the "
            f"architecture, {len(wrong)} of another shape, so it cannot be fitted by order."
        )
    return {key: value for (key, _), (_, value) in pairs}
