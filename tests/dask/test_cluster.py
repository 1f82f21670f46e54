"""A batch on a Dask cluster: the same handle, state and results as here, on processes that may be lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from crew_nb._state import events as ev
from tests.dask.conftest import factory
from tests.support import crews
from tests.support.server import ROOT, llm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crewai import Crew
    from distributed import Client

    from tests.support.server import Server

    Build = Callable[..., Crew]


LONG = 120.0
"""Seconds that a busy machine may take to what is waited for; an idle one takes a few."""


def topics(count: int) -> list[dict[str, Any]]:
    return [{"topic": f"t{n}"} for n in range(count)]


async def test_results_are_those_of_a_local_batch(client: Client, build: Build, server: Server):
    """The same results in the same order, the same events, and the worker's name in each row."""
    server.configure(answer="The same for all.")
    results = await cnb.kickoff_for_each(build, topics(6), on=client, show=False)
    near = await cnb.kickoff_for_each(build, topics(6), show=False)
    assert [r.raw for r in results] == [r.raw for r in near]
    assert [r.token_usage for r in results] == [r.token_usage for r in near]
    assert [r.state.status for r in results] == ["done"] * 6
    assert {r.state.worker for r in results} == {"0", "1"}
    assert {r.state.worker for r in near} == {""}

    def shape(result: Any) -> Any:
        state = result.state
        calls = [(c.kind, c.status, c.output) for c in state.all_calls]
        return state.path, state.attempt, calls, [(t.spec, t.status, t.output) for t in state.tasks]

    assert [shape(r) for r in results] == [shape(r) for r in near]
    assert server.stats().by_topic == {f"t{n}": 2 for n in range(6)}


