"""Stop means stop: cancel, time-outs, retries, pauses, budgets. The server is the witness."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import sqlite3
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from crewai import BaseLLM
from crewai.tools import tool

import crew_nb as cnb
from crew_nb._engine import failure as _failure
from crew_nb._engine import known as _known
from crew_nb._engine.engine import engine
from crew_nb._record import record as _record
from crew_nb._state.secrets import Secrets
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crewai import Crew

    from crew_nb._crewai.blueprint import Plan


def _inputs(n: int) -> list[dict[str, str]]:
    return [{"topic": f"T{i}"} for i in range(n)]


@pytest.mark.parametrize("stock", [False, True], ids=["direct", "stock"])
def test_nothing_starts_after_a_cancel(server: Server, stock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crews of four calls are cancelled in their first: no request comes after or stays open, every row is final."""
    if stock:
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")
    else:
        monkeypatch.setattr("crew_nb._engine.driver.STOP_SECONDS", 60.0)  # all hear of it, and nobody is called ended
    server.configure(hold=True)
    shared = llm(server)
    batch = cnb.kickoff_for_each(crews.chain(shared, 4), _inputs(8), show=False)
    server.wait_for(lambda stats: stats.in_flight == 8)
    batch.cancel()
    results = batch.wait(60)
    stats = server.wait_for(lambda stats: stats.in_flight == 0)
    assert {r.status for r in results} == {"cancelled"}
    assert len(server.stats().requests) == 8
    assert all(request.disconnected for request in stats.requests)
    assert {run.state.dropped_calls for run in batch} == {0}
    with pytest.raises(cnb.RunCancelledError):
        _ = results[0].raw


@pytest.mark.parametrize("resume", [False, True])
def test_a_cancel_right_after_the_launch(server: Server, resume: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is heard before the record is looked through, and before a run's task has begun; nobody has to be forced."""
    monkeypatch.setattr("crew_nb._engine.driver.STOP_SECONDS", 60.0)
    with _busy_engine():
        batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), show=False, resume=resume)
        batch[1].cancel()
    assert [r.status for r in batch.wait(60)] == ["done", "cancelled", "done"]
    assert server.stats().by_topic == {"T0": 1, "T2": 1}
    with _busy_engine():
        batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(300), show=False, resume=resume)
        batch.cancel()
    # What is in the record needs no call, so a stop does not take it away.
    done = [i for i, r in enumerate(batch.wait(60)) if r.status == "done"]
    assert done == ([0, 2] if resume else [])
    assert batch.status == "cancelled"
    assert len(server.stats().requests) == 2


@contextlib.contextmanager
def _busy_engine() -> Iterator[None]:
    """The engine's loop hears of what is done in here afterwards, in order."""
    release = threading.Event()
    engine.call(release.wait, 60)
    try:
        yield
    finally:
        release.set()


def test_a_tool_that_cannot_be_stopped_is_named(server: Server) -> None:
    """A plain function in a thread runs on after a stop; its row says so, and its answer is dropped."""
    inside, release = threading.Event(), threading.Event()

    @tool
    def search(query: str) -> str:
        """Search for long."""
        inside.set()
        release.wait(60)
        return "late"

    batch = cnb.kickoff_for_each(crews.one(cnb.OfflineLLM(), tools=[search]), _inputs(1), show=False)
    assert inside.wait(60)
    batch.cancel()
    try:
        assert batch.wait(60)[0].state.dropped_calls == 1
    finally:
        release.set()


def test_a_name_to_resume_is_the_name_that_goes_on(server: Server) -> None:
    """The same cell with `resume="a name"` finds what that cell has done before, and is listed under that name."""
    for _ in range(3):
        batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(2), resume="sweep", show=False)
        assert {r.status for r in batch.wait(60)} == {"done"}
        assert batch.name == "sweep"
    assert server.stats().by_topic == {"T0": 1, "T1": 1}


def test_what_was_finished_stays(server: Server) -> None:
    """After a cancel the finished runs keep their results, and retry runs only the others, in place."""
    server.configure(topics={"topic=T1": {"hold": True}})
    shared = llm(server)
    batch = cnb.kickoff_for_each(lambda topic: crews.one(shared), _inputs(3), show=False)
    batch[0].wait(60)
    batch[2].wait(60)
    batch.cancel()
    results = batch.wait(60)
    assert [r.status for r in results] == ["done", "cancelled", "done"]
    batch[1].retry()
    assert batch[1].status in ("queued", "running", "waiting"), "no status of before is left to be read"
    server.configure(topics={})
    again = batch.wait(60)
    assert [r.status for r in again] == ["done"] * 3
    assert batch[1].state.attempt == 2
    assert server.stats().by_topic == {"T0": 1, "T1": 2, "T2": 1}


