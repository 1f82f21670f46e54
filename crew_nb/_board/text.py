"""The board as text: in a terminal through rich, in a log as plain lines, and as the text beside the HTML.

Words from outside are stripped of whatever steers a terminal, and never read as rich markup.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crew_nb._board import diff as _diff
from crew_nb._board import summary as _summary
from crew_nb._board.summary import SIGNS, counts_text, facts, now_text, seconds, summarize
from crew_nb._state import clock as _clock
from crew_nb._state.labels import called
from crew_nb._state.words import clock, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crew_nb._state.state import BatchState, RunState

ROWS = 40
"""Runs listed in a text; problems and what is under way go first."""
LINE_EVERY = 1.0
"""Seconds between two lines in a log, at least."""

_COLOURS = {"done": "green", "running": "blue", "waiting": "yellow", "failed": "red"}
_FIRST = ("failed", "cancelling", "waiting", "running", "cancelled", "done", "queued")


def summary(state: BatchState) -> str:
    """A few lines on the batch and one for each run, as many as `ROWS`."""
    now = max((r.last_event for r in state.runs), default=state.created)
    numbers = summarize(state)
    runs, left = _chosen(state.runs, ROWS)
    lines = [f"{_name(state)}: {counts_text(numbers)}", "  ".join(facts(numbers))]
    lines += [one_line(note, 200) for note in state.notes]
    for run in runs:
        spent = seconds(run, now)
        said = _said(run, now)
        parts = [
            f"{run.index:>4}",
            f"{SIGNS[run.status]} {run.status:<10}",
            f"{one_line(called(run.columns, run.label), 40):<40}",
            f"{'' if spent is None else clock(spent):>7}",
            f"{run.usage.total_tokens:>9,} tokens" if run.usage.total_tokens else "",
            f" {one_line(said, 100)}" if said else "",
        ]
        lines.append(" ".join(parts).rstrip())
    if left:
        lines.append(f"   … {left:,} more run{'' if left == 1 else 's'}")
    return "\n".join(lines)


def line(state: BatchState, now: float | None = None) -> str:
    """The batch in one line, for a log.

    Args:
        state: The batch.
        now: Unix seconds; None for the time of the last event.
    """
    numbers = summarize(state, now)
    return f"{_name(state)}: {counts_text(numbers)}  {numbers.percent}%  {'  '.join(facts(numbers))}"


def compare(label_a: str, text_a: str, label_b: str, text_b: str) -> str:
    """What differs between two texts, word by word: `[-only in the first-]` and `{+only in the second+}`.

    Args:
        label_a: What the first is called.
        text_a: The first text.
        label_b: What the second is called.
        text_b: The second text.
    """
    pieces = _diff.words(plain(text_a), plain(text_b))
    marks = {"removed": "[-{}-]", "added": "{{+{}+}}"}
    parts = (marks.get(p.kind, "{}").format(p.text) for p in _diff.folded(pieces))
    head = f"{one_line(label_a, 80)} → {one_line(label_b, 80)}: {_diff.share(pieces)}"
    return head if all(p.kind == "same" for p in pieces) else head + "\n\n" + "".join(parts)


def renderable(state: BatchState, width: int, height: int = ROWS + 4, now: float | None = None) -> RenderableType:
    """The board for a terminal, in at most `height` lines; problems and what is under way go first.

    Args:
        state: The batch.
        width: Columns there are.
        height: Lines there are.
        now: Unix seconds; None for the time of the last event.
    """
    if now is None:
        now = max((r.last_event for r in state.runs), default=state.created)
    numbers = summarize(state, now)
    header = Text(f"{_name(state)}  ", style="bold", no_wrap=True, overflow="ellipsis")
    header.append(counts_text(numbers), style="not bold")
    bar = Text(no_wrap=True, overflow="ellipsis")
    for sign, status in _summary.bar(numbers, max(10, min(40, width // 3))):
        bar.append(sign, style=_COLOURS.get(status, "dim"))
    bar.append(f"  {numbers.percent}%  " + "  ".join(facts(numbers)))
    notes = [Text(one_line(n, width), style="italic") for n in state.notes[-2:]] if height > 8 else []
    room = max(0, height - 2 - len(notes))
    runs, left = _chosen(state.runs, room)
    if left:
        runs, left = _chosen(state.runs, max(0, room - 1))
    parts: list[RenderableType] = [header, bar, *notes, _rows(runs, width, now)]
    if left and room:
        parts.append(Text(f"… {left:,} more run{'' if left == 1 else 's'}", style="dim"))
    return Group(*parts)


class LiveText:
    """The board on a stream: drawn in place in a terminal, a line now and then anywhere else.

    Neither `flush` nor `finish` raises when the stream is gone: a display must not cost the batch.
    """

    def __init__(
        self,
        state: Callable[[], BatchState],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is written yet.

        Args:
            state: Gives the batch as it is.
            stream: Where to write; None for standard output.
            clock: Seconds, for the pace of the lines.
        """
        self._state = state
        self._stream = stream if stream is not None else sys.stdout
        self._clock = clock
        self._screen = _screen(self._stream) if Console(file=self._stream).is_terminal else None
        self._seen = 0
        self._last = float("-inf")
        self._left = False
        self._gone = False

    def flush(self) -> None:
        """Draw the batch as it is; called at most four times a second, from one of the engine's worker threads."""
        if self._gone or (self._left and self._state().final):
            return
        self._left = False  # some of it is tried again
        try:
            if self._screen is not None:
                self._screen.draw(self)
            else:
                self._log()
        except (OSError, ValueError):
            self._gone = True  # the stream is closed

    def finish(self) -> None:
        """Leave the batch as it is on the stream; drawing goes on only if some of it is tried again."""
        if self._gone or self._left:
            return
        self._left = True
        try:
            if self._screen is not None:
                self._screen.leave(self)
            else:
                _write(self._stream, _ending(self._state()))
        except (OSError, ValueError):
            self._gone = True  # the stream is closed

    def _log(self) -> None:
        state = self._state()
        finished = sum(r.final for r in state.runs)
        if finished == self._seen or self._clock() - self._last < LINE_EVERY:
            return
        self._seen, self._last = finished, self._clock()
        if finished < len(state.runs):  # the last line is that of `finish`
            _write(self._stream, line(state, _clock.now()))

    def _drawn(self, width: int, height: int) -> RenderableType:
        return renderable(self._state(), width, height, _clock.now())