async def test_all_are_in_flight_at_once(client: Client, build: Build, server: Server):
    """64 crews on 2 workers of one thread each wait for their LLM at the same time."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(build, topics(64), on=client, show=False, max_concurrency=64)
    await _thread(server.wait_for, lambda s: s.in_flight == 64, LONG)
    assert batch.state().in_flight == 64
    server.configure(hold=False)
    assert {r.status for r in await batch} == {"done"}
    assert server.stats().peak == 64


async def test_the_limit_holds_over_the_cluster(client: Client, build: Build, server: Server):
    """`max_concurrency` is one number for all workers; so is `max_rpm`."""
    server.configure(hold=True)
    first = cnb.kickoff_for_each(build, topics(20), on=client, show=False, max_concurrency=5)
    await _thread(server.wait_for, lambda s: s.in_flight == 5, LONG)
    server.configure(hold=False)
    server.release()
    assert {r.status for r in await first} == {"done"}
    assert server.stats().peak == 5
    server.reset()
    batch = cnb.kickoff_for_each(build, topics(8), on=client, show=False, max_rpm=4)
    await _thread(server.wait_for, lambda s: len(s.requests) == 4)
    await _seen(batch, lambda: sum(s.status == "waiting" for s in batch.state().runs) == 4)
    assert len(server.stats().requests) == 4
    batch.cancel()
    await batch


async def test_a_lost_worker(fragile: Client, server: Server):
    """Kill -9 of a worker in the middle: every input ends once, what was finished is not asked for again."""
    server.configure(hold=True, topics={f"topic=t{n}\n": {"hold": False} for n in range(16)})
    batch = cnb.kickoff_for_each(_lines(server), topics(64), on=fragile, show=False, max_concurrency=64)
    await _seen(batch, lambda: sum(r.status == "done" for r in batch.runs) == 16)
    await _thread(server.wait_for, lambda s: s.in_flight == 48, LONG)
    lost = next(name for name in sorted(r.state.worker for r in batch.runs[:16]))
    pids = await _thread(fragile.run, os.getpid)
    names = {info["name"]: address for address, info in fragile.scheduler_info()["workers"].items()}
    moved = [r.index for r in batch.runs[16:] if r.state.worker == lost]
    os.kill(pids[names[int(lost)]], signal.SIGKILL)
    await _thread(server.wait_for, lambda s: len(s.requests) == 64 + len(moved), LONG)
    server.configure(hold=False)
    results = await batch
    assert [r.status for r in results] == ["done"] * 64
    ends = [e.run for e in batch.events if isinstance(e, ev.RunFinished)]
    assert sorted(ends) == list(range(64))
    assert 0 < len(moved) < 48
    asked = server.stats().by_topic
    assert asked == {f"t{n}": 2 if n in moved else 1 for n in range(64)}
    assert all(results[n].state.attempt == 2 for n in moved)
    cut = {c.output for n in moved for c in results[n].state.all_calls if c.status == "failed"}
    assert cut == {f"The Dask worker {lost} was lost."}
    assert not any(c.finished is None for r in results for c in r.state.all_calls)


async def test_a_run_that_kills_its_workers_is_given_up(fragile: Client, server: Server):
    """The third worker that is lost under one run is the last: its error says so, and the others end well."""

    def build(topic: str) -> Crew:
        if topic == "t0":
            os.kill(os.getpid(), signal.SIGKILL)
        return make(topic)

    make = _lines(server)
    results = await cnb.kickoff_for_each(build, topics(1), on=fragile, show=False)
    assert results[0].status == "failed"
    assert "So were the 2 that ran it before" in str(results[0].error)
    assert results[0].state.attempt == 3
    again = await cnb.kickoff_for_each(build, topics(4)[1:], on=fragile, show=False)
    assert [r.status for r in again] == ["done"] * 3


async def test_workers_that_are_retired_are_not_lost(server: Server):
    """A run begins again wherever its worker is taken away, as often as that may be; its call there is ended."""
    from distributed import Client, LocalCluster

    server.configure(hold=True)
    async with (
        LocalCluster(n_workers=4, processes=False, asynchronous=True, dashboard_address=None) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        batch = cnb.kickoff_for_each(factory(server.base_url), topics(1), on=client, show=False)
        left = []
        for asked in (1, 2, 3):
            await _thread(server.wait_for, lambda s, n=asked: len(s.requests) == n and s.in_flight == 1, LONG)
            await _seen(batch, lambda n=asked: any(c.attempt == n for c in batch.runs[0].state.all_calls))
            left.append(batch.runs[0].state.worker)
            await client.retire_workers([cluster.workers[int(left[-1])].address])
        await _thread(server.wait_for, lambda s: len(s.requests) == 4 and s.in_flight == 1, LONG)
        server.configure(hold=False)
        server.release()
        results = await batch
    assert (results[0].status, results[0].state.attempt) == ("done", 4)
    cut = [e.message for e in batch.events if isinstance(e, ev.CallFailed)]
    assert cut == [f"The Dask worker {name} was retired." for name in left]


@pytest.mark.slow
async def test_an_adaptive_cluster(server: Server):
    """Dask adds workers for runs that wait, from none; closes none that has runs, and all after the batch."""
    from distributed import Adaptive, Client, LocalCluster

    enough = asyncio.Event()
    gone: asyncio.Queue[str] = asyncio.Queue()

    class Counted(Adaptive):
        looks = 0

        async def target(self) -> int:
            self.looks += 1
            if self.looks == 3 * often["wait_count"]:
                enough.set()
            return int(await super().target())

    def heard(event: Any) -> None:
        if event[1]["action"] == "remove-worker":
            gone.put_nowait(event[1]["worker"])

    server.configure(hold=True)
    options: dict[str, Any] = {"n_workers": 0, "threads_per_worker": 2, "asynchronous": True, "dashboard_address": None}
    often: dict[str, Any] = {"minimum": 0, "maximum": 8, "interval": "100ms", "wait_count": 30}
    async with LocalCluster(**options) as cluster, Client(cluster, asynchronous=True) as client:
        cluster.adapt(**often)
        client.subscribe_topic("all", heard)
        batch = cnb.kickoff_for_each(factory(server.base_url), topics(40), on=client, show=False, max_concurrency=32)
        await _thread(server.wait_for, lambda s: s.in_flight == 32, LONG)
        await client.wait_for_workers(2)  # 16 runs each
        often["wait_count"] = 10
        cluster.adapt(**often, Adaptive=Counted)
        await enough.wait()
        server.configure(hold=False)
        server.release()
        results = await batch
        assert [(r.status, r.state.attempt) for r in results] == [("done", 1)] * 40
        assert len(server.stats().requests) == 40
        while await client.nthreads():
            await gone.get()


async def test_clocks_that_differ(fragile: Client, server: Server):
    """Workers an hour ahead and half an hour behind: every event is on this machine's clock."""

    def shift(dask_worker: Any) -> None:
        ahead, real = (3_600.0 if dask_worker.name == 0 else -1_800.0), time.time
        time.time = lambda: real() + ahead

    await _thread(fragile.run, shift)
    server.configure(latency=0.2)
    began = time.time()
    results = await cnb.kickoff_for_each(_lines(server), topics(8), on=fragile, show=False, max_concurrency=8)
    ended = time.time()
    assert {r.status for r in results} == {"done"}
    assert {r.state.worker for r in results} == {"0", "1"}
    near = 600.0  # what a message may take, and be taken for a difference
    for result in results:
        state = result.state
        times = [state.started, state.finished, *(c.started for c in state.all_calls)]
        assert all(at is not None and began - near <= at <= ended + near for at in times)


