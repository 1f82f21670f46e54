"""A flow that did not come to its end goes on inside: its steps that were done are not run again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from crewai import LLM
from crewai.flow.flow import Flow, and_, listen, or_, router, start
from pydantic import BaseModel

import crew_nb as cnb
from tests.support import crews
from tests.support.kernel import ROOT

if TYPE_CHECKING:
    from tests.support.server import Server


class Note(BaseModel):
    text: str
    round: int


class Book(BaseModel):
    folder: str = ""
    rounds: int = 0
    notes: list[Note] = []


class Write(Flow[Book]):
    """A loop of two rounds with a crew in each, two steps side by side, their join, and the end.

    What changes is in files, as a run is known by all that it can see.
    """

    def did(self, step: str) -> None:
        folder = Path(self.state.folder)
        with (folder / "did").open("a") as file:
            file.write(f"{step}\n")
        fails = folder / "fails"
        name, _, how = (fails.read_text() if fails.exists() else "").partition("=")
        if name == step and how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == step:
            raise ValueError(f"{step} fails")

    @start()
    def plan(self) -> str:
        self.did("plan")
        return "the plan"

    @listen(or_(plan, "again"))
    def research(self, heard: str) -> str:
        self.did("research")
        url = (Path(self.state.folder) / "url").read_text()
        shared = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="test-key")
        said = crews.chain(shared, 2).kickoff(inputs={"topic": f"round {self.state.rounds}"}).raw
        self.state.notes.append(Note(text=f"heard {heard}", round=self.state.rounds))
        return said

    @router(research)
    def review(self) -> str:
        self.did("review")
        self.state.rounds += 1
        return "again" if self.state.rounds < 2 else "good"

    @listen("good")
    async def left(self) -> str:
        self.did("left")
        return "left"

    @listen("good")
    def right(self) -> dict[str, int]:
        self.did("right")
        return {"right": 1}

    @listen(and_(left, right))
    def both(self) -> str:
        self.did("both")
        return f"{len(self.state.notes)} notes, {self.state.rounds} rounds: {self.state.notes[-1].text}"

    @listen(both)
    def end(self, said: str) -> str:
        self.did("end")
        return f"the end of {said}"


STEPS = ["plan", "research", "review", "research", "review", "left", "right", "both", "end"]


def prepare(folder: Path, server: Server, fails: str) -> list[dict[str, Any]]:
    """The inputs, and what the files say."""
    (folder / "url").write_text(server.base_url)
    (folder / "fails").write_text(fails)
    return [{"folder": str(folder)}]


def did(folder: Path) -> list[str]:
    """Steps that were run, in order; the two that go side by side by name."""
    return (folder / "did").read_text().split()


def run(inputs: list[dict[str, Any]], kind: Any = Write, **options: Any) -> cnb.Batch:
    batch = cnb.kickoff_for_each(kind, inputs, show=False, max_retries=0, **options)
    batch.wait(120)
    return batch


def whole(tmp_path: Path, server: Server) -> tuple[str, Any]:
    """Value and state of a run that nothing happens to."""
    folder = tmp_path / "whole"
    folder.mkdir()
    result = run(prepare(folder, server, ""))[0]
    assert sorted(did(folder)) == sorted(STEPS)
    return told(result)


def told(done: cnb.Run) -> tuple[str, Any]:
    state = done.batch.results[0].flow_state.model_dump()
    return done.batch.results[0].raw, {name: state[name] for name in ("rounds", "notes")}


@pytest.mark.parametrize("fails", ["both", "end"])
def test_a_retry_runs_what_was_not_done(tmp_path: Path, server: Server, fails: str) -> None:
    """Rounds of a loop, routers and joins are taken over with the state; only what was not done is run, and asked."""
    inputs = prepare(tmp_path, server, fails)
    batch = run(inputs)
    assert batch.runs[0].status == "failed"
    before, asked = did(tmp_path), len(server.stats().requests)
    prepare(tmp_path, server, "")
    batch.retry().wait(120)
    assert did(tmp_path)[len(before) :] == STEPS[STEPS.index(fails) :]
    assert len(server.stats().requests) == asked == 4
    row = batch.runs[0]
    taken = {t.spec.name: t.taken_over for t in row.tasks if t.spec.parent is None}
    assert taken == {name: STEPS.index(name) < STEPS.index(fails) for name in STEPS}
    assert {t.status for t in row.tasks} == {"done"}
    assert (row.saved.successful_requests, row.usage.successful_requests) == (4, 4)
    assert row.saved.total_tokens == server.stats().total_tokens
    assert told(row) == whole(tmp_path, server)


def test_a_restart_runs_every_step(tmp_path: Path, server: Server) -> None:
    """`retry(restart=True)` takes nothing over, and nothing of what was before is taken over later."""
    batch = run(prepare(tmp_path, server, "end"))
    before = did(tmp_path)
    prepare(tmp_path, server, "plan")
    batch.retry(restart=True).wait(120)
    assert did(tmp_path)[len(before) :] == ["plan"]
    prepare(tmp_path, server, "")
    resumed = run([{"folder": str(tmp_path)}], resume=True)
    assert sorted(did(tmp_path)[len(before) + 1 :]) == sorted(STEPS)
    assert resumed.runs[0].saved.total_tokens == 0


def test_another_batch_goes_on(tmp_path: Path, server: Server) -> None:
    """With `resume=True`, from the disk, twice; what a crew and a model in the state held is as it was."""
    inputs = prepare(tmp_path, server, "both")
    run(inputs)
    before = did(tmp_path)
    prepare(tmp_path, server, "end")
    assert run(inputs, resume=True).runs[0].status == "failed"
    prepare(tmp_path, server, "")
    resumed = run(inputs, resume=True)
    assert did(tmp_path)[len(before) :] == ["both", "end", "end"]
    assert len(server.stats().requests) == 4
    assert resumed.runs[0].usage.successful_requests == 0
    assert type(resumed.results[0].flow_state.notes[0]) is Note
    assert told(resumed.runs[0]) == whole(tmp_path, server)


KILLED = """
import sys
import crew_nb as cnb
from tests.engine.test_flow_goes_on import Write
cnb.set_record(sys.argv[1] + "/kept.sqlite")
result = cnb.kickoff_for_each(Write, [{"folder": sys.argv[1]}], resume=True, show=False).wait()[0]
print(result.raw, result.usage.successful_requests)
"""


@pytest.mark.timeout(600)
def test_a_killed_process_goes_on(tmp_path: Path, server: Server) -> None:
    """After kill -9 in the join, another process runs the two steps that are left; the server is asked nothing more."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    ended = []
    for fails in ("both=die", ""):
        prepare(tmp_path, server, fails)
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        ended.append((done.returncode, len(server.stats().requests)))
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
    assert ended == [(-signal.SIGKILL, 4), (0, 4)]
    assert did(tmp_path)[len(STEPS) - 1 :] == ["both", "end"]
    assert done.stdout.strip() == f"{whole(tmp_path, server)[0]} 0"


