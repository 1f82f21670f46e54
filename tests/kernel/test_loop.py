"""Real kernels: which place a cell is in, and nested loops with several cells queued (Run All)."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from pathlib import Path

WHERE = (
    "from crew_nb._state.loop import where, environment\np = where()\n(p.kind, p.headless, p.front_end, p.loop_running)"
)


def test_a_live_kernel_and_its_threads():
    """A cell that somebody watches: `await` joins; a bare thread and an async cell know their place too."""
    with Kernel(env={"JPY_SESSION_NAME": "a.ipynb"}) as kernel:
        assert kernel.run(WHERE).result == "('kernel', False, 'jupyterlab', True)"
        kernel.run("await __import__('asyncio').sleep(0)\nq = where()")
        assert kernel.run("q == p").result == "True"
        kernel.run("import threading; found = []\nt = threading.Thread(target=lambda: found.append(where()))")
        kernel.run("t.start(); t.join()")
        assert (
            kernel.run("found[0].kind, found[0].headless, found[0].loop_running").result == "('kernel', False, False)"
        )
        found = kernel.run("environment()")
        assert "await batch" in found.displays[-1]["text/html"]
        text = kernel.run("print(environment())").stdout
        assert f"ipykernel {version('ipykernel')}" in text
        assert "not patched" in text


def test_a_cell_that_nobody_watches_is_headless():
    """nbclient, papermill and nbconvert send `allow_stdin: false`; the next cell of a live front end is live again."""
    with Kernel(allow_stdin=False) as kernel:
        assert kernel.run(WHERE).result == "('kernel', True, 'nbclient', True)"
        assert "waits by itself" in kernel.run("environment().joins").result
        cell = kernel.join(kernel.execute("where().headless", allow_stdin=True))
        assert cell.result == "False"


def test_nbclient_itself():
    """The real headless front end, not only its message."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WHERE)])
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(ROOT)}}).execute()
    assert book.cells[0].outputs[0].data["text/plain"] == "('kernel', True, 'nbclient', True)"


WORK = """
import asyncio
async def work(n):
    await asyncio.sleep(0.05)
    return n
async def outer(n):
    return asyncio.run(work(n))
"""
RUN_ALL = {
    "print(asyncio.run(work(1)))": "1",
    "print(2)": "2",
    "print(asyncio.run(work(3)))": "3",
    "print(await work(4))": "4",
    "print(asyncio.run(asyncio.wait_for(work(5), 2)))": "5",
    "print(await asyncio.gather(outer(6), outer(6)))": "[6, 6]",
    "print(7)": "7",
    "import nest_asyncio; nest_asyncio.apply(); print(asyncio.run(work(8)))": "8",
    "print(asyncio.run(work(9)))": "9",
    "print(10)": "10",
}


def run_all(python: str | Path, *first: str) -> list[str]:
    """What each cell of `RUN_ALL` printed, all of them queued behind the first ones."""
    with Kernel(python) as kernel:
        cells = [kernel.execute(code, stop_on_error=False) for code in (WORK, *first, *RUN_ALL)]
        kernel.wait(lambda: all(cell.done for cell in cells), timeout=60)
        assert [cell.error for cell in cells] == [""] * len(cells)
        return [cell.stdout.strip() for cell in cells[1 + len(first) :]]


ALLOW = "from crew_nb._state.loop import allow_nested_loops; allow_nested_loops()"


def test_run_all_with_nested_loops_loses_no_cell():
    """Cells with `asyncio.run`, old `nest_asyncio.apply()` and `await`, all queued at once, on the newest kernel."""
    assert run_all(sys.executable, ALLOW) == list(RUN_ALL.values())


@pytest.mark.slow
def test_run_all_with_nested_loops_loses_no_cell_on_ipykernel_6(ipykernel_6):
    """The same on ipykernel 6.29.5, where a whole Run All is one pass of the loop; several times, as it is a race."""
    for _ in range(3):
        assert run_all(ipykernel_6, ALLOW) == list(RUN_ALL.values())


CREWS = """
import asyncio
import crew_nb as cnb
from crewai import Agent, Crew, Task
def build():
    llm = cnb.OfflineLLM(latency=0.3, tokens_per_second=None)
    by = Agent(role="Researcher", goal="Find out", backstory="Curious", llm=llm)
    return Crew(agents=[by], tasks=[Task(description="Look", expected_output="A note", agent=by)])
async def joined(batch):
    return await batch
"""
OLD_CELLS = {
    "batch = cnb.kickoff_for_each(build, [{}] * 4, show=False)": "",
    "cnb.allow_nested_loops()": "",
    "len(asyncio.run(joined(batch)).outputs)": "4",
    "bool(asyncio.run(build().akickoff()).raw)": "True",
    "len(cnb.kickoff_for_each(build, [{}] * 4, show=False).wait().outputs)": "4",
    "len((await cnb.kickoff_for_each(build, [{}] * 4, show=False)).outputs)": "4",
}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["this", "oldest"])
def test_crews_run_on_while_old_cells_nest(which, request):
    """Our loop is of the class that is patched: a batch under way, old `asyncio.run` cells and ours all end well."""
    python = sys.executable if which == "this" else request.getfixturevalue("ipykernel_6")
    with Kernel(python) as kernel:
        kernel.run(CREWS)
        cells = [kernel.execute(code, stop_on_error=False) for code in OLD_CELLS]
        kernel.wait(lambda: all(cell.done for cell in cells), timeout=90)
        assert [cell.error for cell in cells] == [""] * len(cells)
        assert [cell.result for cell in cells] == list(OLD_CELLS.values())


def test_nest_asyncio_itself_is_refused_where_it_loses_cells():
    """From ipykernel 7.1 on, under nest_asyncio 1.6.0 a queued cell never runs: it is named, and we do not go on."""
    loses = tuple(map(int, version("ipykernel").split(".")[:2])) >= (7, 1)
    with Kernel() as kernel:
        kernel.run("import nest_asyncio; nest_asyncio.apply()")
        text = kernel.run("from crew_nb._state.loop import environment\nprint(environment())").stdout
        assert "patched by nest_asyncio 1.6.0" in text
        assert ("loses queued cells" in text) == loses
        cell = kernel.run(ALLOW, check=False)
        assert cell.error.startswith("NestedLoopsError: nest_asyncio 1.6.0 is already active") == loses
        assert ("Restart the kernel" in cell.error) == loses
        kernel.run(WORK)
        cells = [kernel.execute(code, stop_on_error=False) for code in ("asyncio.run(work(1))", "print(2)")]
        if loses:
            with pytest.raises(TimeoutError):
                kernel.wait(lambda: all(cell.done for cell in cells), timeout=5)
        else:
            kernel.wait(lambda: all(cell.done for cell in cells))
