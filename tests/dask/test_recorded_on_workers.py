"""Recorded answers on a Dask cluster: the same file as here, kept by the client, and replayed by its workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import crew_nb as cnb
from crew_nb._record import answers as _answers
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crewai import Crew
    from distributed import Client

    from tests.support.server import Server

TOPICS = [{"topic": topic, "api_key": "sk-proj-7aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"} for topic in ("a", "b", "c", "d")]


def _factory(base_url: str) -> Callable[..., Crew]:
    def build(topic: str, api_key: str) -> Crew:
        from crewai import LLM
        from crewai.tools import tool

        from tests.support import crews

        @tool
        def place(query: str) -> str:
            """Tell which process this is."""
            import os

            return f"process {os.getpid()}"

        llm = LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key=api_key)
        crew = crews.one(llm, tools=[place])
        crew.tasks[0].description += f" with {api_key}"
        return crew

    return build


def _lines(lesson: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in lesson.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


async def test_what_was_recorded_anywhere_is_replayed_everywhere(
    client: Client, server: Server, tmp_path: Path
) -> None:
    """Asked on workers, answered here; asked here, answered on workers; new ones are added, and the keys are not."""
    build = _factory(server.base_url)
    lesson = tmp_path / "lesson.jsonl"

    async def run(rows: list[dict[str, str]], **options: Any) -> list[str]:
        chosen = {"answers": lesson, "answers_speed": 0, "answers_tools": True, "show": False, **options}
        results = await cnb.kickoff_for_each(build, rows, **chosen)
        results.raise_for_errors()
        return [result.raw for result in results]

    there = await run(TOPICS[:3], on=client)
    assert len(server.stats().requests) == 6
    assert len([line for line in _lines(lesson) if "call" in line]) == 9
    assert "sk-proj" not in lesson.read_text()
    written = lesson.read_bytes()
    assert all("process" in raw for raw in there)

    _answers._opened.clear()
    assert await run(TOPICS[:3], answers_missing="error") == there
    _answers._opened.clear()
    assert await run(TOPICS[:3], on=client, answers_missing="error") == there
    assert len(server.stats().requests) == 6
    assert lesson.read_bytes() == written
    kept = cnb.answers(lesson)
    assert all(row["used"] for row in kept)

    whole = await run(TOPICS, on=client, answers_missing="ask")
    assert whole[:3] == there
    assert len(server.stats().requests) == 8
    missed = await cnb.kickoff_for_each(
        build, [{"topic": "e", "api_key": "none"}], on=client, show=False, answers=lesson, answers_missing="error"
    )
    assert isinstance(missed[0].error, cnb.NotRecordedError)
    assert len(server.stats().requests) == 8


def _named(base_url: str) -> Callable[..., Crew]:
    def build(topic: str, tone: str) -> Crew:
        import os

        from crewai import LLM

        from tests.support import crews

        os.environ |= {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "test-key"}
        crew = crews.chain(LLM(model="openai/gpt-4o-mini"), 2)
        crew.tasks[0].description += f" in a {tone} tone"
        return crew

    return build


async def test_a_sweep_of_models_is_judged(client: Client, server: Server, tmp_path: Path) -> None:
    """A factor of models reaches the calls on workers, judges ask from here; recorded, the same asks nobody."""
    rows = [{"topic": topic} for topic in ("a", "b")]
    over = {"llm": ["openai/gpt-4o", "openai/gpt-4.1"], "tone": ["dry", "warm"]}

    async def sweep() -> cnb.Results:
        results = await cnb.sweep(
            _named(server.base_url),
            rows,
            over,
            repeats=2,
            scores=[cnb.judge("Is it about its topic?", llm(server, model="openai/gpt-4.1-nano"))],
            answers=tmp_path / "sweep.jsonl",
            answers_speed=0,
            on=client,
            show=False,
        )
        results.raise_for_errors()
        return results

    first = await sweep()
    asked = Counter(request.model for request in server.stats().requests)
    assert asked == Counter({"gpt-4o": 16, "gpt-4.1": 16, "gpt-4.1-nano": 16})
    assert {r.state.worker for r in first} == {"0", "1"}
    assert {call.name for r in first for call in r.state.all_calls} == {"gpt-4o", "gpt-4.1"}
    assert [row["judge scored"] for row in first.summary()] == [4] * 4
    _answers._opened.clear()
    again = await sweep()
    assert [r.raw for r in again] == [r.raw for r in first]
    assert again.scores == first.scores
    assert len(server.stats().requests) == 48


def _two(base_url: str) -> Callable[..., Crew]:
    def build(topic: str) -> Crew:
        from crewai import LLM

        from tests.support import crews

        return crews.chain(LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key="test-key"), 2)

    return build


async def test_a_run_that_moves_keeps_its_answers(fragile: Client, server: Server, tmp_path: Path) -> None:
    """Its worker is killed in its second call: the first is not asked again, and the file replays what came of it."""
    lesson = tmp_path / "lesson.jsonl"
    rows = [{"topic": topic} for topic in ("a", "b", "c", "d")]
    server.configure(topics={"Step 1": {"hold": True}})
    batch = cnb.kickoff_for_each(_two(server.base_url), rows, answers=lesson, answers_speed=0, on=fragile, show=False)
    await asyncio.to_thread(server.wait_for, lambda stats: stats.in_flight == 4, 120.0)
    workers = {run.index: run.state.worker for run in batch.runs}
    pids = await asyncio.to_thread(fragile.run, os.getpid)
    names = {info["name"]: address for address, info in fragile.scheduler_info()["workers"].items()}
    os.kill(pids[names[int(workers[0])]], signal.SIGKILL)
    moved = sum(worker == workers[0] for worker in workers.values())
    await asyncio.to_thread(server.wait_for, lambda stats: len(stats.requests) == 8 + moved, 120.0)
    server.configure(topics={})
    server.release()
    results = await batch
    results.raise_for_errors()
    assert len(server.stats().requests) == 8 + moved
    _answers._opened.clear()
    again = await cnb.kickoff_for_each(
        _two(server.base_url), rows, answers=lesson, answers_speed=0, answers_missing="error", show=False
    )
    assert [r.raw for r in again] == [r.raw for r in results]
    assert len(server.stats().requests) == 8 + moved