def inner(shared: LLM, shape: str, called: Path) -> Any:
    """A crew of three tasks for a step; the first two side by side in threads where they are async ones."""
    crew = crews.fork_join(shared) if shape == "async tasks" else crews.chain(shared, 3)

    def tell(output: Any) -> None:
        with called.open("a") as file:
            file.write("called\n")

    crew.tasks[0].callback = tell
    return crew


@pytest.mark.parametrize("again", ["retry", "resume"])
@pytest.mark.parametrize("shape", ["kickoff", "akickoff", "async tasks"])
def test_a_crew_in_a_step_goes_on(tmp_path: Path, server: Server, shape: str, again: str) -> None:
    """Of a step that was not done, a crew's tasks that were are asked no more, in memory and from the disk."""
    shared = LLM(model="openai/gpt-4o-mini", base_url=server.base_url, api_key="test-key")
    last, called = "Join the notes" if shape == "async tasks" else "Step 2", tmp_path / "called"

    class Report(Flow[dict[str, Any]]):
        @start()
        def plan(self) -> str:
            return "T"

        @listen(plan)
        async def write(self, topic: str) -> str:
            crew = inner(shared, shape, called)
            inputs = {"topic": topic}
            if shape == "akickoff":
                return str((await crew.akickoff(inputs)).raw)
            return str((await asyncio.to_thread(crew.kickoff, inputs)).raw)

        @listen(write)
        def end(self, said: str) -> str:
            return said

    server.configure(topics={last: {"hold": True}})
    batch = run_until(lambda: server.wait_for(lambda stats: len(stats.requests) == 3 and stats.in_flight == 1), Report)
    server.configure(topics={})
    if again == "retry":
        batch.retry().wait(60)
    else:
        batch = run([{}], Report, resume=True)
    row = batch.runs[0]
    assert row.status == "done", row.error
    asked = [last in request.prompt for request in server.stats(prompts=True).requests]
    assert asked == [False, False, True, True]
    assert called.read_text() == "called\n"
    assert [t.taken_over for t in row.tasks if t.spec.parent is not None][-3:] == [True, True, False]
    assert (row.saved.successful_requests, row.saved.total_tokens > 0) == (2, True)
    assert run([{}], Report, resume=True).results[0].state.from_record
    assert len(server.stats().requests) == 4


