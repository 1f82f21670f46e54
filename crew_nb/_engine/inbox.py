"""What happens in a batch's runs, from any thread: folded on the loop in the order in which it came."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from crew_nb._engine.engine import engine
from crew_nb._state import events as ev

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PIECES_SECONDS = 0.1
"""How old the text of a stream may be that is shown: its pieces are folded together, as no board draws more often."""


class Inbox:
    """Events that wait to be folded: text of a stream for more of it, those with long texts until these are read."""

    def __init__(
        self,
        fold: Callable[[ev.Event], object],
        drained: Callable[[], object],
        hears_pieces: Callable[[], bool],
        read: Callable[[ev.Event], Awaitable[object] | None],
    ) -> None:
        self._fold = fold
        self._drained = drained
        self._hears_pieces = hears_pieces
        """Whether somebody listens for each piece of a stream."""
        self._events: deque[ev.Event] = deque()
        self._due = False
        self._pieces: dict[int, dict[str, list[ev.CallChunk]]] = {}
        """Text that was streamed and is not folded yet, by run and call."""
        self._pieces_due = False
        self._read = read
        """What is to be awaited before an event is folded, if anything."""
        self._read_first: dict[int, tuple[asyncio.Future[object], deque[ev.Event]]] = {}
        """Events that come after what is being read, with that, by run."""

    def post(self, event: ev.Event) -> None:
        """Take an event from any thread."""
        self._events.append(event)
        if self._due:
            return
        if not isinstance(event, ev.CallChunk) or self._hears_pieces():
            self._due = True
            engine.call(self.drain)
        elif not self._pieces_due:
            self._pieces_due = True
            engine.call(self._wait_for_pieces)

    def drain(self, index: int | None = None, *, at_once: bool = False) -> None:
        """Fold what has come, and all that there is of the run at `index`; of others, text alone waits for its time.

        What is to be read first waits for that, unless all of that run is wanted `at_once`.
        """
        self._take()
        for waiting in list(self._read_first):
            self._go_on(waiting, at_once=at_once and waiting == index)
        if index is not None:
            self._fold_pieces(index)
        if self._pieces and not self._pieces_due:
            self._pieces_due = True
            self._wait_for_pieces()
        self._drained()

    def _wait_for_pieces(self) -> None:
        asyncio.get_running_loop().call_later(PIECES_SECONDS, self._drain_pieces)

    def _drain_pieces(self) -> None:
        self._pieces_due = False
        self._take()
        for index in list(self._pieces):
            self._fold_pieces(index)
        self._drained()

    async def settle(self, index: int) -> None:
        """Wait until what has come of the run at `index` is read."""
        self._take()
        while waits := self._read_first.get(index):
            await asyncio.wait([waits[0]])
            self._go_on(index)

    def _take(self) -> None:
        self._due = False
        while self._events:
            event = self._events.popleft()
            if waits := self._read_first.get(event.run):
                waits[1].append(event)
            elif reading := self._read(event):
                self._wait_for(reading, deque([event]))
            else:
                self._take_in(event)

    def _wait_for(self, reading: Awaitable[object], events: deque[ev.Event]) -> None:
        index, done = events[0].run, asyncio.ensure_future(reading)
        self._read_first[index] = done, events
        done.add_done_callback(lambda done: self.drain())

    def _go_on(self, index: int, *, at_once: bool = False) -> None:
        """Fold what waited, up to what is to be read next; or all of it."""
        reading, events = self._read_first.get(index, (None, deque()))
        if reading is None or not (at_once or reading.done()):
            return
        del self._read_first[index]
        self._take_in(events.popleft())
        while events:
            if not at_once and (more := self._read(events[0])):
                self._wait_for(more, events)
                return
            self._take_in(events.popleft())

    def _take_in(self, event: ev.Event) -> None:
        if isinstance(event, ev.CallChunk):
            self._pieces.setdefault(event.run, {}).setdefault(event.call, []).append(event)
            if not self._hears_pieces():
                return
        self._fold_pieces(event.run)
        if not isinstance(event, ev.CallChunk):
            self._fold(event)

    def _fold_pieces(self, index: int) -> None:
        for pieces in self._pieces.pop(index, {}).values():
            self._fold(replace(pieces[-1], text="".join(piece.text for piece in pieces)))
