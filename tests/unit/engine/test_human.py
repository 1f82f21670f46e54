"""Questions at a real terminal: a pseudo-terminal, with a test at its keyboard."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from typing import TYPE_CHECKING

import pytest

from crew_nb._engine import human as _human

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where keys are written to that `sys.stdin` reads."""
    keys, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keys
    os.close(keys)


async def _until_said(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = ""
    async with asyncio.timeout(10):
        while words not in said:
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out


async def test_a_question_that_has_gone_leaves_the_keyboard_to_the_next(
    keyboard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run was stopped: nobody needs to press Enter for it, and what is typed then answers the one that waits."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[str] = loop.create_future()
    first = loop.create_task(_human._typed("run 0, write", "a draft", gone))
    await _until_said("run 0, write asks for a person.\n\na draft\n\nFeedback (empty: approve): ", capsys)
    answer: asyncio.Future[str] = loop.create_future()
    second = loop.create_task(_human._typed("run 1, write", "another", answer))
    gone.cancel()
    first.cancel()
    os.write(keyboard, b"shorter\n")
    async with asyncio.timeout(10):
        assert await answer == "shorter"
        await asyncio.wait([first, second])
    assert first.cancelled()
    said = capsys.readouterr().out
    assert "run 0, write asks no longer." in said
    assert "Press Enter" not in said


async def test_an_answer_is_one_line(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Two lines that come at once answer two questions, an empty one approves, and letters of any alphabet are kept."""
    loop = asyncio.get_running_loop()
    os.write(keyboard, "kürzer, déjà\n\n".encode())
    for said in ("kürzer, déjà", ""):
        answer: asyncio.Future[str] = loop.create_future()
        async with asyncio.timeout(10):
            await _human._typed("run 0, write", "a draft", answer)
        assert answer.result() == said
