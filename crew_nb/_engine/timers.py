"""`timeout` and `idle_timeout` of one attempt, which CrewAI's own `max_execution_time` does not keep."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from crew_nb._state import clock as _clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState


class Timers:
    """They run from `begin` to `end`."""

    def __init__(self, options: Options, state: Callable[[], RunState], time_out: Callable[[str], object]) -> None:
        """The limits are the options'; `state` gives the run as it is now, `time_out` ends it for a reason."""
        self._options = options
        self._state = state
        self._time_out = time_out
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def begin(self) -> None:
        """Start to count."""
        whole, idle = self._options.timeout, self._options.idle_timeout
        if whole is not None:
            loop = asyncio.get_running_loop()
            self._handles["whole"] = loop.call_later(whole, self._time_out, f"timed out after {whole:g} s")
        if idle is not None:
            self._look_in(idle, idle)

    def _look_in(self, seconds: float, limit: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._handles["idle"] = loop.call_at(due, self._look, limit, due)

    def _look(self, limit: float, due: float) -> None:
        state = self._state()
        # While the loop itself stood still nobody could tell that something happened.
        stood = asyncio.get_running_loop().time() - due
        # A wait for a limit, a retry or a person is no idleness of the run's.
        left = limit if state.waits else state.last_event + limit + stood - _clock.now()
        if left <= 0:
            self._time_out(f"timed out: nothing happened for {limit:g} s")
        else:
            self._look_in(left, limit)

    def end(self) -> None:
        """Count no more."""
        for handle in self._handles.values():
            handle.cancel()
