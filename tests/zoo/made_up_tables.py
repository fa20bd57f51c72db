"""Tables of one checkpoint, written for a test."""

import json

from thingsvision.zoo.checkpoints import TABLE, Checkpoints, entries


def toml(value):
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def table(tmp_path, like="efficientnet_lite0", **changes):
    """A table of one entry, called x: that of another with other values; gives its source."""
    entry = {**entries(TABLE)[like], **changes}
    lines = ["[x]", *(f"{key} = {toml(value)}" for key, value in entry.items())]
    path = tmp_path / f"table {len(list(tmp_path.iterdir()))}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return Checkpoints(path)
