"""Ctrl-C: the program says that something is kept where something is, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from thingsvision.store import base
from thingsvision.streaming import save_whole

from .conftest import Run

EXTRACT = ("extract", "networks.py:make_network", "images", "-m", "0", "-o", "out",
           "--batch-size", "2")  # fmt: skip
KEPT, NOTHING = "What was finished is kept", "Nothing was finished yet"


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Press Ctrl-C as soon as some batches are written."""

    def after(count: int) -> None:
        write, written = base.Store.write, []

        def stopped(*args: object) -> None:
            if len(written) == count:
                raise KeyboardInterrupt
            write(*args)  # type: ignore[arg-type]
            written.append(args)

        monkeypatch.setattr(base.Store, "write", stopped)

    monkeypatch.after = after  # type: ignore[attr-defined]
    return monkeypatch


@pytest.mark.parametrize(("n_written", "said", "unsaid"), [(0, NOTHING, KEPT), (1, KEPT, NOTHING)])
def test_extract(
    run: Run, place: Path, interrupt: pytest.MonkeyPatch, n_written: int, said: str, unsaid: str
) -> None:
    interrupt.after(n_written)  # type: ignore[attr-defined]
    result = run(*EXTRACT)
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1].startswith("Stopped. ") or "Stopped. " in result.err
    assert said in result.err and unsaid not in result.err


def test_what_an_earlier_run_kept_counts(
    run: Run, place: Path, interrupt: pytest.MonkeyPatch
) -> None:
    interrupt.after(1)  # type: ignore[attr-defined]
    assert run(*EXTRACT).code == 130
    interrupt.undo()
    interrupt.chdir(place)

    def at_once(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    interrupt.setattr("thingsvision.zoo.load_model", at_once)
    assert KEPT in run(*EXTRACT).err
    assert "Nothing" in run(*EXTRACT[:5], "-o", "elsewhere").err
    assert run(*EXTRACT, "--shard", "1/2").code == 130


@pytest.mark.parametrize(("n_written", "said"), [(0, "No RDM was written yet"), (1, "that were")])
def test_rdm_in_one_pass(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, n_written: int, said: str
) -> None:
    written: list[Path] = []

    def stopped(rdm: object, path: Path) -> Path:
        if len(written) == n_written:
            raise KeyboardInterrupt
        written.append(save_whole(rdm, path))  # type: ignore[arg-type]
        return path

    monkeypatch.setattr("thingsvision.rsa.rdm_set.save_whole", stopped)
    result = run("rdm", "networks.py:make_network", "images", "-m", "*", "-o", "rdms")
    assert result.code == 130
    assert said in " ".join(result.err.split())
    assert (place / "rdms").exists() == bool(n_written)
