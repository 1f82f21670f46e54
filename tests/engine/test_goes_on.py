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
from tests.support.scripted_llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> Iterator[Path]:
    """A record of its own."""
    cnb.set_record(tmp_path / "runs.sqlite")
    yield tmp_path / "runs.sqlite"
    cnb.set_record(None)


class Office:
    """Six tasks: two async ones, then those that join them; each says what it was told, so that contexts are seen."""

    def __init__(self, folder: Path, fails: set[str] | None = None) -> None:
        self.folder = folder
        self.fails = {"task 4"} if fails is None else fails
        self.asked: list[str] = []
        self.told: list[str] = []
        self.tool_in: str | None = None

    def llm(self, name: str) -> ScriptedLLM:
        def answer(messages: Any) -> Any:
            self.asked.append(name)
            if name in self.fails:
                raise ValueError(f"{name} fails")
            words = str(messages)
            heard = sorted(other for other in self.names if f"said by {other}." in words and other != name)
            return f"said by {name}. It heard {len(heard)}: {', '.join(other[-1] for other in heard)}"

        def use(messages: Any) -> Any:
            self.asked.append(name)
            return [{"id": "c", "type": "function", "function": {"name": "count", "arguments": "{}"}}]

        script = [use, answer] if name == self.tool_in else [answer]
        return ScriptedLLM(script, native_tools=name == self.tool_in)

    names = tuple(f"task {n}" for n in range(6))

    def build(self, **options: Any) -> Crew:
        @tool
        def count() -> str:
            """Count one more use."""
            with (self.folder / "uses").open("a") as file:
                file.write("x")
            return "counted"

        def tell(output: Any) -> None:
            self.told.append(output.name)

        workers = [
            crews.agent(self.llm(name), f"Worker {name}", tools=[count] if name == self.tool_in else [])
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

    @property
    def uses(self) -> int:
        path = self.folder / "uses"
        return len(path.read_text()) if path.exists() else 0


INPUTS = [{"topic": "AI"}]


def run(build: Callable[[], Crew], **options: Any) -> Any:
    batch = cnb.kickoff_for_each(build, INPUTS, show=False, max_retries=0, **options)
    batch.wait()
    return batch


def said(batch: Any) -> list[tuple[str, str]]:
    """What each task of the first run said, and what it was."""
    return [(task.name, task.raw) for task in batch.results[0].tasks_output]


def test_a_retry_asks_for_what_was_not_done(tmp_path: Path, store: Path) -> None:
    """Six tasks, async ones among them, that die in the fifth cost two calls more; all is as if they had just run."""
    whole = run(Office(tmp_path, fails=set()).build)
    office = Office(tmp_path)
    office.tool_in = "task 1"
    batch = run(office.build)
    assert batch.runs[0].status == "failed"
    assert office.uses == 1
    first, office.asked, office.fails = list(office.asked), [], set()
    batch.retry().wait()
    run_ = batch.runs[0]
    assert office.asked == ["task 4", "task 5"]
    assert office.uses == 1
    assert sorted(office.told) == sorted(office.names), "a callback is called once"
    assert said(batch) == said(whole)
    assert [t.taken_over for t in run_.tasks] == [True] * 4 + [False] * 2
    assert {t.status for t in run_.tasks} == {"done"}
    assert run_.saved.successful_requests == len(first) - 1
    assert run_.usage.successful_requests == len(first) - 1 + 2, "spent, in both tries"
    assert batch.results.saved.total_tokens == run_.saved.total_tokens == 15 * (len(first) - 1)
    with closing(sqlite3.connect(store)) as db:
        assert db.execute("SELECT count(*) FROM task").fetchone() == (0,), "a run that is done has it all"


def test_a_restart_asks_for_everything(tmp_path: Path) -> None:
    """`retry(restart=True)` runs every task again, and what was done before is not taken over later either."""
    office = Office(tmp_path)
    batch = run(office.build)
    office.asked, office.fails = [], {"task 0"}
    batch.retry(restart=True).wait()
    assert office.asked == ["task 0"]
    office.asked, office.fails = [], set()
    assert run(office.build, resume=True).runs[0].saved.total_tokens == 0
    assert office.asked.count("task 0") == 1
    assert len(office.asked) == 6


def test_another_batch_goes_on(tmp_path: Path) -> None:
    """With `resume=True` a new batch takes over what the tasks of one that failed had done, from the disk."""
    (office := Office(tmp_path)).tool_in = "task 2"
    crew = office.build()
    batch = run_crew(crew)
    before = len(office.asked)
    assert batch.runs[0].status == "failed"
    office.fails = set()
    resumed = run_crew(crew, resume=True)
    assert office.asked[before:] == ["task 4", "task 5"]
    assert office.uses == 1
    assert [name for name, _ in said(resumed)] == list(office.names)
    assert resumed.runs[0].usage.successful_requests == 2
    assert resumed.results[0].tasks_output[3].raw.endswith("2: 1, 2")
    assert resumed.results.to_frame()["saved_tokens"].tolist() == [15 * (before - 1)]


def run_crew(crew: Crew, **options: Any) -> Any:
    return run(crew, **options)  # type: ignore[arg-type]


KILLED = """
import os, signal, sys
from pathlib import Path
import crew_nb as cnb
from tests.engine.test_goes_on import INPUTS, Office

folder, kill = Path(sys.argv[1]), sys.argv[2]
cnb.set_record(folder / "kept.sqlite")

class Killed(Office):
    def llm(self, name):
        llm = super().llm(name)
        def note(answer):
            def call(messages):
                with (folder / "asked").open("a") as file:
                    file.write(name + "\\n")
                if name == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                return answer(messages)
            return call
        llm._script = [note(answer) for answer in llm._script]
        return llm

def build():
    office = Killed(folder, fails=set())
    office.tool_in = "task 0"
    return office.build()

batch = cnb.kickoff_for_each(build, INPUTS, resume=True, show=False)
results = batch.wait()
print([task.raw for task in results[0].tasks_output], results[0].usage.successful_requests)
"""


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """After kill -9 in the fifth task, another process asks for two; a tool of a done task has run once in all."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    first, second = (
        subprocess.run(
            [sys.executable, str(script), str(tmp_path), kill],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )
        for kill in ("task 4", "nobody")
    )  # fmt: skip
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert second.returncode == 0, second.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert sorted(asked) == sorted(["task 0", *Office.names, "task 4"])
    assert (tmp_path / "uses").read_text() == "x"
    whole = run(Office(tmp_path, fails=set()).build)
    assert second.stdout.strip().endswith(f"{[raw for _, raw in said(whole)]} 2")


def test_conditions_and_files_are_as_they_were(tmp_path: Path) -> None:
    """A condition is not asked again, what it left out stays left out, and a file that is gone is written again."""
    asked: list[str] = []
    llms = [ScriptedLLM(["first"]), ScriptedLLM(["never"]), ScriptedLLM(["third"]), ScriptedLLM([ValueError("no"), "last"])]

    def condition(name: str, holds: bool) -> Callable[[Any], bool]:
        def ask(output: Any) -> bool:
            asked.append(name)
            return holds

        return ask

    workers = [crews.agent(llm, f"Worker {n}") for n, llm in enumerate(llms)]
    notes = tmp_path / "notes.txt"
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

    workers = [crews.agent(llm, f"Worker {n}") for n, llm in enumerate(llms)]
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
    workers = [crews.agent(llm, f"Worker {n}", tools=[count]) for n, llm in enumerate(llms)]
    tasks = [Task(description=f"Do {n}", expected_output="A", agent=worker) for n, worker in enumerate(workers)]
    batch = cnb.gather(Crew(agents=workers, tasks=tasks), show=False, max_retries=0)
    batch.wait()
    batch.retry().wait()
    assert len(llms[0].asked) == 2
    assert batch.runs[0].status == "done"


def test_a_hierarchical_crew_goes_on(tmp_path: Path) -> None:
    """The manager is not asked again for what it had done."""
    manager = ScriptedLLM(["one", ValueError("no"), "two"])
    worker = crews.agent(ScriptedLLM(), "Writer")
    tasks = [Task(description=f"Report {n}", expected_output="A report") for n in range(2)]
    crew = Crew(agents=[worker], tasks=tasks, process="hierarchical", manager_llm=manager)  # type: ignore[arg-type]
    batch = cnb.gather(crew, show=False, max_retries=0)
    batch.wait()
    batch.retry().wait()
    assert [t.raw for t in batch.results[0].tasks_output] == ["one", "two"]
    assert len(manager.asked) == 3
