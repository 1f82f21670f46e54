"""Every notebook, top to bottom in a real kernel, as nbclient saves it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.kernel import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbformat import NotebookNode

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

BOARDS = {
    "01_quickstart": {"launch": "quickstart: 8 done"},
    "02_parallel_crews": {"launch": "three crews: 3 done"},
    "03_many_inputs": {"launch": "cities: (4 done  1 failed|5 done)"},
    "04_tasks_side_by_side": {"launch": "tasks side by side: 1 done"},
    "05_three_pitfalls": {
        "cap-ours": "no hidden cap: 40 done",
        "shared-ours": "a shared agent: 2 done",
        "tokens-ours": "tokens of a shared LLM: 4 done",
    },
    "06_speed": {"launch": "two at a time: 4 done"},
    "07_inside_a_running_loop": {"top": "joined later: 1 done"},
    "08_a_sweep_for_research": {"begin": r"judging: \d+ done  \d+ cancelled", "go-on": "judging: 200 done"},
    "09_human_input": {"launch": "one of them asks: (1 done  1 failed|2 done)"},
    "10_a_real_provider": {"launch": "no key: offline: 4 done", "refused": "refused: 0 done  2 failed"},
    "11_more_than_one_machine": {"batch": "on two workers: 16 done"},
    "12_the_launcher": {"again": "notice: 4 done"},
    "13_flows": {"launch": "flows: 4 done"},
    "14_agents": {"launch": "one agent: 3 done", "gather": "mixed: 2 done"},
    "15_recorded_answers": {"launch": "a lesson: 3 done"},
    "16_which_is_better": {"launch": "which is better: 180 done"},
}
"""Which cells of each notebook hold a board, and its counts.