class _Screen:
    """One terminal, which several batches may share: rich draws one live display at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, markup=False, highlight=False)
        self._live: Live | None = None
        self._shown: list[LiveText] = []
        # `draw` and `leave` come from worker threads of the engine, and those of two batches at the same time.
        self._lock = threading.Lock()

    def draw(self, batch: LiveText) -> None:
        with self._lock:
            if batch not in self._shown:
                self._shown.append(batch)
            if self._live is None:
                ours = self._console.file is sys.stdout
                self._live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=ours,
                    redirect_stderr=ours,
                    vertical_overflow="crop",
                )
                self._live.start()
            self._refresh()

    def leave(self, batch: LiveText) -> None:
        with self._lock:
            if batch in self._shown:
                self._shown.remove(batch)
            if self._live is not None and not self._shown:
                self._live.stop()
                self._live = None
            self._console.print(batch._drawn(self._console.width, ROWS + 4))
            if self._live is not None:
                self._refresh()

    def _refresh(self) -> None:
        assert self._live is not None
        width, height = self._console.size
        each = max(3, (height - 1) // len(self._shown))
        self._live.update(Group(*(b._drawn(width, each) for b in self._shown)), refresh=True)


_screens: dict[int, tuple[TextIO, _Screen]] = {}


def _screen(stream: TextIO) -> _Screen:
    """The screen of the stream; one that was replaced (as tests and IPython do) gets its own."""
    known = _screens.get(id(stream))
    if known is None or known[0] is not stream:
        known = _screens[id(stream)] = (stream, _Screen(stream))
    return known[1]


def _rows(runs: Iterable[RunState], width: int, now: float) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(12, width // 4))
    if width >= 100:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 3)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.expand = True
    for run in runs:
        spent = seconds(run, now)
        status = Text(f"{SIGNS[run.status]} {run.status}", style=_COLOURS.get(run.status, "dim"))
        cells = [
            Text(str(run.index)),
            status,
            Text(one_line(called(run.columns, run.label), 80)),
            *([_tasks(run)] if width >= 100 else []),
            Text(one_line(_said(run, now), width), style="red" if run.error else ""),
            Text("" if spent is None else clock(spent)),
            Text(f"{run.usage.total_tokens:,}" if run.usage.total_tokens else ""),
        ]
        table.add_row(*cells)
    return table


def _tasks(run: RunState) -> Text:
    text = Text()
    for place, task in enumerate(run.own_tasks):
        text.append(SIGNS[task.status], style=_COLOURS.get(task.status, "dim"))
        words = [one_line(task.spec.name, 24), _summary.rounds(task), one_line(_summary.edge_text(run, place), 42)]
        text.append(f" {' '.join(filter(None, words))}  ")
    return text


def _said(run: RunState, now: float) -> str:
    if run.error is not None:
        return f"{run.error.type}: {run.error.message}"
    said = now_text(run, now)
    marks = ", ".join(filter(None, ["recorded" * bool(run.recorded_calls), "offline LLM" * run.offline]))
    return f"{said} ({marks})" if said and marks else said


def _ending(state: BatchState) -> str:
    failed = [r for r in state.runs if r.error is not None]
    lines = [line(state)]
    lines += [
        f"  run {r.index} ({one_line(r.label, 60)}) {r.status}: {one_line(_said(r, 0.0), 200)}" for r in failed[:10]
    ]
    if len(failed) > 10:
        lines.append(f"  … {len(failed) - 10:,} more errors")
    return "\n".join(lines)


def _chosen(runs: tuple[RunState, ...], room: int) -> tuple[list[RunState], int]:
    """As many runs as there is room for, problems and those under way first, in input order; and how many are left."""
    if len(runs) <= room:
        return list(runs), 0
    urgent = sorted(runs, key=lambda r: _FIRST.index(r.status))[:room]
    return sorted(urgent, key=lambda r: r.index), len(runs) - room


def _name(state: BatchState) -> str:
    return one_line(state.name, 60) or "batch"


def _write(stream: TextIO, words: str) -> None:
    """What the stream's encoding cannot say is replaced: a log of a server is often plain ASCII."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(words.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()
