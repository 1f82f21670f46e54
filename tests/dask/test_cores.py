"""`on="cores"`: a batch begins in this process, goes on in others, and finds them warm the next time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import crew_nb as cnb
from crew_nb._cluster import cores
from tests.support import crews

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crewai import Crew

    from tests.support.server import Server

LONG = 120.0


@pytest.fixture(scope="module", autouse=True)
def _processes() -> Iterator[None]:
    """Two processes for the module: they outlive a batch, and end with it."""
    cores._started(2).result(LONG)
    yield
    cores.stop()


@pytest.fixture
def build(server: Server) -> Callable[[str], Crew]:
    """A factory that travels: its LLM is made where it runs."""
    base_url = server.base_url

    def build(topic: str) -> Crew:
        from crewai import LLM, Crew, Task

        worker = crews.agent(LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key="test-key"))
        return Crew(agents=[worker], tasks=[Task(description=f"topic={topic}\nGo", expected_output="x", agent=worker)])

    return build


def rows(count: int) -> list[dict[str, Any]]:
    """As many inputs."""
    return [{"topic": f"t{n}"} for n in range(count)]


async def test_the_first_runs_begin_here_and_the_others_there(
    build: Callable[[str], Crew], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are in flight together, each input is asked for once, and results are in order."""
    monkeypatch.setattr(cores, "FIRST_HERE", 8)
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(build, rows(40), on=2, show=False, max_concurrency=40)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 40, LONG)
    server.configure(hold=False)
    server.release()
    results = await batch
    assert {r.status for r in results} == {"done"}
    assert server.stats().by_topic == {f"t{n}": 1 for n in range(40)}
    workers = [r.state.worker for r in results]
    assert workers.count("") == 8
    assert set(workers[8:]) == {"0", "1"}


async def test_warm_processes_take_all_of_the_next_batch_but_not_a_small_one(
    build: Callable[[str], Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the same ones; what is small runs in the kernel."""
    monkeypatch.setattr(cores, "FIRST_HERE", 0)
    known = cores._started(2).result(LONG)
    batch = cnb.kickoff_for_each(build, rows(20), on=2, show=False, max_concurrency=20)
    assert {r.state.worker for r in await batch} == {"0", "1"}
    assert "runs are spread over 2 processes of this machine" in batch.state().notes
    assert cores._started(2).result() is known
    small = cnb.kickoff_for_each(build, rows(3), on=2, show=False)
    assert {r.state.worker for r in await small} == {""}
    assert small.state().notes == ()


async def test_a_stop_ends_what_runs_in_both_places(
    build: Callable[[str], Crew], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call comes after it."""
    monkeypatch.setattr(cores, "FIRST_HERE", 4)
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(build, rows(20), on=2, show=False, max_concurrency=20)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 20, LONG)
    batch.cancel()
    assert {r.status for r in await batch} == {"cancelled"}
    assert len(server.stats().requests) == 20
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0, LONG)


@pytest.mark.parametrize("on", [0, -1, True, 1.5, "core", 1_000])
def test_what_is_no_number_of_processes_is_refused(build: Callable[[str], Crew], on: Any) -> None:
    """With what to write."""
    with pytest.raises(cnb.OptionError, match=r'on="cores"|on=Client'):
        cnb.kickoff_for_each(build, rows(1), on=on, show=False)


def test_what_cannot_travel_is_said_before_launch(server: Server) -> None:
    """A Crew object, and a factory that holds one of our locks."""
    with pytest.raises(cnb.BlueprintError, match="cannot travel"):
        cnb.kickoff_for_each(crews.one(cnb.OfflineLLM()), rows(1), on="cores", show=False)
    assert not server.stats().requests


def test_a_stop_while_they_start_ends_them_too() -> None:
    """Processes that are there only afterwards do not stay behind; who waits for them is told."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with cores._keeping:
        kept, cores._kept = cores._kept, {}
    try:
        starting = cores._started(1)
        cores.stop()
        with pytest.raises(RuntimeError, match="stopped while they started"):
            starting.result(LONG)
    finally:
        with cores._keeping:
            cores._kept = kept
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
