from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thingsvision.store.naming import file_names

PARTS = (*"aA.0:*/\\%éÉ ?", "[0]", "%41", "con", "x" * 90)
ADDRESS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join)


@given(st.lists(ADDRESS, unique=True, max_size=12))
def test_every_file_system_takes_them(addresses: list[str]) -> None:
    names = file_names(addresses)
    assert list(names) == addresses
    assert len({name.lower() for name in names.values()}) == len(addresses)
    for address, name in names.items():
        assert name.isascii() and len(name) <= 200 and not name.startswith(".")
        assert not set(name) & set('/\\:*?"<>| ')
        assert len(name) == 200 or unquote(name) == address


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("features.10", "features.10"),
        ("block/conv:0", "block%2Fconv%3A0"),
        ("split[0]", "split[0]"),
        ("V4.output:*", "V4.output%3A%2A"),
        ("con", "%63on"),
        ("Aux.1", "%41ux.1"),
        ("auxiliary", "auxiliary"),
        (".hidden", "%2Ehidden"),
    ],
)
def test_spelling(address: str, name: str) -> None:
    assert file_names([address]) == {address: name}


def test_names_that_differ_in_case_only() -> None:
    names = file_names(["Conv", "conv", "Pool"])
    assert names == {"Conv": "%43onv", "conv": "conv", "Pool": "Pool"}