async def test_auto_concurrency_over_the_cluster(client: Client, build: Build, server: Server):
    """One limit for all workers: it begins at 20, and 429s cut it."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(build, topics(50), on=client, show=False, max_concurrency="auto", max_retries=5)
    await _thread(server.wait_for, lambda s: s.in_flight == 20, LONG)
    assert (await _thread(server.stats)).peak == 20
    server.configure(hold=False, faults=[{"kind": 429, "times": 2, "retry_after": 0.05}])
    server.release()
    results = await batch
    assert {r.status for r in results} == {"done"}
    assert "429" in batch.state().limit_reason
    assert batch.state().max_concurrency < 40


async def test_stop_means_stop(client: Client, build: Build, server: Server):
    """Cancelling ends the requests on all workers, starts no other one, and keeps what was finished."""
    server.configure(hold=True, topics={"topic=t0\n": {"hold": False}})
    batch = cnb.kickoff_for_each(_lines(server), topics(12), on=client, show=False, max_concurrency=8)
    await _seen(batch, lambda: batch.runs[0].status == "done")
    await _thread(server.wait_for, lambda s: s.in_flight == 8, LONG)
    batch.cancel()
    results = await batch
    assert [r.status for r in results] == ["done"] + ["cancelled"] * 11
    stats = await _thread(server.wait_for, lambda s: s.in_flight == 0)
    assert len(stats.requests) == 9
    assert batch.retry() is batch
    server.configure(hold=False)
    assert {r.status for r in await batch} == {"done"}


async def test_a_timeout_stops_the_run_on_its_worker(client: Client, build: Build, server: Server):
    """`timeout` ends the remote call too."""
    server.configure(hold=True)
    results = await cnb.kickoff_for_each(build, topics(2), on=client, show=False, timeout=0.5)
    assert [type(r.error) for r in results] == [cnb.RunTimeoutError] * 2
    await _thread(server.wait_for, lambda s: s.in_flight == 0)


async def test_errors_arrive_as_they_were(client: Client, build: Build, server: Server):
    """An error keeps its class, text, hint and traceback; what passes by itself is tried again there."""
    import openai

    server.configure(
        faults=[{"kind": 401, "topic": "topic=t0"}, {"kind": 429, "topic": "topic=t1", "times": 1, "retry_after": 0.1}]
    )
    refused, retried = await cnb.kickoff_for_each(build, topics(2), on=client, show=False)
    assert isinstance(refused.error, openai.AuthenticationError)
    assert refused.state.error is not None
    assert refused.state.error.type == "AuthenticationError"
    assert "Traceback" in refused.state.error.traceback
    assert (retried.status, server.stats().by_topic["t1"]) == ("done", 2)
    assert any(c.kind == "wait" and c.name == "retry" for c in retried.state.all_calls)


async def test_an_error_that_cannot_travel_keeps_its_name(client: Client):
    """A stand-in of the same name and text comes instead."""

    class OddError(Exception):
        def __new__(cls, *args: object) -> OddError:
            if not args or args[0] != "inside":
                raise TypeError("not to be made elsewhere")
            return super().__new__(cls, "it went wrong")

        def __reduce__(self) -> Any:
            raise TypeError("no")

    def build(topic: str) -> Crew:
        error = OddError("inside")
        error.args = ("it went wrong", threading.Lock())
        raise error

    run = cnb.kickoff(build, {"topic": "a"}, on=client, show=False)
    with pytest.raises(cnb.RunFailedError, match="OddError"):
        await run


async def test_structured_outputs_are_of_the_users_class(client: Client, server: Server):
    """A pydantic output is an instance of the very class that the notebook knows."""
    server.configure(answer='{"title": "T", "score": 3, "tags": ["a"]}')
    build = factory(server.base_url, output_pydantic=crews.Report)
    output = await cnb.kickoff(build, {"topic": "a"}, on=client, show=False)
    assert output.pydantic == crews.Report(title="T", score=3, tags=["a"])
    assert type(output.pydantic) is crews.Report


async def test_budgets_hold(client: Client, build: Build, server: Server):
    """No LLM call starts on any worker once the budget is spent."""
    server.configure(latency=0.05)
    batch = cnb.kickoff_for_each(build, topics(6), on=client, show=False, max_concurrency=1, max_total_tokens=1)
    results = await batch
    assert [r.status for r in results] == ["done"] + ["cancelled"] * 5
    assert len(server.stats().requests) == 1


async def test_streamed_text_is_live(client: Client, server: Server):
    """Pieces of an answer reach the row while it is being said."""
    server.configure(tokens=100, tokens_per_second=100)
    batch = cnb.kickoff_for_each(factory(server.base_url), topics(1), on=client, show=False, stream=True)
    await _seen(batch, lambda: any(t.text for t in batch.state().runs[0].tasks))
    assert batch.status == "running"
    assert (await batch)[0].status == "done"


async def test_a_batch_resumes_from_the_record(client: Client, build: Build, server: Server):
    """What was finished on a cluster is not asked for again, wherever it is run."""
    await cnb.kickoff_for_each(build, topics(3), on=client, show=False, name="on dask")
    results = await cnb.kickoff_for_each(build, topics(4), show=False, resume="on dask")
    assert [r.state.from_record for r in results] == [True, True, True, False]
    assert server.stats().by_topic == {f"t{n}": 1 for n in range(4)}


async def test_nobody_can_be_asked(client: Client, server: Server):
    """`human_input=True` fails at once, and says why."""
    build = factory(server.base_url, human_input=True)
    results = await cnb.kickoff_for_each(build, topics(1), on=client, show=False)
    assert isinstance(results[0].error, cnb.NobodyToAskError)
    assert "Dask" in str(results[0].error)
    assert server.stats().requests == []


async def test_a_flow_class_travels(client: Client):
    """Its runs are made on the workers, each with a state of its own; an instance is refused, with what to write."""
    from crewai.flow.flow import Flow, listen, start

    class Shout(Flow[dict[str, Any]]):
        @start()
        def first(self) -> str:
            return str(self.state["topic"])

        @listen(first)
        def second(self, text: str) -> str:
            return text.upper()

    results = await cnb.kickoff_for_each(Shout, topics(4), on=client, show=False)
    assert [r.raw for r in results] == ["T0", "T1", "T2", "T3"]
    with pytest.raises(cnb.BlueprintError, match="a Flow object cannot travel"):
        cnb.kickoff_for_each(Shout(), topics(1), on=client, show=False)


def test_what_cannot_travel_is_refused_before_launch(client: Client, server: Server):
    """A Crew, a factory that holds one, and inputs that cannot be pickled are refused with what to write."""
    crew = crews.one(llm(server))
    with pytest.raises(cnb.BlueprintError, match="Give a factory"):
        cnb.kickoff(crew, {"topic": "a"}, on=client, show=False)
    lock = threading.Lock()

    def build(topic: str) -> Crew:
        with lock:
            return crews.one(llm(server))

    with pytest.raises(cnb.BlueprintError, match=r"build\(\) cannot travel .* lock \(a lock\)"):
        cnb.kickoff(build, {"topic": "a"}, on=client, show=False)
    with pytest.raises(cnb.OptionError, match=r"number of processes.*or on=Client\("):
        cnb.kickoff(build, {"topic": "a"}, on="cluster", show=False)
    with pytest.raises(cnb.OptionError, match=r"Write on=cluster\.get_client\("):
        cnb.kickoff(build, {"topic": "a"}, on=client.cluster, show=False)
    assert server.stats().requests == []


async def test_other_versions_are_named(client: Client, build: Build, monkeypatch: pytest.MonkeyPatch):
    """Where no worker has the CrewAI of this process, the runs fail, and name a worker and both versions."""
    from crew_nb._crewai import names as _crewai

    monkeypatch.setattr(_crewai, "version", lambda: "0.1")  # this process pretends; the workers are real
    results = await cnb.kickoff_for_each(build, topics(2), on=client, show=False)
    for result in results:
        assert isinstance(result.error, cnb.OptionError)
        assert re.search(r"worker \d has crewai 1\.\S+ \(here 0\.1\)", str(result.error))


async def test_a_worker_of_another_version_is_left_out(fragile: Client, build: Build, server: Server):
    """The runs go to the other workers, and the batch says so."""

    def pretend(dask_worker: Any) -> None:
        from crew_nb._crewai import names as _crewai

        if dask_worker.name == 0:
            _crewai.version = lambda: "0.1"

    await _thread(fragile.run, pretend)
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(build, topics(4), on=fragile, show=False)
    await _thread(server.wait_for, lambda s: s.in_flight == 4, LONG)
    server.configure(hold=False)
    server.release()
    results = await batch
    assert [(r.status, r.state.worker) for r in results] == [("done", "1")] * 4
    assert any("worker 0 has crewai 0.1" in note for note in batch.state().notes)


async def test_a_verb_waits_for_no_worker(client: Client, build: Build, server: Server, tmp_path: Path):
    """The handle is there while every worker is too busy to answer; the runs begin when one has time."""
    names = [str(info["name"]) for info in client.scheduler_info()["workers"].values()]
    for name in names:
        os.mkfifo(tmp_path / f"busy-{name}")
        os.mkfifo(tmp_path / f"free-{name}")

    async def be_busy(dask_worker: Any) -> None:  # on the worker's own loop, which stands still
        for at, mode in (("busy", "w"), ("free", "r")):
            (tmp_path / f"{at}-{dask_worker.name}").open(mode).close()

    def meet(at: str, mode: str) -> None:
        for name in names:
            (tmp_path / f"{at}-{name}").open(mode).close()

    busy = asyncio.create_task(_thread(client.run, be_busy))
    await _thread(meet, "busy", "r")
    batch = cnb.kickoff_for_each(build, topics(2), on=client, show=False)
    assert batch.status == "queued"
    await _thread(meet, "free", "w")
    await busy
    assert {r.status for r in await batch} == {"done"}


async def test_a_closed_client_is_refused(build: Build):
    """A client that is closed at launch is refused with what to write."""
    from distributed import Client, LocalCluster

    async with (
        LocalCluster(n_workers=0, processes=False, asynchronous=True, dashboard_address=None) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        pass
    with pytest.raises(cnb.OptionError, match=r"closed\. Make a new one: on=Client\("):
        cnb.kickoff_for_each(build, topics(1), on=client, show=False)


@pytest.mark.slow
async def test_a_client_that_dies_leaves_nothing_running(server: Server, monkeypatch: pytest.MonkeyPatch):
    """Workers that no longer hear from their client stop its runs."""
    from distributed import LocalCluster

    from crew_nb._cluster import worker as _dask_worker

    monkeypatch.setattr(_dask_worker, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(_dask_worker, "LISTEN_SECONDS", 0.2)
    server.configure(hold=True)
    code = f"""