def test_what_a_step_took_over_is_saved_with_it(tmp_path: Path, server: Server) -> None:
    """A step that asked nothing, as its crew had done all in an earlier try, has cost what the crew cost then."""
    shared = LLM(model="openai/gpt-4o-mini", base_url=server.base_url, api_key="test-key")
    fails = tmp_path / "fails"

    class Report(Flow[dict[str, Any]]):
        @start()
        def write(self) -> str:
            said = crews.chain(shared, 2).kickoff({"topic": "T"}).raw
            if fails.read_text() == "write":
                raise ValueError("not yet")
            return str(said)

        @listen(write)
        def end(self, said: str) -> str:
            if fails.read_text() == "end":
                raise ValueError("not yet")
            return said

    seen = []
    for step in ("write", "end", "end", ""):
        fails.write_text(step)
        row = run([{}], Report, resume=True).runs[0]
        seen.append((row.status, row.usage.successful_requests, row.saved.successful_requests))
    assert seen == [("failed", 2, 0), ("failed", 0, 2), ("failed", 0, 2), ("done", 0, 2)]
    assert len(server.stats().requests) == 2


def run_until(reached: Any, kind: Any) -> cnb.Batch:
    """A batch of one run that is stopped when it has come so far."""
    batch = cnb.kickoff_for_each(kind, [{}], show=False, max_retries=0)
    reached()
    batch.cancel()
    batch.wait_quietly(60)
    assert batch.runs[0].status == "cancelled"
    return batch


def test_a_crew_in_a_step_goes_on_where_a_verb_resumes_it(server: Server) -> None:
    """Of a step that was not done, a crew launched with `resume=True` begins at its first task that was not done."""
    shared = LLM(model="openai/gpt-4o-mini", base_url=server.base_url, api_key="test-key")
    build = lambda topic: crews.chain(shared, 2)  # noqa: E731

    class Report(Flow[dict[str, Any]]):
        @start()
        def plan(self) -> str:
            return "T"

        @listen(plan)
        def write(self, topic: str) -> str:
            return str(cnb.kickoff(build, {"topic": topic}, resume=True).wait().raw)

    server.configure(topics={"Step 1": {"hold": True}})
    batch = cnb.kickoff_for_each(Report, [{}], show=False)
    server.wait_for(lambda stats: len(stats.requests) == 2 and stats.in_flight == 1)
    batch.cancel()
    batch.wait_quietly(60)
    assert batch.runs[0].status == "cancelled"
    server.configure(topics={})
    batch.retry().wait(60)
    assert "topic=T:" in batch.results[0].raw
    asked = ["Step 1" in request.prompt for request in server.stats(prompts=True).requests]
    assert asked == [False, True, True]


def test_what_cannot_be_kept_is_run_again(tmp_path: Path) -> None:
    """A step that sets an attribute beside the state is run again, and its row says why."""
    ran: list[str] = []

    class Odd(Flow[dict[str, Any]]):
        @start()
        def first(self) -> str:
            ran.append("first")
            return "first"

        @listen(first)
        def second(self) -> str:
            ran.append("second")
            self.found = ["a"]
            return "second"

        @listen(second)
        def third(self) -> str:
            ran.append("third")
            if ran.count("third") == 1:
                raise ValueError("not yet")
            return f"{self.found}"

    batch = run([{}], Odd)
    batch.retry().wait(60)
    assert batch.runs[0].status == "done"
    assert ran == ["first", "second", "third", "second", "third"]
    assert any("it has set self.found beside the state" in line.text for line in batch.runs[0].state.log)


def test_the_state_has_no_half_of_a_step_beside(tmp_path: Path) -> None:
    """A step that changed the state while another, which then failed, was at work is run again with it."""
    ran: list[str] = []
    half, over = asyncio.Event(), asyncio.Event()

    class Both(Flow[dict[str, Any]]):
        @start()
        def begin(self) -> None:
            ran.append("begin")
            self.state["said"] = []

        @listen(begin)
        async def one(self) -> str:
            ran.append("one")
            self.state["said"].append("half")
            half.set()
            await over.wait()
            if ran.count("one") == 1:
                raise ValueError("not yet")
            return "one"

        @listen(begin)
        async def other(self) -> str:
            ran.append("other")
            await half.wait()
            self.state["said"].append("other")
            return "other"

        @listen(other)
        async def after(self) -> None:
            over.set()

        @listen(and_(one, after))
        def end(self) -> str:
            return " ".join(sorted(self.state["said"]))

    batch = run([{}], Both)
    assert batch.runs[0].status == "failed"
    batch.retry().wait(60)
    assert batch.results[0].raw == "half other"
    assert sorted(ran) == ["begin", "one", "one", "other", "other"]