async def test_cancelling_who_awaits_stops_the_batch(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """`asyncio.wait_for` that runs out ends the batch too, as it would end a task, and prints nothing in plain code."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(4), show=False)
    await asyncio.to_thread(server.wait_for, lambda stats: stats.in_flight == 4)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_join(batch), 0.1)
    await asyncio.to_thread(batch.wait_quietly, 60)
    assert {run.status for run in batch} == {"cancelled"}
    assert capsys.readouterr().out == ""
    await asyncio.to_thread(server.wait_for, lambda stats: stats.in_flight == 0)


def test_a_stopped_batch_is_retried_at_once(server: Server) -> None:
    """`retry()` right after `cancel()` runs them again when they have ended; a `cancel()` after that takes it back."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), show=False)
    server.wait_for(lambda stats: stats.in_flight == 3)
    with _busy_engine():
        batch.cancel()
        batch.retry()
        batch.cancel()
    assert {r.status for r in batch.wait(60)} == {"cancelled"}
    assert len(server.stats().requests) == 3
    batch.retry()
    server.wait_for(lambda stats: stats.in_flight == 3)
    with _busy_engine():
        batch.cancel()
        batch.retry()
    server.configure(hold=False)
    assert {r.status for r in batch.wait(60)} == {"done"}
    assert [run.state.attempt for run in batch] == [3] * 3


def test_retry_twice_is_retry_once(server: Server) -> None:
    """A second click on "Retry failed" changes nothing, and who waits for the first is told."""
    server.configure(faults=[{"kind": 400, "times": 3}])
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), show=False)
    assert {r.status for r in batch.wait(60)} == {"failed"}
    server.reset()
    server.configure(hold=True)
    batch.retry()
    waiting = batch._driver.finals[0]
    batch.retry()
    server.wait_for(lambda stats: stats.in_flight == 3)
    server.release()
    assert {r.status for r in batch.wait(60)} == {"done"}
    waiting.result(60)
    assert len(server.stats().requests) == 3


def test_a_paused_batch_that_was_stopped_can_be_retried(server: Server) -> None:
    """Stop ends a pause; and a pause before a retry holds it until `resume`."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(2), show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    batch.pause()
    batch.cancel()
    assert {r.status for r in batch.wait(60)} == {"cancelled"}
    assert not batch.state().paused
    batch.retry()
    server.wait_for(lambda stats: stats.in_flight == 2)
    batch.cancel()
    batch.wait(60)
    server.reset()
    batch.pause()
    batch.retry()
    _until(lambda: all(run.state.attempt == 3 for run in batch))
    assert server.stats().requests == []
    batch.resume()
    assert {r.status for r in batch.wait(60)} == {"done"}


async def test_completed_runs_are_handed_out_again_after_a_retry(server: Server) -> None:
    """`as_completed` waits for runs that are retried, also by the loop that it feeds."""
    server.configure(faults=[{"kind": 400, "topic": "T1", "times": 2}])
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), show=False)
    ends = []
    async for run in batch.as_completed():
        ends.append((run.index, run.status))
        if run.status == "failed":
            run.retry()
    assert sorted(ends) == [(0, "done"), (1, "done"), (1, "failed"), (1, "failed"), (2, "done")]
    assert sorted([run.index async for run in batch.as_completed()]) == [0, 1, 2]


class Deaf(BaseLLM):
    """Hears no cancellation, as a client that waits in a thread does not."""

    release: Any = None

    async def acall(self, *args: Any, **kwargs: Any) -> str:
        while not self.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        return "too late"

    def call(self, *args: Any, **kwargs: Any) -> str:
        raise AssertionError("never called")


def test_calls_that_cannot_be_stopped_hold_up_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that hear no stop are called ended; their places are free for a retry and for other batches."""
    monkeypatch.setattr("crew_nb._engine.driver.STOP_SECONDS", 0.2)
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})
    deaf = Deaf(model="deaf", release=threading.Event())
    llms: list[BaseLLM] = [deaf, deaf]

    def build(topic: str) -> Crew:
        return crews.one(llms.pop() if llms else llm(server))

    batch = cnb.kickoff_for_each(build, _inputs(2), max_concurrency=2, show=False)
    _until(lambda: batch._driver.gate is not None and batch._driver.gate.in_flight == 2)
    batch.cancel()
    assert {r.status for r in batch.wait(60)} == {"cancelled"}
    other = cnb.kickoff_for_each(build, _inputs(2), max_concurrency=2, show=False)
    assert {r.status for r in other.wait(60)} == {"done"}
    assert {r.status for r in batch.retry().wait(60)} == {"done"}
    deaf.release.set()


