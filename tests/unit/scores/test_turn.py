"""Calls in turn: each heard of as it ends, and none begun once one was given up."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crew_nb._scores.turn import HungError, Turn


async def test_each_is_heard_of_as_it_ends() -> None:
    """The first is told while the second goes on; an error is told in its place."""
    gate = threading.Event()

    def held() -> str:
        assert gate.wait(30)
        return "second"

    turn = Turn([lambda: "first", held, lambda: 1 / 0, lambda: "last"], None, ThreadPoolExecutor())
    assert await turn.next() == "first"
    gate.set()
    assert await turn.next() == "second"
    with pytest.raises(ZeroDivisionError):
        await turn.next()
    assert await turn.next() == "last"


async def test_none_begins_after_one_that_was_given_up() -> None:
    """A call that comes back after its time begins no other one."""
    gate, begun = threading.Event(), []

    def hangs() -> None:
        begun.append("hangs")
        gate.wait(30)

    pool = ThreadPoolExecutor()
    turn = Turn([hangs, lambda: begun.append("next")], 0.01, pool)
    with pytest.raises(HungError, match="longer than"):
        await turn.next()
    gate.set()
    await asyncio.to_thread(pool.shutdown)
    assert begun == ["hangs"]
