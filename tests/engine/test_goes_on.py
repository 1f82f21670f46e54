"""A run that did not come to its end goes on inside: what its tasks had done is not run again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Crew, Task
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tools import tool

import crew_nb as cnb
from tests.support import crews
from tests.support.kernel import ROOT
from tests.support.scripted_llm import ScriptedLLM, tool_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Path]:
    """A record of its own."""
    cnb.set_record(tmp_path / "runs.sqlite")
    yield tmp_path / "runs.sqlite"
    cnb.set_record(None)


class Office:
    """Six tasks: two async ones, then those that join them; each says what it was told, so that contexts are seen.

    What changes is in files, as a run is known by all that its factory can see.
    """

    names = tuple(f"task {n}" for n in range(6))

    def __init__(self, folder: Path, tool_in: str = "", *, fails: str = "") -> None:
        self.folder = folder
        self.tool_in = tool_in
        self.fail(fails)

    def fail(self, name: str, how: str = "raise") -> None:
        """Let the LLM of that task fail from now on, and no other."""
        (self.folder / "fails").write_text(f"{name}={how}")

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def _note(self, name: str, line: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(f"{line}\n")

    @property
    def asked(self) -> list[str]:
        """Tasks whose LLM was asked, in order."""
        return self._lines("asked")

    @property
    def told(self) -> list[str]:
        """Tasks of which the callback was told."""
        return self._lines("told")

    @property
    def uses(self) -> int:
        """How often the tool has run."""
        return len(self._lines("uses"))

    def llm(self, name: str) -> ScriptedLLM:
        def ask() -> None:
            self._note("asked", name)
            (fails,) = self._lines("fails")
            if fails == f"{name}=die":
                os.kill(os.getpid(), signal.SIGKILL)
            if fails == f"{name}=raise":
                raise ValueError(f"{name} fails")

        def answer(messages: Any) -> Any:
            ask()
            heard = [other[-1] for other in self.names if f"said by {other}." in str(messages) and other != name]
            return f"said by {name}. It heard {', '.join(heard) or 'nobody'}"

        def use(messages: Any) -> Any:
            ask()
            return [tool_call("count")]

        with_tool = name == self.tool_in
        return ScriptedLLM([use, answer] if with_tool else [answer], native_tools=with_tool)

    def build(self, **options: Any) -> Crew:
        @tool
        def count() -> str:
            """Count one more use."""
            self._note("uses", "once")
            return "counted"

        def tell(output: Any) -> None:
            self._note("told", output.name)

        workers = [
            crews.agent(
                self.llm(name), f"Worker {name}", tools=[count] if name == self.tool_in else [], max_retry_limit=0
            )
            for name in self.names
        ]
        tasks: list[Task] = []
        for place, (name, worker) in enumerate(zip(self.names, workers, strict=True)):
            more: dict[str, Any] = {1: {"async_execution": True}, 2: {"async_execution": True}}.get(place, {})
            if place == 3:
                more = {"context": tasks[1:3]}
            tasks.append(
                Task(description=f"Do {name} of {{topic}}", expected_output="A note", agent=worker, name=name, **more)
            )
        return Crew(agents=workers, tasks=tasks, task_callback=tell, **options)


INPUTS = [{"topic": "AI"}]


def run(build: Callable[[], Crew] | Crew, **options: Any) -> Any:
    batch = cnb.kickoff_for_each(build, INPUTS, show=False, max_retries=0, **options)
    batch.wait()
    return batch


def said(batch: Any) -> list[tuple[str, str]]:
    """What each task of the first run said, and what it was."""
    return [(task.name, task.raw) for task in batch.results[0].tasks_output]


def undisturbed(tmp_path: Path) -> list[tuple[str, str]]:
    """What the tasks of a run say that nothing happens to."""
    (tmp_path / "whole").mkdir()
    return said(run(Office(tmp_path / "whole").build))


def test_a_retry_asks_for_what_was_not_done(tmp_path: Path, store: Path) -> None:
    """Six tasks, async ones among them, that die in the fifth cost two calls more; all is as if they had just run."""
    office = Office(tmp_path, "task 1", fails="task 4")
    batch = run(office.build)
    assert batch.runs[0].status == "failed"
    before = len(office.asked)
    office.fail("")
    batch.retry().wait()
    run_ = batch.runs[0]
    assert office.asked[before:] == ["task 4", "task 5"]
    assert office.uses == 1
    assert sorted(office.told) == list(office.names), "a callback is called once"
    assert said(batch) == undisturbed(tmp_path)
    assert [t.taken_over for t in run_.tasks] == [True] * 4 + [False] * 2
    assert {t.status for t in run_.tasks} == {"done"}
    assert run_.saved.successful_requests == 5
    assert run_.usage.successful_requests == 7, "spent, in both tries"
    assert batch.results.saved.total_tokens == run_.saved.total_tokens == 15 * 5
    with closing(sqlite3.connect(store)) as db:
        assert db.execute("SELECT count(*) FROM task WHERE batch = ?", [batch._driver.key]).fetchone() == (0,)


def test_a_restart_asks_for_everything(tmp_path: Path) -> None:
    """`retry(restart=True)` runs every task again, and what was done before is not taken over later either."""
    office = Office(tmp_path, fails="task 4")
    batch = run(office.build)
    before = len(office.asked)
    office.fail("task 0")
    batch.retry(restart=True).wait()
    again = office.asked[before:]
    assert set(again) == {"task 0"}
    office.fail("")
    resumed = run(office.build, resume=True)
    assert resumed.runs[0].saved.total_tokens == 0
    assert sorted(office.asked[before + len(again) :]) == list(office.names)


def test_another_batch_goes_on(tmp_path: Path) -> None:
    """With `resume=True` a new batch takes over what the tasks of one that failed had done, from the disk; twice."""
    office = Office(tmp_path, "task 2", fails="task 4")
    assert run(office.build).runs[0].status == "failed"
    before = len(office.asked)
    office.fail("task 5")
    assert run(office.build, resume=True).runs[0].status == "failed"
    office.fail("")
    resumed = run(office.build, resume=True)
    assert set(office.asked[before:]) == {"task 4", "task 5"}
    assert office.asked[before:].count("task 4") == 1
    assert office.uses == 1
    assert said(resumed) == undisturbed(tmp_path)
    assert resumed.runs[0].usage.successful_requests == 1
    assert resumed.results.to_frame()["saved_tokens"].tolist() == [15 * 6]


KILLED = """
import sys
from pathlib import Path
import crew_nb as cnb
from tests.engine.test_goes_on import INPUTS, Office

