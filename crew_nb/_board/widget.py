"""The live board: one widget per view of a batch, drawn from its state and never from its events.

`flush` runs on the engine's thread only; messages from the browser come on any thread and are only
put into a queue, or handed on as commands. All boards of a pacer together send at most 5 messages a second.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import traitlets

from crew_nb._board import view as _view
from crew_nb._board.keeper import Pinned
from crew_nb._board.summary import Tally
from crew_nb._state import clock as _clock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from crew_nb._board.sweep import Sweep
    from crew_nb._board.together import Source
    from crew_nb._board.view import Json
    from crew_nb._state.events import TaskSpec
    from crew_nb._state.state import BatchState, RunState

_STATIC = Path(__file__).with_name("static")

INTERVAL = 0.2
"""Seconds between two messages of all boards of a pacer together."""
ROOM = 60_000
"""Bytes of JSON that one message may take."""
LOOKED_AT_ROOM = 45_000
"""Of these, what is looked at may take; the rest is kept for rows out of sight, so that they come too."""
FILE_PART = 50_000
"""Characters of a file in one message."""
FILE_THREAD = "crew_nb file"
"""Name of the threads that write files."""
FROZEN_ROOM = 600_000
"""Bytes of the final board that are kept with the widget."""
VIEWS = 8
"""Views of one board that are remembered; one that went away without a word is forgotten for a new one."""
LOOKED_AT = 64
"""Rows, cards or lanes that one view may look at."""
LOG_LINES = 5_000


class Paced(Protocol):
    """A widget that takes its turn with all others that are live."""

    comm: Any
    wake: Callable[[], None]

    def flush(self) -> bool:
        """Send one message, if there is something to send; returns whether one was sent."""


class Board(Pinned):
    """The live view of a batch."""

    # Text and not paths: given a path, anywidget may start a thread that watches the file.
    _esm = (_STATIC / "board.js").read_text(encoding="utf-8")
    _css = (_STATIC / "board.css").read_text(encoding="utf-8")

    frozen = traitlets.Dict().tag(sync=True)
    """The final board, for a page that has the saved widget but no kernel; empty until `freeze`."""

    _COMMANDS: ClassVar[dict[str, dict[str, type]]] = {
        "cancel": {"run": int},
        "pause": {},
        "resume": {},
        "retry": {"run": int},
        "answer": {"run": int, "key": str, "text": str, "approve": bool},
    }

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.wake: Callable[[], None] = lambda: None
        """To be called, on any thread, when there may be something to send; a pacer sets it."""
        self.touched = time.monotonic()
        """When a browser last said something, in Unix seconds."""
        self.show: Callable[[], object] | None = None
        """Displays it in another cell, in an output that is looked after as the first one is."""
        self._inbox: deque[Json] = deque(maxlen=1_000)
        self._looks: dict[str, _Look] = {}
        self._heard: dict[str, int] = {}
        self._files: deque[Json] = deque()
        self._revision = 0
        self._tally = Tally()
        self._forget()
        self.on_msg(self._on_message)

    def _forget(self) -> None:
        """Nothing is known to the browsers."""
        self._sent: dict[tuple[str, int], tuple[RunState, int]] = {}
        self._shapes: dict[tuple[TaskSpec, ...], int] = {}
        self._summary: Json = {}
        self._lines = _view.Lines()
        self._logged: set[tuple[float, int, str]] = set()
        self._scored = 0
        self._means: list[Json] | None = None

    def rest(self) -> None:
        """Nothing that is looked after shows it any more: the batch is kept no longer, and no more of it than needed.

        A view that somebody has put elsewhere says that it is there, and is served as long as the batch lives.
        """
        if not isinstance(self.source, weakref.ProxyType):
            self.source = weakref.proxy(self.source)
        self._looks.clear()
        self._tally = Tally()
        self._forget()
        self._as_cell(self.send, {"t": "who"})

    def rouse(self, source: Source) -> None:
        """It is shown again, or there is news: keep the batch."""
        self.source = source

    @property
    def looked_at(self) -> bool:
        """Whether a view has said that it is there."""
        return bool(self._looks or self._inbox)

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        if not isinstance(content, dict) or content.get("t") == "ping":
            return  # a page that only wants to know whether there is still somebody to send to
        view, number = str(content.get("view"))[:64], content.get("n")
        if type(number) is int:  # some front ends hand a message on twice
            if number <= self._heard.get(view, 0):
                return
            self._heard = dict([*self._heard.items(), (view, number)][-4 * VIEWS :])
        self.touched = time.monotonic()
        if content.get("t") == "do":
            self._do(content)
        else:
            self._inbox.append(content)
        self.wake()

    def _do(self, content: Json) -> None:
        name = str(content.get("name"))
        if name not in self._COMMANDS:
            return
        kinds = self._COMMANDS[name]
        args = {key: content[key] for key in kinds if key in content}
        # Not isinstance: True is an int to Python, and "run True" is not meant.
        if all(type(value) is kinds[key] for key, value in args.items()):
            with contextlib.suppress(ReferenceError):  # the batch has gone
                self.source.command(name, **args)

    def flush(self) -> bool:
        """Send what changed since the last flush, in one message; nothing while nobody looks.

        Returns:
            Whether a message was sent; there may be more to send.
        """
        if not (self._looks or self._inbox):
            return False
        try:
            state = self.source.state()
        except ReferenceError:  # the batch has gone, and what there was to say is said
            self._inbox.clear()
            return False
        full = self._take_in(state)
        if not self._looks:
            return False
        if self._files and not full:
            message = self._files.popleft()
        else:
            found = self._tick(state, full=full)
            if found is None:
                return False
            message = found
        self._revision += 1
        self._as_cell(self.send, {**message, "revision": self._revision})
        return True

    def _ipython_display_(self) -> None:
        if self.show is None:
            raise NotImplementedError  # IPython goes on to the widget's own bundle
        self.show()

    def freeze(self) -> None:
        """Keep the final board with the widget, for where it is shown without a kernel; in any thread."""
        state = self.source.state()
        now = state.finished or _clock.now()
        message = _Message(state, {}, FROZEN_ROOM)
        for kind in ("row", "card", "lane", "detail"):
            if not all(message.add(kind, run) for run in state.runs):
                break
        sweep = self.source.sweep
        if sweep is not None and message.spend(sweep.grid):
            message.content["grid"] = sweep.grid
            self._scored = 0
            self._fill_scores(message, state, sweep)
            message.content["means"] = sweep.means() or []
        lines, _ = _view.newest(state.runs, state.created, _view.LOG_LINES)
        frozen = {
            **message.content,
            "full": True,
            "revision": 0,
            "batch": _view.summary(state, now),
            "now": round(now - state.created, 3),
            "lines": lines if message.spend(lines) else [],
        }
        self.put(frozen=frozen)

    def _take_in(self, state: BatchState) -> bool:
        """Read what the browsers said; True where a view needs everything from the start."""
        full = False
        while self._inbox:
            content = self._inbox.popleft()
            view = str(content.get("view"))[:64]
            match content.get("t"):
                case "bye":
                    self._looks.pop(view, None)
                case "hello" | "look" as said:
                    full = full or said == "hello" or view not in self._looks  # one that was forgotten
                    self._looks[view] = _Look.of(content)
                    for old in list(self._looks)[:-VIEWS]:
                        del self._looks[old]
                case "file" if content.get("format") in ("md", "json", "csv"):
                    # What runs gave is the user's: looking at it may take long, and the loop must not.
                    args = (view, content["format"], self.source)
                    threading.Thread(target=self._write, args=args, name=FILE_THREAD, daemon=True).start()
                case "whole" if content.get("form") in ("text", "html"):
                    run = content.get("run")
                    if type(run) is int and 0 <= run < len(state.runs):
                        head = {"t": "whole", "view": view, "run": run, "form": content["form"]}
                        self._put_parts(head, _view.whole(state.runs[run], content["form"]))
        return full

    def _write(self, view: str, fmt: _view.ExportFormat, source: Source) -> None:
        with contextlib.suppress(ReferenceError):  # the batch has gone
            rows = [] if fmt == "md" else source.table()
            self._put_parts({"t": "file", "view": view, "format": fmt}, _view.export(source.state(), rows, fmt))
            self.wake()

    def _put_parts(self, head: Json, text: str) -> None:
        """Queue a long text in messages of bounded size."""
        parts = [text[at : at + FILE_PART] for at in range(0, len(text), FILE_PART)] or [""]
        for place, part in enumerate(parts):
            self._files.append({**head, "part": place, "parts": len(parts), "text": part})

    def _tick(self, state: BatchState, *, full: bool) -> Json | None:
        if full:
            self._forget()
        now = _clock.now()
        facts = _view.summary(state, now, self._tally)
        message = _Message(state, self._shapes, ROOM)
        message.spend(facts)
        seen = self._fill_sweep(message, state, full=full)
        seen = self._fill(message, state, self._looked_at(state), keep=ROOM - LOOKED_AT_ROOM) or seen
        seen = self._fill(message, state, (("row", r) for r in state.runs), keep=0) or seen
        seen = self._fill_log(message, state) or seen
        # These move with the clock alone: the browser lets them run on by itself.
        steady = {**facts, "elapsed": 0, "eta": 0, "speedup": 0, "worked": 0, "at_work": 0}
        if not (full or seen or steady != self._summary):
            return None
        self._summary = steady
        return {**message.content, "t": "tick", "full": full, "batch": facts, "now": round(now - state.created, 3)}

    def _looked_at(self, state: BatchState) -> Iterable[tuple[str, RunState]]:
        pairs = chain.from_iterable(look.pairs() for look in self._looks.values())
        return ((kind, state.runs[i]) for kind, i in dict.fromkeys(pairs) if i < len(state.runs))

    def _fill(self, message: _Message, state: BatchState, wanted: Iterable[tuple[str, RunState]], *, keep: int) -> bool:
        """Add what changed, the longest unsent first; True where something was added."""
        never = (None, 0)
        dirty = []
        for kind, run in wanted:
            last, revision = self._sent.get((kind, run.index), never)
            if last is not run:
                dirty.append((revision, kind, run))
        dirty.sort(key=lambda item: item[0])
        for place, (_, kind, run) in enumerate(dirty):
            if not message.add(kind, run, keep=keep, force=True):
                return place > 0
            self._sent[kind, run.index] = (run, self._revision + 1)
        return bool(dirty)

    def _fill_sweep(self, message: _Message, state: BatchState, *, full: bool) -> bool:
        """Add what is new of the scores of a sweep; what it is over comes first, once."""
        sweep = self.source.sweep
        if sweep is None:
            return False
        if full and message.spend(sweep.grid):
            message.content["grid"] = sweep.grid
        seen = self._fill_scores(message, state, sweep)
        means = sweep.means() if any(look.means for look in self._looks.values()) else None
        if means is not None and means is not self._means and message.spend(means):
            message.content["means"] = self._means = means
            seen = True
        return seen

    def _fill_scores(self, message: _Message, state: BatchState, sweep: Sweep) -> bool:
        new: dict[str, Json] = {}
        for run in sweep.log[self._scored :]:
            scores = sweep.scores(state.runs[run])
            if not message.spend(scores, keep=ROOM - LOOKED_AT_ROOM):
                break
            new[str(run)] = scores
            self._scored += 1
        if new:
            message.content["scores"] = new
        return bool(new)

    def _fill_log(self, message: _Message, state: BatchState) -> bool:
        """Add the lines of the log that the browsers do not have, the newest first."""
        wanted = max(look.log for look in self._looks.values())
        if not wanted:
            return False
        lines, more = _view.newest(state.runs, state.created, wanted, self._lines)
        fresh: list[Json] = []
        for line in reversed(lines):
            key = (line["at"], line["run"], line["text"])
            if key not in self._logged:
                if not message.spend(line):
                    break
                self._logged.add(key)
                fresh.append(line)
        message.content |= {"lines": fresh[::-1], "more_lines": more} if fresh else {}
        return bool(fresh)


class Pacer:
    """Flushes in turn the boards that were woken, one message every `INTERVAL`; holds none that has nothing to send."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._awake: deque[Paced] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def add(self, board: Paced) -> None:
        """Pace the board from now on; from any thread."""
        board.wake = functools.partial(self.wake, board)
        board.wake()

    def wake(self, board: Paced) -> None:
        """The board may have something to send; from any thread."""
        # A closed loop means that the kernel is going down, and the browsers with it.
        if not self._loop.is_closed():
            # An empty context: that of a run holds its whole batch.
            self._loop.call_soon_threadsafe(self._queue, board, context=contextvars.Context())

    def _queue(self, board: Paced) -> None:
        if board not in self._awake:
            self._awake.append(board)
        self._soon()

    def _soon(self) -> None:
        if self._timer is None and self._awake:
            self._timer = self._loop.call_at(max(self._next, self._loop.time()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._next = self._loop.time() + INTERVAL
        try:
            while self._awake:
                board = self._awake.popleft()
                if board.comm is not None and board.flush():
                    self._awake.append(board)  # there may be more of it
                    return
        finally:
            self._soon()


@dataclass(frozen=True, slots=True)
class _Look:
    """What one view shows: places of the runs whose rows, details, cards and lanes are in sight."""

    row: tuple[int, ...] = ()
    detail: tuple[int, ...] = ()
    card: tuple[int, ...] = ()
    lane: tuple[int, ...] = ()
    log: int = 0
    means: bool = False

    @classmethod
    def of(cls, content: Json) -> _Look:
        """Read from what the browser said; whatever is no place of a run is left out."""

        def places(kind: str) -> tuple[int, ...]:
            found = content.get(kind)
            found = found[:LOOKED_AT] if isinstance(found, list) else []
            return tuple(i for i in found if type(i) is int and i >= 0)

        log = content.get("log")
        log = min(max(0, log), LOG_LINES) if type(log) is int else 0
        return cls(places("row"), places("detail"), places("card"), places("lane"), log, content.get("means") is True)

    def pairs(self) -> Iterable[tuple[str, int]]:
        for kind in ("row", "detail", "card", "lane"):
            for place in getattr(self, kind):
                yield kind, place


class _Message:
    """One message in the making: takes what fits into its room."""

    def __init__(self, state: BatchState, shapes: dict[tuple[TaskSpec, ...], int], room: int) -> None:
        self.content: Json = {}
        self._origin = state.created
        self._shapes = shapes
        self._room = room

    def add(self, kind: str, run: RunState, *, keep: int = 0, force: bool = False) -> bool:
        """Add a view of the run, unless it does not fit and leave `keep` bytes of room.

        With `force`, one that comes first is added in any case: what is too large for a message would wait for ever.
        """
        specs = tuple(task.spec for task in run.tasks)
        number = self._shapes.get(specs, len(self._shapes))
        view: Json
        match kind:
            case "row":
                view = _view.row(run, self._origin, number)
            case "detail":
                view = _view.detail(run, self._origin)
            case "card":
                view = _view.card(run)
            case _:
                view = _view.lane(run, self._origin)
        new_shape = _view.shape(run) if kind == "row" and number == len(self._shapes) else None
        if not self.spend([view, new_shape], keep=keep) and not (force and not self.content):
            return False
        if new_shape is not None:
            self._shapes[specs] = number
            self.content.setdefault("shapes", {})[str(number)] = new_shape
        self.content.setdefault(f"{kind}s", {})[str(run.index)] = view
        return True

    def spend(self, value: object, *, keep: int = 0) -> bool:
        """Take the room that the value needs; False, and nothing taken, where there is too little."""
        cost = _view.size(value) + 12
        if cost + keep > self._room:
            return False
        self._room -= cost
        return True