def test_a_stop_reaches_batches_that_a_tool_launched(server: Server) -> None:
    """A tool runs crews of its own: one slot is enough for both, events are not mixed, and a stop ends both."""
    call = {"tool_calls": [{"name": "study", "arguments": {"question": "x"}}]}
    server.configure(topics={"topic=OUT": call})
    shared, inner = llm(server), []

    @tool("study")
    def study(question: str) -> str:
        """Ask other crews."""
        batch = cnb.kickoff_for_each(crews.one(shared), [{"topic": f"IN{i}"} for i in range(2)], show=False)
        inner.append(batch)
        return " ".join(r.raw for r in batch.wait(60))

    def launch() -> cnb.Batch:
        return cnb.gather(
            (lambda topic: crews.one(shared, tools=[study]), {"topic": "OUT"}), max_concurrency=1, show=False
        )

    outer = launch()
    assert outer.wait(60)[0].status == "done"
    assert sorted(c.kind for c in outer[0].state.all_calls) == ["llm", "llm", "llm", "llm", "tool"]
    server.reset()
    server.configure(topics={"topic=OUT": call, "topic=IN": {"hold": True}})
    outer = launch()
    server.wait_for(lambda stats: sum(r.topic.startswith("IN") for r in stats.requests) == 2)
    outer.cancel()
    assert outer.wait(60)[0].status == "cancelled"
    assert {r.status for r in inner[1].wait(60)} == {"cancelled"}
    server.wait_for(lambda stats: stats.in_flight == 0)


def test_a_batch_that_a_tool_has_just_launched_ends_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run is stopped before the record was looked through: every row of the inner batch is final."""
    server.configure(topics={"topic=OUT": {"tool_calls": [{"name": "study", "arguments": {"question": "x"}}]}})
    shared, inner, read = llm(server), [], threading.Event()
    work_out = _known.run_keys

    def slowly(plans: Sequence[Plan]) -> list[str]:
        if len(plans) == 20:
            read.wait(60)
        return work_out(plans)

    monkeypatch.setattr("crew_nb._engine.known.run_keys", slowly)

    @tool("study")
    def study(question: str) -> str:
        """Ask other crews."""
        inner.append(cnb.kickoff_for_each(crews.one(shared), _inputs(20), resume=True, show=False))
        return " ".join(r.raw for r in inner[0].wait(60))

    outer = cnb.gather((lambda topic: crews.one(shared, tools=[study]), {"topic": "OUT"}), show=False)
    while not inner:
        time.sleep(0.01)
    outer.cancel()
    assert outer.wait(60)[0].status == "cancelled"
    read.set()
    assert {r.status for r in inner[0].wait(60)} == {"cancelled"}
    assert set(server.stats().by_topic) == {"OUT"}


def test_a_locked_record_holds_up_no_stop(server: Server) -> None:
    """While another process writes to the store, rows of stopped runs are final; they are kept later."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(2), show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    batch._driver.kept._store.flush()
    with contextlib.closing(sqlite3.connect(_record.default_path(), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        batch.cancel()
        assert {r.status for r in batch.wait(_record.BUSY_SECONDS / 2)} == {"cancelled"}
        other.execute("ROLLBACK")
    batch._driver.kept._store.flush()
    assert _record.runs()[0].cancelled == 2


async def _join(batch: cnb.Batch) -> cnb.Results:
    return await batch


def test_a_hung_llm_is_timed_out_and_let_go(server: Server) -> None:
    """`timeout` ends a run whose LLM never answers; the request is closed, the row says so and can be retried."""
    server.configure(faults=[{"kind": "hang"}])
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(1), timeout=1, show=False)
    results = batch.wait(60)
    assert [r.status for r in results] == ["failed"]
    assert "timed out after 1 s" in results[0].state.error.message
    with pytest.raises(cnb.RunTimeoutError) as caught:
        _ = results[0].raw
    assert isinstance(caught.value, TimeoutError)
    server.wait_for(lambda stats: stats.in_flight == 0)


def test_idle_is_told_from_busy(server: Server) -> None:
    """`idle_timeout` lets a slow stream go on and ends a silent one."""
    # The pauses are an eighth of what is allowed, so that a busy machine makes none of them too long.
    server.configure(tokens=10, tokens_per_second=2, topics={"topic=T1": {"hold": True}})
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(2), idle_timeout=4, stream=True, show=False)
    results = batch.wait(60)
    assert [r.status for r in results] == ["done", "failed"]
    assert "nothing happened for 4 s" in results[1].state.error.message


