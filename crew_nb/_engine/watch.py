"""Notices what holds the shared loop: one crew's own code that said to be async and blocks.

A thread of its own asks the loop for a sign of life while runs are in flight; it changes nothing but what is called in
a thread from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from crew_nb._crewai import offload as _offload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from crew_nb._state.attempt import Attempt

EVERY = 0.2
"""Seconds between two questions to the loop."""
PATIENCE = 0.3
"""Seconds within which it answers; the same call in the way after as much again holds it up."""

_ON_LOOP = _offload.on_loop.__code__
_OTHERS = tuple(
    str(Path(path).resolve())
    for path in (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)


class Watch:
    """Over one loop; its thread lives while somebody is watched."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Attempt] = set()
        self._begin = threading.Condition()
        self._thread: threading.Thread | None = None
        self._told: set[object] = set()

    @contextlib.contextmanager
    def over(self, attempt: Attempt) -> Iterator[None]:
        """While this lasts, what holds the loop is told in its rows."""
        with self._begin:
            self._watched.add(attempt)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True)
                self._thread.name = "crew_nb watch"
                self._thread.start()
        try:
            yield
        finally:
            with self._begin:
                self._watched.discard(attempt)
                self._begin.notify()

    def _watch(self, thread: int) -> None:
        while True:
            with self._begin:
                self._begin.wait_for(lambda: not self._watched, timeout=EVERY)
                if not self._watched:
                    self._thread = None
                    return
            answered = threading.Event()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            before: FrameType | None = None
            began = time.monotonic()
            while not answered.wait(PATIENCE):
                frame = _the_crews_own(sys._current_frames().get(thread))
                if frame is not None and frame is before:
                    self._tell(frame, time.monotonic() - began)
                    answered.wait()
                    break
                before = frame
            del before

    def _tell(self, frame: FrameType, seconds: float) -> None:
        what = frame.f_locals.get("what") if frame.f_code is _ON_LOOP else None
        if str(getattr(what, "__module__", "")).startswith(("crewai.", "crew_nb.")):
            return  # these do await: it is the machine that is busy, and in threads a stop would not reach them
        task = asyncio.current_task(self._loop)
        attempt = next((a for a in list(self._watched) if task in a.tasks), None)
        if what is not None:
            _offload.held.add(what)
            name = f"{getattr(what, '__qualname__', what)}{'.acall' if isinstance(what, type) else ''}, which is async,"
            then = "From now on it is called in threads."
        else:
            name = f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})"
            then = "Write: `await asyncio.to_thread(...)` around what waits."
        if attempt is not None and (what or frame.f_code) not in self._told:
            self._told.add(what or frame.f_code)
            words = f"{name} blocks: it held up all crews for {seconds:.1f} s and more. {then}"
            attempt.log(words)
            self._loop.call_soon_threadsafe(attempt.note, words)


def _the_crews_own(frame: FrameType | None) -> FrameType | None:
    """The frame of an async function of the crew's that is being run, or the innermost one of the user's code."""
    own: FrameType | None = None
    while frame is not None:
        if frame.f_code is _ON_LOOP:
            return frame
        if own is None and not frame.f_code.co_filename.startswith((*_OTHERS, "<frozen")):
            own = frame
        frame = frame.f_back
    return own
