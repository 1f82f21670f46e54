"""A batch that is stopped while scores are made: nothing runs on, rows are final, and what was scored stays."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm

ROWS = [{"topic": f"T{n}"} for n in range(6)]


def sweep(server: Server, *scores: Any) -> cnb.Batch:
    """Six runs of one call each, and their scores."""
    shared = llm(server)
    build = lambda topic, tone: crews.one(shared)  # noqa: E731
    return cnb.sweep(build, ROWS, {"tone": ["dry"]}, scores=list(scores), resume=True, show=False)


def until_scored(batch: cnb.Batch, count: int) -> None:
    end = time.monotonic() + 60
    while sum(map(bool, batch.results.scores)) < count:
        assert time.monotonic() < end, batch.results.scores
        time.sleep(0.01)


def test_a_judge_that_is_asked(server: Server) -> None:
    """Its requests are closed as those of runs are, none comes after; a resume asks for what is missing only."""
    says = {"answer": '{"reason": "r", "score": true}'}
    of_judge = {f'"topic": "T{n}"': {**says, "hold": n > 2} for n in range(6)}
    server.configure(topics={**of_judge, "topic=T5": {"hold": True}})
    judge = cnb.judge("Is it sound?", llm(server, model="openai/gpt-4.1"))
    batch = sweep(server, judge)
    server.wait_for(lambda stats: stats.in_flight == 3 and len(stats.requests) == 11)
    until_scored(batch, 3)
    batch.cancel()
    batch.wait_quietly(60)
    server.wait_for(lambda stats: stats.in_flight == 0)
    assert [run.status for run in batch] == ["done"] * 5 + ["cancelled"]
    assert [row.get("judge") for row in batch.results.scores] == [True] * 3 + [None] * 3
    server.configure(topics={f'"topic": "T{n}"': says for n in range(6)})
    server.release()
    assert len(server.stats().requests) == 11

    results = sweep(server, judge).wait(60)
    assert [row["judge"] for row in results.scores] == [True] * 6
    assert [(r.model, r.topic) for r in server.stats().requests[11:]].count(("gpt-4o-mini", "T5")) == 1
    assert len(server.stats().requests) == 11 + 1 + 3


@pytest.mark.parametrize("kind", ["function", "async function"])
def test_a_function_that_hangs(server: Server, kind: str) -> None:
    """The batch ends without it; it is called for no further run, and what came before it is kept."""
    asked: list[str] = []
    hangs, go_on = threading.Event(), threading.Event()

    def length(output: Any, inputs: Any) -> int:
        asked.append(inputs["topic"])
        if len(asked) == 3:
            hangs.set()
            go_on.wait()
        return 1

    async def alength(output: Any, inputs: Any) -> int:
        asked.append(inputs["topic"])
        if len(asked) > 2:
            hangs.set()
            await asyncio.Event().wait()
        return 1

    batch = sweep(server, length if kind == "function" else alength)
    try:
        assert hangs.wait(60)
        until_scored(batch, 2)
        server.wait_for(lambda stats: len(stats.requests) == 6 and stats.in_flight == 0)
        batch.cancel()
        batch.wait_quietly(60)
        before = list(asked)
        scores = batch.results.scores
        assert sum(map(bool, scores)) == 2
    finally:
        go_on.set()
    again = sweep(server, lambda output, inputs: 2).wait(60)
    assert asked == before
    assert batch.results.scores == scores
    assert len(again.scores) == 6
