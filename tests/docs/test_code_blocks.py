"""Every code block of the README and of the documentation, run in order per page, without a key and without a network.

A block of Python is a cell: it may await. One with a title is a file, which runs as a program. One whose first line is
`# needs …` says what is not here, and is compiled only. Lines of shell are held against what they name.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import dataclass, fields
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from crew_nb._state import errors as _errors
from crew_nb._state.options import Options
from tests.support.kernel import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^([ ]*)```(\w*)([^\n]*)\n(.*?)^\1```[ ]*$", flags=re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """One fenced block."""

    language: str
    title: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order; indented ones are in a fold."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', match[3])
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(match[2], title[1] if title else "", textwrap.dedent(match[4]), line))
    return found


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(autouse=True, scope="module")
def _tracker() -> None:
    """The process that Python starts once, when Dask starts its first worker, is no leak of a page."""
    resource_tracker.ensure_running()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record and a working directory of the page's own, and no LLM but the offline one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    cnb.set_record(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("kept")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("page", PAGES, ids=name)
async def test_code_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """Each block does what it says, after those before it, with the crew of the quickstart."""
    cells: dict[str, Any] = {"__name__": "__main__"}
    if page.stem != "index":
        (crew,) = (b for b in blocks(ROOT / "docs" / "index.md") if "def build_research_crew" in b.code)
        await run_cell(crew, cells, page)
        cells["llm"].latency, cells["llm"].tokens_per_second = (
            0.05,
            None,
        )  # a page's LLM takes its time, a test need not
    for block in blocks(page):
        if block.language == "python" and block.code.startswith("# needs "):
            compile_cell(block, page)
        elif block.language == "python" and block.title:
            run_file(block, tmp_path, page)
        elif block.language == "python":
            await run_cell(block, cells, page)
        elif block.language == "bash":
            for line in block.code.splitlines():
                check_shell(line.partition("  #")[0].strip())
        else:
            assert block.language == "text", f"{name(page)}:{block.line}: {block.language or 'nothing'} is not run"


def compile_cell(block: Block, page: Path) -> Any:
    """The code of a cell, which may await."""
    code = "\n" * (block.line - 1) + block.code
    return compile(code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def run_cell(block: Block, cells: dict[str, Any], page: Path) -> None:
    """Run it as a notebook runs a cell."""
    answer = eval(compile_cell(block, page), cells)
    if inspect.iscoroutine(answer):
        await answer


def run_file(block: Block, folder: Path, page: Path) -> None:
    """Run it as a program of its own."""
    (folder / block.title).write_text(block.code, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, block.title], cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, f"{name(page)}:{block.line}: {done.stderr}"
    assert done.stdout


def check_shell(line: str) -> None:
    """What a line of shell names is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if make := re.fullmatch(r"make ([a-z-]+)", line):
        assert re.search(rf"^{make[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    elif line == "pip install .":
        assert (ROOT / "pyproject.toml").exists()
    elif install := re.fullmatch(r"pip install '?([a-z-]+)(?:\[([a-z,]+)\])?'?(?: jupyterlab)?", line):
        assert install[1] == project["name"]
        assert set((install[2] or "").split(",")) - {""} <= project["optional-dependencies"].keys()
    elif line.startswith("python -m crew_nb.benchmark"):
        command = [sys.executable, *line.split()[1:], "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    elif app := re.fullmatch(r"marimo (edit|run) crew_nb_notebooks/(\w+\.py)", line):
        assert (ROOT / "notebooks" / app[2]).exists()
        command = [
            sys.executable,
            "-m",
            "marimo",
            app[1],
            "--help",
        ]  # test_board_in_marimo.py has the app
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    elif re.fullmatch(r"python -m crew_nb(?: quickstart)?(?: \w+)?", line):
        command = [sys.executable, "-m", "crew_nb", "--help"]  # what each does is tried in test_wheel.py
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    else:
        pytest.fail(f"nobody knows whether this works: {line}")


def test_the_reference_has_every_option_with_its_default() -> None:
    """An option that is added, renamed or given another default is seen in the table."""
    table = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", (ROOT / "docs" / "reference.md").read_text(), flags=re.MULTILINE)
    assert dict(table) == {field.name: repr(field.default) for field in fields(Options)}


def test_the_reference_has_every_public_name() -> None:
    """Each is on the page by itself, or as a member of the module of errors."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: crew_nb\.(?:\w+\.)*(\w+)$", text, flags=re.MULTILINE))
    errors = {name for name in cnb.__all__ if name.endswith("Error")}
    extension = {"load_ipython_extension", "unload_ipython_extension"}
    assert set(cnb.__all__) - errors - extension <= named
    assert errors <= vars(_errors).keys()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    """Pictures, pages and files of this repository; addresses elsewhere are not asked."""
    links = re.findall(r'(?:src|srcset)="([^"]+)"|\]\(([^)\s]+)\)', FENCE.sub("", page.read_text(encoding="utf-8")))
    places = {(link or text).partition("#")[0] for link, text in links}
    missing = [place for place in places if place and ":" not in place and not (page.parent / place).exists()]
    assert missing == []


def test_a_page_that_does_not_work_is_found(tmp_path: Path) -> None:
    """A block that raises, one that does not compile and a shell line that nobody knows are failures."""
    page = ROOT / "README.md"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_cell(Block("python", "", "1 / 0", 1), {}, page))
    with pytest.raises(SyntaxError):
        compile_cell(Block("python", "", "# needs a key\nawait await", 1), page)
    with pytest.raises(AssertionError, match="boom"):
        run_file(Block("python", "a.py", "raise SystemExit('boom')", 1), tmp_path, page)
    for line in ("make nothing", "pip install crew-nb[nothing]", "rm -r here"):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check_shell(line)
