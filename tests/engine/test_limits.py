"""Limits as the server sees them: adaptive concurrency, a ceiling that is changed under way, tokens a minute."""

from __future__ import annotations

import resource
import threading
import time

import pytest
from crewai import Crew

import crew_nb as cnb
from crew_nb._crewai import rpm
from crew_nb._engine import limits
from crew_nb._engine.engine import engine
from tests.support import crews
from tests.support.server import Server, llm


def _inputs(n: int) -> list[dict[str, str]]:
    return [{"topic": f"T{i}"} for i in range(n)]


def test_auto_finds_its_way_down_and_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_concurrency="auto"` begins with 20, is cut by a 429, and says why."""
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})
    server.configure(latency=0.02, faults=[{"kind": 429, "times": 1, "topic": "T3", "retry_after": 0.01}])
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(60), max_concurrency="auto", show=False)
    reasons = set()
    batch.taps.append(lambda event: reasons.add(batch.state().limit_reason))
    results = batch.wait(60)
    assert {r.status for r in results} == {"done"}
    assert server.stats().peak <= 40
    assert any("429" in reason for reason in reasons), reasons


def test_the_ceiling_is_changed_while_it_runs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`batch.limit(n)` lets more runs begin at once."""
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(8), max_concurrency=2, show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    batch.limit(6)
    server.wait_for(lambda stats: stats.in_flight == 6)
    server.configure(hold=False)
    server.release()
    assert {r.status for r in batch.wait(60)} == {"done"}


def test_tasks_side_by_side_keep_to_the_number_beside_a_larger_batch(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`max_concurrency=1` is one call at a time, whatever another batch may do."""
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})
    server.configure(hold=True)
    other = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(2), show=False)
    small = cnb.gather((crews.fork_join(llm(server)), {"topic": "F"}), max_concurrency=1, show=False)
    while not any(wait.reason == "slot" for wait in small[0].state.waits):
        time.sleep(0.01)
    stats = server.wait_for(lambda stats: stats.in_flight >= 3)
    assert stats.by_topic == {"T0": 1, "T1": 1, "F": 1}
    server.configure(hold=False)
    server.release()
    assert {r.status for batch in (other, small) for r in batch.wait(60)} == {"done"}


def test_a_limit_after_the_end_holds_for_no_other_batch(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`batch.limit(n)` of a batch that is over is for its next retry."""
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})
    ended = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(1), show=False)
    ended.wait(60)
    server.configure(hold=True)
    active = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), max_concurrency=2, show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    ended.limit(1000)
    assert ended.options.max_concurrency in (None, 1000)
    engine.call_and_wait(lambda: None)
    assert ended.options.max_concurrency == 1000
    assert active.state().max_concurrency == 2
    assert active._driver._gate_now()._slots.limit == 2
    server.configure(hold=False)
    server.release()
    active.wait(60)


def test_tokens_a_minute_hold_calls_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `max_tpm` a second call waits until the first one's tokens have left the window; its row says so."""
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})

    class Short(limits.TokenLimit):
        def __init__(self, per_minute: int) -> None:
            super().__init__(per_minute, window=0.3, guard=0.1)

    monkeypatch.setattr("crew_nb._engine.limits.TokenLimit", Short)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), max_tpm=1000, show=False)
    assert {r.status for r in batch.wait(60)} == {"done"}
    waits = [event.detail for event in batch.events if type(event).__name__ == "WaitStarted"]
    assert "max_tpm=1000" in waits


def test_more_calls_than_files_may_be_open_are_told_before_they_fail() -> None:
    """The board's head names the number that fits; fewer calls, or fewer runs than allowed, say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    rows = [{"topic": f"T{n}"} for n in range(450)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        told = []
        for most, given in ((500, rows), (400, rows), (500, rows[:1])):
            llm = cnb.OfflineLLM(latency=60)
            batch = cnb.kickoff_for_each(crews.one(llm), given, max_concurrency=most, show=False)
            batch.cancel()
            batch.wait(60)
            told.append([note for note in batch.state().notes if "may open only 512 files" in note])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [len(notes) for notes in told] == [1, 0, 0]
    assert "max_concurrency=412" in told[0][0]


@pytest.mark.parametrize("stock", [False, True], ids=["direct", "stock"])
@pytest.mark.parametrize("made", ["before", "by the run"])
def test_a_crews_own_max_rpm_waits_in_its_row(
    made: str, stock: bool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third call of a minute waits, its row says for what, a stop ends it; no thread counts minutes."""
    if stock:
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")

    def build() -> Crew:
        crew = crews.chain(llm(server), 3)
        return Crew(agents=crew.agents, tasks=crew.tasks, max_rpm=2)

    given = build()
    before = _timers()
    batch = cnb.kickoff_for_each(given if made == "before" else build, _inputs(2), show=False)
    until = time.monotonic() + 60
    while not all(run.state.waits for run in batch):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert {(w.reason, w.detail) for run in batch for w in run.state.waits} == {
        ("rate limit", "max_rpm=2 of the crew or agent itself")
    }
    assert _timers() == before
    batch.cancel()
    results = batch.wait(60)
    assert {r.status for r in results} == {"cancelled"}
    assert {r.state.dropped_calls for r in results} == {0}
    assert len(server.stats().requests) == 4


def test_an_agents_own_max_rpm_counts_on_in_the_next_minute(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited goes on, and a counter that CrewAI stops after a task counts on."""
    monkeypatch.setattr(rpm, "MINUTE", 0.3)
    worker = crews.agent(llm(server), "Writer", max_rpm=1)
    crew = crews.chain(llm(server), 3)
    crew.agents = [worker]
    for task in crew.tasks:
        task.agent = worker
    waits = []
    batch = cnb.kickoff_for_each(crew, _inputs(1), show=False)
    batch.taps.append(lambda event: waits.append(event) if type(event).__name__ == "WaitStarted" else None)
    assert batch.wait(60)[0].status == "done"
    assert len(server.stats().requests) == 3
    assert [w.reason for w in waits] == ["rate limit"] * len(waits)


def _timers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}