folder = Path(sys.argv[1])
cnb.set_record(folder / "kept.sqlite")
office = Office(folder, "task 0")
office.fail(sys.argv[2], "die")
results = cnb.kickoff_for_each(office.build, INPUTS, resume=True, show=False).wait()
print([(task.name, task.raw) for task in results[0].tasks_output], results[0].usage.successful_requests)
"""


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """After kill -9 in the fifth task, another process asks for two; a tool of a done task has run once in all."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    first, second = (
        subprocess.run(
            [sys.executable, str(script), str(tmp_path), dies],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for dies in ("task 4", "")
    )
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert second.returncode == 0, second.stderr
    office = Office(tmp_path)
    assert sorted(office.asked) == sorted(["task 0", "task 4", *office.names])
    assert office.uses == 1
    assert second.stdout.strip().endswith(f"{undisturbed(tmp_path)} 2")


def test_conditions_and_files_are_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A condition is not asked again, what it left out stays left out, and a file that is gone is written again."""
    asked: list[str] = []
    llms = [ScriptedLLM(script) for script in (["first"], ["never"], ["third"], [ValueError("no"), "last"])]

    def condition(name: str, holds: bool) -> Callable[[Any], bool]:
        def ask(output: Any) -> bool:
            asked.append(name)
            return holds

        return ask

    workers = [crews.agent(llm, f"Worker {n}", max_retry_limit=0) for n, llm in enumerate(llms)]
    monkeypatch.chdir(tmp_path)
    notes = Path("notes.txt")
    words = {"expected_output": "A note"}
    crew = Crew(
        agents=workers,
        tasks=[
            Task(description="First", agent=workers[0], output_file=str(notes), **words),
            ConditionalTask(description="Not", agent=workers[1], condition=condition("not", False), **words),
            ConditionalTask(description="Yes", agent=workers[2], condition=condition("yes", True), **words),
            Task(description="Last", agent=workers[3], **words),
        ],
    )
    batch = cnb.gather(crew, show=False, max_retries=0)
    batch.wait()
    assert asked == ["not", "yes"]
    notes.unlink()
    batch.retry().wait()
    assert asked == ["not", "yes"]
    assert notes.read_text() == "first"
    assert [len(llm.asked) for llm in llms] == [1, 0, 1, 2]
    assert [t.status for t in batch.runs[0].tasks] == ["done", "skipped", "done", "done"]
    assert [t.raw for t in batch.results[0].tasks_output] == ["first", "", "third", "last"]


def test_a_task_that_is_asked_another_thing_is_run(tmp_path: Path) -> None:
    """What a before-kickoff callback puts into a task's text decides, and all that hears of it is run again too."""
    moods = iter(["dry", "warm"])
    llms = [ScriptedLLM(["a"]), ScriptedLLM([ValueError("no"), "b"])]

    def mood(inputs: Any) -> Any:
        return {**(inputs or {}), "mood": next(moods)}

    workers = [crews.agent(llm, f"Worker {n}", max_retry_limit=0) for n, llm in enumerate(llms)]
    tasks = [Task(description=f"{n} in a {{mood}} voice", expected_output="A", agent=w) for n, w in enumerate(workers)]
    crew = Crew(agents=workers, tasks=tasks, before_kickoff_callbacks=[mood])
    batch = cnb.gather(crew, show=False, max_retries=0)
    batch.wait()
    batch.retry().wait()
    assert batch.runs[0].status == "done"
    assert len(llms[0].asked) == 2
    assert any("another thing" in line.text for line in batch.runs[0].state.log)
    assert batch.runs[0].saved.total_tokens == 0