Where a later cell retries, both counts are right: nbclient lets that cell's update reach the launching cell's output on
ipykernel 6, and drops it on 7.
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[p.stem for p in NOTEBOOKS])
def test_notebook_runs_and_keeps_its_final_boards(path: Path) -> None:
    """No cell raises but those that say so; the saved notebook shows finished boards without a kernel or a script."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert "Teaches: " in book.cells[0].source
    assert not any(cell.get("outputs") for cell in book.cells), "commit notebooks without outputs: nbstripout"
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    cells = {cell.id: cell for cell in book.cells}
    boards = {}
    for cell in book.cells:
        for data in (output.data for output in cell.get("outputs", ()) if output.output_type == "display_data"):
            counts = re.search(r"^.+: \d+ (done|failed|cancelled).*", data["text/plain"], flags=re.MULTILINE)
            if counts:
                boards[cell.id] = counts[0]
                assert 'class="crew-nb' in data["text/html"]
                assert "<script" not in data["text/html"]
                assert not [kind for kind in data if "widget" in kind], "a widget is empty without its kernel"
    expected = BOARDS[path.stem]
    assert boards.keys() == expected.keys()
    assert "widgets" not in book.metadata, "state of widgets that nobody can see"
    for place, counts in boards.items():
        assert re.fullmatch(expected[place], counts)
    if path.stem in CHECKS:
        CHECKS[path.stem](cells)


Cells = dict[str, "NotebookNode"]


def check_quickstart(cells: Cells) -> None:
    """Eight reports in the order of the inputs, and nothing printed by CrewAI."""
    assert len(cells) <= 8
    topics = re.findall(r"^--- (.+)$", stdout(cells["join"]), flags=re.MULTILINE)
    assert topics == re.findall(r'"([^"]+)"', cells["launch"].source.splitlines()[0])
    for topic, report in zip(topics, stdout(cells["join"]).split("--- ")[1:], strict=True):
        assert report.count(topic) > 1, "the report is about another topic"
    assert "24 LLM calls" in stdout(cells["cost"])
    assert stdout(cells["crew"]) == stdout(cells["launch"]) == ""


def check_parallel_crews(cells: Cells) -> None:
    """Results in the order of the crews, whichever ended first."""
    assert stdout(cells["bare"]).splitlines() == ["## Heat pumps", "## Who buys heat pumps, and why", "## Heat pumps"]
    assert stdout(cells["join"]).count("done  ") == 3
    assert "in the order of the crews: [0, 1, 2]" in stdout(cells["completed"])


def check_many_inputs(cells: Cells) -> None:
    """Bare CrewAI raises, or loses every result; here the failed run keeps its place, and is done after a retry."""
    assert "invoked synchronously from within a running event loop" in error(cells["sync"])
    assert "batch = cnb.kickoff_for_each(" in shown(cells["sync"])
    assert "0 of 5 results" in stdout(cells["bare"])
    assert [line.partition(":")[0] for line in stdout(cells["join"]).splitlines()] == [
        *("Lagos", "Lima", "Atlantis", "Oslo", "Quito")
    ]
    assert "status 500" in stdout(cells["join"]).splitlines()[2]
    assert "RunFailedError" in shown(cells["errors"])
    assert "5 of 5 results\n## Atlantis" in stdout(cells["retry"])


def check_tasks(cells: Cells) -> None:
    """The three tasks overlapped, and the join began after them and read all three."""
    assert "agent-on-two-async-tasks" not in stdout(cells["check"])
    assert "Executor is already running" in stdout(cells["check"])
    assert stdout(cells["overlap"]).splitlines() == [
        "at the same time: True",
        "the join waited:  True",
        "the join read:    ['history', 'science', 'money']",
    ]


def check_pitfalls(cells: Cells) -> None:
    """Each pitfall is measured going wrong in bare CrewAI, and right here."""
    bare = re.search(r"40 crews, (\d+) LLM calls in flight", stdout(cells["cap-bare"]))
    assert bare is not None
    assert int(bare[1]) <= 32, "Python's default pool has no more threads"
    ours = re.search(r"40 crews, (\d+) LLM calls in flight", stdout(cells["cap-ours"]))
    assert ours is not None
    assert int(bare[1]) < int(ours[1]) <= 40, "all 40 where the machine starts them within the second of a call"
    assert "RuntimeError: Executor is already running" in stdout(cells["shared-bare"])
    assert stdout(cells["shared-ours"]).splitlines() == ["## Tides", "## Winds"]
    truth = numbers(stdout(cells["tokens-truth"]))[0]
    *bare_tokens, bare_total = numbers(stdout(cells["tokens-bare"]))
    assert bare_total == sum(bare_tokens) > truth
    each = numbers(stdout(cells["tokens-ours"]).partition(" - ")[0])
    assert sum(each[:4]) == each[4] == truth


def check_speed(cells: Cells) -> None:
    """Both ways were timed, and the benchmark drew two timelines."""
    assert re.search(r"one by one [\d.]+ s, at once [\d.]+ s", stdout(cells["bare"]))
    (result,) = displays(cells["benchmark"])
    assert result["text/plain"].startswith("4 crews one by one: ")
    assert "One by one, " in result["text/html"]
    assert "At once, " in result["text/html"]
    first, second, third, fourth = map(float, re.findall(r"[\d.]+", shown(cells["queue"])))
    assert first == 0.0
    assert second < min(third, fourth), "two places, so that the third run waits for one of them"


def check_loops(cells: Cells) -> None:
    """Each real error is followed by its hint; joining works from a cell, a function, a thread, a script, an app."""
    assert "asyncio.run() cannot be called from a running event loop" in error(cells["run"])
    assert "await main()" in shown(cells["run"])
    assert "invoked synchronously from within a running event loop" in error(cells["sync"])
    assert 'run = cnb.kickoff(build_crew("tides"))' in shown(cells["sync"])
    assert "## Tides" in stdout(cells["top"])
    assert "## Winds" in stdout(cells["later"])
    assert "## Frosts and ## Rains" in stdout(cells["wait"])
    assert stdout(cells["in-script"]).split("\n")[:2] == ["## Dew", "['## Hail', '## Snow']"]
    assert stdout(cells["ask"]).splitlines() == [
        "tides | ## Tides",
        "winds | ## Winds",
        "rains | done | ## Rains",
        "frosts | done | ## Frosts",
    ]


def check_sweep(cells: Cells) -> None:
    """What the budget left is run by the resume, and nothing twice; a saved file has the same texts."""
    done, of = numbers(stdout(cells["part"]))[:2]
    assert 0 < done < of == 200
    assert stdout(cells["go-on"]) == f"200 of 200 are done; {done} came from the record\n"
    assert "retry" in shown(cells["calls"])
    assert "the same text: True" in stdout(cells["file"])
    assert "200 of 200 done" in stdout(cells["runs"])


def check_human(cells: Cells) -> None:
    """Where nobody can answer the run is refused; feedback makes a second draft, and approval ends it."""
    assert "NobodyToAskError" in shown(cells["refused"])
    assert [line.partition("person: ")[2] for line in stdout(cells["person"]).splitlines()] == [
        "{'text': 'Name the date.'}",
        "{'approve': True}",
    ]
    assert stdout(cells["join"]).splitlines() == [
        "done ## Office move (2 LLM calls)",
        "done ## New canteen (1 LLM calls)",
    ]


def check_provider(cells: Cells) -> None:
    """Without a key the cells that need one say that they are skipped; a refused key is explained."""
    assert "not set" in stdout(cells["setup"])
    assert "skipped" in stdout(cells["models"])
    unreached, refused = stdout(cells["refused"]).splitlines()
    assert "base_url" in unreached
    assert "OPENAI_API_KEY" in refused


def check_dask(cells: Cells) -> None:
    """A Crew is refused with the factory to write; sixteen runs come back in order from two workers."""
    assert "Give a factory" in stdout(cells["crew-refused"])
    assert stdout(cells["join"]).startswith("16 of 16 done")
    assert stdout(cells["join"]).endswith("True\n")


def check_launcher(cells: Cells) -> None:
    """The grid has four rows; Run starts them; the code that is shown is the cell to write."""
    assert len(stdout(cells["inputs"]).splitlines()) == 5
    assert [line.split(" | ")[:2] for line in stdout(cells["join"]).splitlines()] == [
        [topic, tone] for topic in ("the office move", "the canteen") for tone in ("plain", "formal")
    ]
    assert "cnb.kickoff_for_each(\n    build_notice," in stdout(cells["show-code"])


def check_recorded(cells: Cells) -> None:
    """Nothing is spent; what was changed is a miss that says what differs."""
    assert re.search(r"^0 tokens spent, [1-9]", stdout(cells["joined"]), flags=re.MULTILINE)
    assert "one sentence" in stdout(cells["miss"]).split("and not")[0]
    assert "6 answers" in stdout(cells["frame"])


def check_which_is_better(cells: Cells) -> None:
    """What is there is found, what is not is not, five inputs are too few; the saved board has the grid."""
    told = shown(cells["compare"])
    assert re.search(r"twin .*no difference shown", told)
    assert re.search(r"careful .*better", told)
    assert shown(cells["too-few"]).count("too few") == 2
    assert re.search(r"me +judge +180", shown(cells["judge"]))
    assert "0 of 180 outputs rated" in shown(cells["pairs"])
    board = [output.data["text/html"] for output in cells["launch"].outputs if output.output_type == "display_data"]
    assert "Grid: right" in board[-1]
    assert "# which is better" in stdout(cells["report"])


CHECKS: dict[str, Callable[[Cells], None]] = {
    "01_quickstart": check_quickstart,
    "02_parallel_crews": check_parallel_crews,
    "03_many_inputs": check_many_inputs,
    "04_tasks_side_by_side": check_tasks,
    "05_three_pitfalls": check_pitfalls,
    "06_speed": check_speed,
    "07_inside_a_running_loop": check_loops,
    "08_a_sweep_for_research": check_sweep,
    "09_human_input": check_human,
    "10_a_real_provider": check_provider,
    "11_more_than_one_machine": check_dask,
    "12_the_launcher": check_launcher,
    "15_recorded_answers": check_recorded,
    "16_which_is_better": check_which_is_better,
}


@pytest.mark.parametrize(
    "method",
    ["kickoff", "kickoff_async", "akickoff", "kickoff_for_each", "kickoff_for_each_async", "akickoff_for_each"],
)
def test_every_kickoff_of_crewai_is_taught(method: str) -> None:
    """The table in the notebook on loops has each, with what it does and what replaces it."""
    book = nbformat.read(ROOT / "notebooks" / "07_inside_a_running_loop.ipynb", as_version=4)
    (table,) = (cell.source for cell in book.cells if cell.id == "methods")
    (row,) = re.findall(rf"^\| `(?:await )?crew\.{method}\(inputs\)` \|.+$", table, flags=re.MULTILINE)
    assert "`cnb." in row.rsplit("|", 2)[1]


def test_the_runner_of_make_demo_prints_outputs_and_fails_with_the_cell(tmp_path: Path) -> None:
    """`notebooks/run.py` prints streams and results; a cell that raises ends it with status 1 and the traceback."""
    codes = ["print('one')\n1 + 1", "boom = 1 / 0", "print('never')"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    nbformat.write(book, tmp_path / "a.ipynb")
    command = [sys.executable, ROOT / "notebooks" / "run.py", tmp_path / "a.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["one", "2"]
    assert "ZeroDivisionError" in done.stderr
    assert "never" not in done.stdout


def displays(cell: NotebookNode) -> list[NotebookNode]:
    """The mime bundles that the cell displayed."""
    return [output.data for output in cell.get("outputs", ()) if "data" in output]


def shown(cell: NotebookNode) -> str:
    """What the cell displayed, as text."""
    return "\n".join(data.get("text/plain", "") for data in displays(cell))


def stdout(cell: NotebookNode) -> str:
    """What the cell printed, to either stream."""
    return "".join(output.text for output in cell.get("outputs", ()) if output.output_type == "stream")


def error(cell: NotebookNode) -> str:
    """What the cell raised."""
    return "".join(output.evalue for output in cell.get("outputs", ()) if output.output_type == "error")


def numbers(text: str) -> list[int]:
    """The whole numbers in a text."""
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]
