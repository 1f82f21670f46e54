"""`human_input=True`: a task waits for its person, says so in its row, and never approves itself."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from crew_nb._crewai.blueprint import plans_for_each
from crew_nb._handles.batch import Batch
from crew_nb._state.options import options
from tests.support import crews
from tests.support.kernel import ROOT
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crewai import Crew

    from crew_nb._state.state import Wait


def _launch(build: Callable[..., Crew], n: int = 2, **given: Any) -> Batch:
    """A batch whose people answer through the board's commands."""
    batch = Batch(plans_for_each(build, [{"topic": f"T{i}"} for i in range(n)]), options(show=False, **given))
    batch.asks_by = "form"
    batch.start()
    return batch


def _asked(batch: Batch, run: int, count: int = 1) -> list[Wait]:
    """What the run asks its person, once it asks so much."""
    end = time.monotonic() + 60
    while len(waits := [w for w in batch[run].state.waits if w.reason == "person"]) < count:
        assert time.monotonic() < end, batch[run].state
        time.sleep(0.005)
    return waits


def _answer(batch: Batch, run: int, text: str = "", *, approve: bool = False) -> None:
    (wait,) = _asked(batch, run)
    batch.command("answer", run=run, key=wait.key, text=text, approve=approve)


@pytest.fixture(params=["direct", "stock"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both executors ask."""
    if request.param == "stock":
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")


@pytest.mark.usefixtures("path")
def test_a_person_approves_or_sends_the_agent_back_to_work(server: Server) -> None:
    """Two wait at once with their drafts; one is approved, the other gets feedback, which the next prompt has."""
    shared = llm(server)
    batch = _launch(lambda topic: crews.one(shared, human_input=True))
    (first,), (second,) = _asked(batch, 0), _asked(batch, 1)
    assert "topic=T0" in first.detail
    assert "topic=T1" in second.detail
    assert [run.status for run in batch] == ["waiting", "waiting"]
    assert batch[0].tasks[0].status == "waiting"
    _answer(batch, 1, approve=True)
    assert "topic=T1:" in batch[1].wait(60).raw
    _answer(batch, 0, "Make it shorter, please")
    server.wait_for(lambda stats: len(stats.requests) == 3)
    _answer(batch, 0, approve=True)
    assert batch.wait(60)[0].status == "done"
    assert "Make it shorter, please" in server.stats(prompts=True).requests[2].prompt
    assert len(server.stats().requests) == 3


def test_nothing_but_an_answer_approves(server: Server) -> None:
    """Feedback without words, a wrong key, a wrong run, a text that is none: the run goes on waiting."""
    batch = _launch(lambda topic: crews.one(llm(server), human_input=True), n=1)
    (wait,) = _asked(batch, 0)
    for wrong in (
        {"run": 0, "key": wait.key, "text": "  "},
        {"run": 0, "key": wait.key, "text": None},
        {"run": 0, "key": "person-of-another", "approve": True},
        {"run": 7, "key": wait.key, "approve": True},
    ):
        batch.command("answer", **wrong)
    batch.pause()  # comes after them on the loop
    batch.resume()
    batch.limit(1)
    _until(lambda: batch.options.max_concurrency == 1)
    assert batch[0].status == "waiting"
    _answer(batch, 0, approve=True)
    assert batch.wait(60)[0].status == "done"


def test_those_who_wait_hold_up_nobody(server: Server) -> None:
    """With `max_concurrency=1` every run comes to its question while the first one still waits for its answer."""
    batch = _launch(lambda topic: crews.one(llm(server), human_input=topic != "T2"), n=4, max_concurrency=1)
    for run in (0, 1, 3):
        _asked(batch, run)
    assert batch[2].wait(60).raw
    for run in (3, 0, 1):
        _answer(batch, run, approve=True)
    assert {r.status for r in batch.wait(60)} == {"done"}
    assert server.stats().peak == 1


def test_two_tasks_of_one_run_ask_at_once(server: Server) -> None:
    """Async tasks of one crew have a question each."""

    def build(topic: str) -> Crew:
        crew = crews.fork_join(llm(server))
        crew.tasks[0].human_input = crew.tasks[1].human_input = True
        return crew

    batch = _launch(build, n=1)
    waits = _asked(batch, 0, 2)
    assert sorted(w.task or 0 for w in waits) == [0, 1]
    for wait in waits:
        batch.command("answer", run=0, key=wait.key, approve=True)
    assert batch.wait(60)[0].status == "done"


@pytest.mark.usefixtures("path")
def test_stop_and_timeout_end_the_wait(server: Server) -> None:
    """A run that waits for a person is cancelled at once, can be retried, and keeps to its `timeout`."""
    batch = _launch(lambda topic: crews.one(llm(server), human_input=True))
    _asked(batch, 0)
    _asked(batch, 1)
    batch.cancel()
    assert {r.status for r in batch.wait(60)} == {"cancelled"}
    batch[1].retry()
    _answer(batch, 1, approve=True)
    assert [r.status for r in batch.wait(60)] == ["cancelled", "done"]
    late = _launch(lambda topic: crews.one(llm(server), human_input=True), n=1, timeout=0.5)
    assert "timed out after 0.5 s" in late.wait(60)[0].state.error.message


@pytest.mark.parametrize("show", [False, True], ids=["unseen", "without a terminal"])
def test_where_nobody_can_answer_it_fails_at_once(server: Server, show: bool) -> None:
    """No board and no terminal: an error that says what to write, and nothing was asked of the LLM."""
    batch = cnb.kickoff_for_each(
        lambda topic: crews.one(llm(server), human_input=True), [{"topic": "x"}, {"topic": "y"}], show=show
    )
    results = batch.wait(60)
    assert [type(r.error) for r in results] == [cnb.NobodyToAskError] * 2
    assert "nobody can answer here" in str(results[0].error)
    assert server.stats().requests == []


SCRIPT = """
import sys
import crew_nb as cnb
from crewai import LLM
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url=sys.argv[1], api_key="test-key")
batch = cnb.kickoff_for_each(
    lambda topic: crews.one(llm, human_input=True), [{"topic": "T0"}, {"topic": "T1"}], name="asking"
)
batch.wait(60)
print("ENDED", [(r.status, type(r.error).__name__) for r in batch.results], flush=True)
"""


def test_a_terminal_asks_in_turn(server: Server, tmp_path: Path) -> None:
    """Two tasks wait: one question after the other, each with its task and its draft; empty input approves."""
    keys, terminal = pty.openpty()
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, server.base_url],
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    seen = ""

    def read_until(words: str) -> None:
        nonlocal seen
        while words not in seen:
            seen += os.read(keys, 4096).decode(errors="replace")

    try:
        for answer in ("say it in one line", "", ""):
            read_until("Feedback (empty: approve): ")
            assert "asks for a person" in seen
            seen = ""
            os.write(keys, f"{answer}\n".encode())
        read_until("ENDED [('done', 'NoneType'), ('done', 'NoneType')]")
    finally:
        script.kill()
        script.wait()
        os.close(keys)
    prompts = [r.prompt for r in server.stats(prompts=True).requests]
    assert sum("say it in one line" in prompt for prompt in prompts) == 1
    assert len(prompts) == 3


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "not so in time"
        time.sleep(0.005)