def test_where_a_half_is_no_half_of_a_whole_the_run_begins_anew(tmp_path: Path) -> None:
    """A tool that counts its uses has counted those of the tasks that were done: its run begins anew, and says why."""

    @tool
    def count() -> str:
        """Count."""
        return "counted"

    count.max_usage_count = 1
    llms = [ScriptedLLM(["a"]), ScriptedLLM([ValueError("no"), "b"])]
    workers = [crews.agent(llm, f"Worker {n}", tools=[count], max_retry_limit=0) for n, llm in enumerate(llms)]
    tasks = [Task(description=f"Do {n}", expected_output="A", agent=worker) for n, worker in enumerate(workers)]
    batch = cnb.gather(Crew(agents=workers, tasks=tasks), show=False, max_retries=0)
    batch.wait()
    batch.retry().wait()
    assert len(llms[0].asked) == 2
    assert batch.runs[0].status == "done"


def test_a_hierarchical_crew_goes_on(tmp_path: Path) -> None:
    """The manager is not asked again for what it had done."""
    manager = ScriptedLLM(["one", *[ValueError("no")] * 3, "two"])
    worker = crews.agent(ScriptedLLM(), "Writer")
    tasks = [Task(description=f"Report {n}", expected_output="A report") for n in range(2)]
    crew = Crew(agents=[worker], tasks=tasks, process="hierarchical", manager_llm=manager)  # type: ignore[arg-type]
    batch = cnb.gather(crew, show=False, max_retries=0)
    batch.wait()
    batch.retry().wait()
    assert [t.raw for t in batch.results[0].tasks_output] == ["one", "two"]
    assert len(manager.asked) == 5