import sys
from distributed import Client
import crew_nb as cnb
from tests.dask.conftest import factory
client = Client(sys.argv[1])
cnb.kickoff_for_each(factory({server.base_url!r}), [{{"topic": "a"}}] * 3, on=client, show=False)
sys.stdin.read()
"""
    options: dict[str, Any] = {"n_workers": 1, "processes": False, "protocol": "tcp", "dashboard_address": None}
    async with LocalCluster(asynchronous=True, **options) as cluster:
        command = (sys.executable, "-c", code, cluster.scheduler_address)
        child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=subprocess.PIPE)
        try:
            await _thread(server.wait_for, lambda s: s.in_flight == 3, LONG)
        finally:
            child.kill()
            await child.wait()
        await _thread(server.wait_for, lambda s: s.in_flight == 0, LONG)


async def test_an_asynchronous_client(server: Server):
    """A client that lives on the kernel's own loop serves too, and so do workers in this process."""
    from distributed import Client, LocalCluster

    async with (
        LocalCluster(n_workers=2, processes=False, asynchronous=True, dashboard_address=None) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        results = await cnb.kickoff_for_each(factory(server.base_url), topics(4), on=client, show=False)
    assert [r.status for r in results] == ["done"] * 4
    assert len({r.state.worker for r in results}) == 2


async def test_a_client_that_is_closed_fails_its_runs(build: Build, server: Server, monkeypatch: pytest.MonkeyPatch):
    """Runs whose cluster has gone end, and say so; workers that nobody asks any more stop them."""
    from distributed import Client, LocalCluster

    from crew_nb._cluster import worker as _dask_worker

    monkeypatch.setattr(_dask_worker, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(_dask_worker, "LISTEN_SECONDS", 0.2)
    server.configure(hold=True)
    async with (
        LocalCluster(n_workers=1, processes=False, asynchronous=True, dashboard_address=None) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        batch = cnb.kickoff_for_each(build, topics(2), on=client, show=False)
        await _thread(server.wait_for, lambda s: s.in_flight == 2)
        await client.close()
        results = await batch
    assert [r.status for r in results] == ["failed"] * 2
    assert "cannot be reached" in str(results[0].error)
    await _thread(server.wait_for, lambda s: s.in_flight == 0)


def test_importing_crew_nb_imports_no_dask():
    """Neither the package nor a local batch loads Dask."""
    code = "import sys, crew_nb, crew_nb._cells.verbs; sys.exit('distributed' in sys.modules or 'dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def _lines(server: Server) -> Build:
    """Crews whose prompt ends the line after the topic, so that `t1` is not taken for `t10`."""
    base_url = server.base_url

    def build(topic: str) -> Crew:
        from crewai import LLM, Crew, Task

        model = LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key="test-key")
        worker = crews.agent(model)
        return Crew(agents=[worker], tasks=[Task(description=f"topic={topic}\nGo", expected_output="x", agent=worker)])

    return build


async def _thread(function: Any, *args: Any) -> Any:
    return await asyncio.to_thread(function, *args)


async def _seen(batch: cnb.Batch, condition: Callable[[], bool]) -> None:
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tap(event: ev.Event) -> None:
        loop.call_soon_threadsafe(changed.set)

    batch.taps.append(tap)
    try:
        async with asyncio.timeout(LONG):
            while not condition():
                await changed.wait()
                changed.clear()
    finally:
        batch.taps.remove(tap)
