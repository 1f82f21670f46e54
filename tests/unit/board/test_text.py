"""The board as text: bounded, plain, drawn in place in a terminal and as lines in a log."""

from __future__ import annotations

import dataclasses
import io
import os
import pty
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from crew_nb._board import text as _text
from tests.support import batches
from tests.support.safety import VECTORS, tainted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crew_nb._state.state import BatchState

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Source:
    """A batch that the test moves on, and a clock."""

    def __init__(self, *states: BatchState) -> None:
        self.states = list(states)
        self.time = 0.0

    def state(self) -> BatchState:
        return self.states[0]

    def clock(self) -> float:
        return self.time

    def step(self, seconds: float) -> None:
        self.time += seconds
        if len(self.states) > 1:
            self.states.pop(0)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A real pseudo-terminal of 100 by 20, and the end it is read from."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    stream = os.fdopen(slave, "w", encoding="utf-8")
    yield stream, master
    if not stream.closed:
        stream.close()
    os.close(master)


def read(master: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


def drawn(state: BatchState, width: int, height: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(_text.renderable(state, width, height))
    return out.getvalue().splitlines()


def first(n: int) -> BatchState:
    """A batch of which only the first `n` runs have ended."""
    state = batches.finished(8)
    queued = tuple(batches.new_run(r.index, r.label, batches.ZERO) for r in state.runs[n:])
    return dataclasses.replace(state, runs=(*state.runs[:n], *queued), finished=None)


def test_summary_says_it_in_lines() -> None:
    """Two lines for the batch, its notes, and one for each run."""
    lines = _text.summary(batches.live()).splitlines()
    assert lines[0] == "research sweep: 9 done  3 running  2 waiting  1 failed  5 queued"
    assert "0:20 elapsed" in lines[1]
    assert "offline LLM" in lines[1]
    assert len(lines) == 3 + 20
    assert re.search(r"9 ✗ failed +Rail +0:06 .*RateLimitError: 429", lines[12])
    assert "“The market doubles in (offline LLM)" in lines[13]


def test_summary_is_bounded_and_keeps_the_problems() -> None:
    """Of 1,000 runs 40 are listed, the failed one among them, in input order."""
    state = batches.finished(1000)
    late = (*state.runs[:2], *state.runs[3:], dataclasses.replace(state.runs[2], index=999))
    lines = _text.summary(dataclasses.replace(state, runs=late)).splitlines()
    assert len(lines) == 2 + _text.ROWS + 1
    assert lines[-1] == "   … 960 more runs"
    assert lines[-2].startswith(" 999 ✗ failed")


@pytest.mark.parametrize(("width", "height"), [(130, 16), (80, 12), (40, 6), (20, 3)])
def test_a_terminal_is_never_overrun(width: int, height: int) -> None:
    """At most as many lines and columns as there are; problems and what is under way stay."""
    lines = drawn(batches.live(), width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    if height > 10:
        assert any("✗ failed" in line for line in lines)
        assert any("more runs" in line for line in lines)


@pytest.mark.parametrize("vector", VECTORS)
def test_nothing_steers_the_terminal(vector: str) -> None:
    """No escape, control or direction character of a vector comes out, and no rich markup is obeyed."""
    state = tainted(vector)
    for text in (_text.summary(state), _text.line(state), "\n".join(drawn(state, 100, 30))):
        assert not STEERING.search(text)
    assert not STEERING.search(_text.compare(vector, vector, "b", "b"))


def test_markup_is_words() -> None:
    """Square brackets of an LLM are shown as they are."""
    state = batches.finished(1, topic=lambda i: "[bold]x[/]")
    assert any("[bold]x[/]" in line for line in drawn(state, 100, 10))


def test_compare_as_text() -> None:
    """Both sides of a change stand side by side, and what is the same is folded."""
    same = " ".join(f"w{i}" for i in range(50))
    text = _text.compare("a", f"{same} half of it", "b", f"{same} a third of it")
    assert "[-half-] {+a third+} of it" in text
    assert "[… 44 words the same …] w44" in text
    assert _text.compare("a", "x", "b", "x") == "a → b: the same words"


def test_a_log_gets_a_line_when_something_ended_and_not_oftener_than_once_a_second() -> None:
    """Eight flushes over two seconds write two lines, and the end one with the errors."""
    out = io.StringIO()
    source = Source(*(first(n) for n in (0, 0, 1, 2, 3, 3, 4, 8)))
    live = _text.LiveText(source.state, out, source.clock)
    for _ in range(8):
        live.flush()
        source.step(0.25)
    live.finish()
    lines = out.getvalue().splitlines()
    assert [re.search(r"\d+ done", line).group() for line in lines[:3]] == ["1 done", "3 done", "7 done"]
    assert lines[3] == "  run 2 (topic=topic 2) failed: RateLimitError: 429: too many requests for this key"
    assert len(lines) == 4
    live.flush()
    live.finish()
    assert out.getvalue().splitlines() == lines


def test_a_log_that_is_ascii_is_no_error() -> None:
    """What the encoding lacks is replaced."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    state = dataclasses.replace(batches.finished(2), name="ünï ✓")
    _text.LiveText(lambda: state, stream).finish()
    assert raw.getvalue().startswith(b"?n? ?: 2 done")


def test_a_stream_that_is_gone_costs_nothing() -> None:
    """Neither a flush nor the end raises when the stream was closed."""
    out = io.StringIO()
    live = _text.LiveText(lambda: first(2), out, lambda: 0.0)
    out.close()
    live.flush()
    live.flush()
    live.finish()


def test_a_terminal_is_drawn_in_place_and_left_in_the_final_state(terminal: tuple[io.TextIOWrapper, int]) -> None:
    """Drawing moves the cursor up; the end stays as plain rows, and the cursor is back."""
    stream, master = terminal
    source = Source(first(1), first(2), batches.finished(8))
    live = _text.LiveText(source.state, stream, source.clock)
    live.flush()
    source.step(1)
    live.flush()
    middle = read(master)
    assert "1 done  7 queued" in middle
    assert "\x1b[1A" in middle
    source.step(1)
    live.finish()
    end = read(master)
    assert "7 done  1 failed" in end
    assert end[end.index("7 done") :].count(" topic 5 ") == 1
    assert end.index("\x1b[?25h") < end.index("7 done")


def test_two_batches_share_a_terminal(terminal: tuple[io.TextIOWrapper, int]) -> None:
    """Both are drawn, each ends on its own, and one that is tried again is drawn again."""
    stream, master = terminal
    a = Source(dataclasses.replace(first(1), name="first"), dataclasses.replace(batches.finished(3), name="first"))
    b = Source(dataclasses.replace(first(2), name="second"), dataclasses.replace(batches.finished(3), name="second"))
    lives = [_text.LiveText(s.state, stream, s.clock) for s in (a, b)]
    for live in lives:
        live.flush()
    both = read(master)
    assert "first" in both
    assert "second" in both
    a.step(1)
    lives[0].finish()
    b.step(1)
    lives[1].finish()
    assert read(master).count("2 done  1 failed") >= 2
    lives[0].flush()
    assert read(master) == ""
    a.states = [dataclasses.replace(first(2), name="first")]
    lives[0].flush()
    assert "2 done" in read(master)
    a.states = [dataclasses.replace(batches.finished(3), name="first")]
    lives[0].finish()
    assert "2 done  1 failed" in read(master)