@pytest.mark.parametrize("stock", [False, True], ids=["direct", "stock"])
def test_a_429_is_tried_again_when_the_server_says(
    server: Server, stock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each 429 costs one request; the row waits as long as Retry-After, and says which try comes next."""
    if stock:
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")
    server.configure(faults=[{"kind": 429, "times": 2, "retry_after": 0.05}])
    run = cnb.kickoff(crews.one(llm(server)), {"topic": "R"}, max_retries=2, show=False)
    assert "topic=R:" in run.wait(60).raw
    assert [r.status for r in server.stats().requests] == [429, 429, 200]
    waits = [e.detail for e in run._batch.events if type(e).__name__ == "WaitStarted"]
    assert waits == ["429, try 2 of 3", "429, try 3 of 3"]


@pytest.mark.parametrize("stock", [False, True], ids=["direct", "stock"])
@pytest.mark.parametrize(("status", "calls"), [(401, 1), (400, 1), (500, 3), (429, 3)])
def test_tries_are_not_multiplied(
    server: Server, status: int, calls: int, stock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lasting error costs 1 + max_retries requests, or one where trying again is no use."""
    if stock:
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")
    server.configure(faults=[{"kind": status, "retry_after": 0.01}])
    monkeypatch.setattr("crew_nb._engine.retry.backoff", lambda *args: 0.01)
    run = cnb.kickoff(crews.one(llm(server)), {"topic": "R"}, max_retries=2, show=False)
    with pytest.raises(cnb.RunFailedError) as caught:
        run.wait(60)
    assert len(server.stats().requests) == calls
    assert getattr(caught.value.__cause__, "status_code", None) == status
    if status == 401:
        assert "OPENAI_API_KEY" in str(caught.value)


def test_pause_holds_running_runs_at_their_next_call(server: Server) -> None:
    """While paused no new request is sent; `resume` lets all go on."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.chain(llm(server), 2), _inputs(4), max_concurrency=2, show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    batch.pause()
    server.configure(hold=False)
    server.release()
    _until(lambda: sum(r.status == "waiting" for r in batch) == 2)
    assert [r.status for r in batch] == ["waiting", "waiting", "queued", "queued"]
    assert len(server.stats().requests) == 2
    batch.resume()
    assert {r.status for r in batch.wait(60)} == {"done"}


def test_a_token_budget_stops_new_work(server: Server) -> None:
    """Once `max_total_tokens` is spent no further call is sent, and the batch says why."""
    server.configure(tokens=50)
    batch = cnb.kickoff_for_each(
        crews.one(llm(server)), _inputs(10), max_concurrency=1, max_total_tokens=120, show=False
    )
    results = batch.wait(60)
    done = [r for r in results if r.status == "done"]
    assert len(server.stats().requests) == len(done) < 10
    assert {r.status for r in results} == {"done", "cancelled"}
    assert any("max_total_tokens" in note for note in batch.state().notes)
    assert isinstance(results[9].error, cnb.BudgetExceededError)


def test_a_spent_budget_stops_calls_that_wait_for_a_slot(server: Server) -> None:
    """A task beside the one that spends it is not asked for any more, though it was in the queue already."""
    server.configure(tokens=50, hold=True)
    batch = cnb.gather(
        (crews.fork_join(llm(server)), {"topic": "T"}), max_concurrency=1, max_total_tokens=10, show=False
    )
    server.wait_for(lambda stats: stats.in_flight == 1)
    while not any(wait.reason == "slot" for wait in batch[0].state.waits):
        time.sleep(0.01)
    server.configure(hold=False)
    assert isinstance(batch.wait(60)[0].error, cnb.BudgetExceededError)
    assert len(server.stats().requests) == 1


def test_fail_fast_and_max_errors(server: Server) -> None:
    """`fail_fast` stops everything at the first failure, `max_errors` begins no new run after so many."""
    server.configure(faults=[{"kind": 400, "topic": "T0"}, {"kind": 400, "topic": "T1"}])
    shared = llm(server)
    first = cnb.kickoff_for_each(crews.one(shared), _inputs(6), max_concurrency=1, fail_fast=True, show=False)
    assert [r.status for r in first.wait(60)] == ["failed"] + ["cancelled"] * 5
    second = cnb.kickoff_for_each(crews.one(shared), _inputs(6), max_concurrency=1, max_errors=2, show=False)
    assert [r.status for r in second.wait(60)] == ["failed"] * 2 + ["cancelled"] * 4


def test_max_rpm_is_shared_by_batches(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of one limit: together they send what it allows in a minute, and what is over waits."""
    monkeypatch.setattr("crew_nb._engine.limits._kernel", {})
    server.configure(hold=True)
    shared = llm(server)
    batches = [
        cnb.kickoff_for_each(crews.one(shared), _inputs(6), max_rpm=5, max_concurrency=6, show=False) for _ in range(2)
    ]
    runs = [run for batch in batches for run in batch]
    _until(lambda: sum(any(w.reason == "rate limit" for w in run.state.waits) for run in runs) == 7)
    server.wait_for(lambda stats: stats.in_flight == 5)
    for batch in batches:
        batch.cancel()
    assert {r.status for batch in batches for r in batch.wait(60)} == {"cancelled"}
    assert len(server.stats().requests) == 5


def _until(condition: object, timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "not so in time"
        time.sleep(0.01)


@pytest.mark.parametrize("run", [-1, 2, 1.0, True, "1"])
def test_a_run_that_is_not_there_cannot_be_stopped(run: Any) -> None:
    """What is no number of a row is refused, and nothing is stopped."""
    batch = cnb.kickoff_for_each(crews.one(cnb.OfflineLLM(latency=0)), [{"topic": "A"}, {"topic": "B"}], show=False)
    with pytest.raises(cnb.OptionError, match="Write the number of a row, 0 to 1"):
        batch.cancel(run)
    assert [result.status for result in batch.wait(60)] == ["done", "done"]


def test_queued_rows_cost_next_to_nothing_to_cancel(server: Server) -> None:
    """What the loop does for a row that had not begun, in calls; and it is told and kept like any other."""
    server.configure(hold=True)
    shared = llm(server)
    batch = cnb.kickoff_for_each(lambda topic: crews.one(shared), _inputs(1_000), max_concurrency=2, show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    calls = Counter[str]()
    # Not cProfile: since Python 3.12 it counts what all threads call.
    engine.call_and_wait(sys.setprofile, lambda frame, event, argument: calls.update([event]))
    batch.cancel()
    batch.wait_quietly(60)
    engine.call_and_wait(sys.setprofile, None)
    assert 10 * len(batch) < calls["call"] + calls["c_call"] < 100 * len(batch)
    error = batch[900].error
    assert error is not None
    assert batch[900].state.error == _failure.info(error, Secrets())
    _record.get().flush()
    assert _record.runs()[0].cancelled == 1_000


class _Own(BaseLLM):
    """An LLM of the user's own."""

    ask: Any

    def call(self, *args: Any, **kwargs: Any) -> str:
        return str(self.ask())


@pytest.mark.parametrize("library", ["requests", "botocore"])
def test_requests_of_other_libraries_are_closed_too(library: str) -> None:
    """A stop ends a request that waits in a thread, and nothing is sent again; a server that never answers sees it."""
    came, ended = queue.SimpleQueue[bytes](), queue.SimpleQueue[bytes]()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    while data := connection.recv(65_536):
                        came.put(data)
                    ended.put(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        keys = {"region_name": "us-east-1", "aws_access_key_id": "none", "aws_secret_access_key": "none"}
        asks: dict[str, Callable[[], object]] = {
            "requests": lambda: requests.post(url, json={}, timeout=60),
            "botocore": lambda: boto3.client("bedrock-runtime", endpoint_url=url, **keys).converse(modelId="own"),
        }
        llm = _Own(model="own", ask=asks[library])
        batch = cnb.kickoff_for_each(crews.one(llm), _inputs(1), show=False)
        assert came.get(timeout=60)
        batch.cancel()
        assert ended.get(timeout=60) == b""
        assert batch.wait(60)[0].status == "cancelled"
        while not came.empty():
            assert not came.get().startswith(b"POST"), "it was sent again"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(60)
