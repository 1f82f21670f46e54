"""The `max_rpm` of a crew or an agent itself, in runs of ours: without a thread, and with its wait in the row.

CrewAI counts a minute with a timer thread that starts the next one for ever. Its executor validates the crew anew, and
each time makes another counter that nobody stops: two threads a run. One that is stopped at the first kickoff's end
never counts a new minute, and who reaches its limit sleeps a whole one (1.15.30).
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60.0

_counting = threading.Lock()
"""One for all: a copy with a lock of its own could not travel."""


class Window:
    """Stands where a counter of CrewAI's has its timer: when the minute began."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def cancel(self) -> None:
        """Nothing runs."""


def limiter(max_rpm: int | None, logger: Any) -> Any:
    """A counter for a copy of ours."""
    from crewai.utilities.rpm_controller import RPMController

    made = RPMController.model_construct(max_rpm=max_rpm, logger=logger)
    if max_rpm is not None:
        made._timer = Window()  # type: ignore[assignment]
    return made


def install(applies: Callable[[], bool], wait: Callable[[str, float], object]) -> None:
    """Let counters that are made where `applies()` do without threads, and wait by `wait(words, seconds)`."""
    try:
        from crewai.utilities.rpm_controller import RPMController

        begin, check, stop = (
            RPMController._reset_request_count,
            RPMController.check_or_wait,
            RPMController.stop_rpm_counter,
        )
    except (ImportError, AttributeError):
        return
    if hasattr(begin, "_crew_nb"):
        return

    @functools.wraps(begin)
    def reset_request_count(self: RPMController) -> None:
        if not applies():
            begin(self)
            return
        self._current_rpm = 0
        self._timer = Window()  # type: ignore[assignment]

    @functools.wraps(check)
    def check_or_wait(self: RPMController) -> bool:
        window: Any = self._timer
        if not isinstance(window, Window):
            return check(self)
        while (seconds := _counted(self, window)) > 0:
            wait(f"max_rpm={self.max_rpm} of the crew or agent itself", seconds)
        return True

    @functools.wraps(stop)
    def stop_rpm_counter(self: RPMController) -> None:
        if not isinstance(self._timer, Window):  # the next task or kickoff counts on
            stop(self)

    reset_request_count._crew_nb = True  # type: ignore[attr-defined]
    RPMController._reset_request_count = reset_request_count  # type: ignore[method-assign]
    RPMController.check_or_wait = check_or_wait  # type: ignore[method-assign]
    RPMController.stop_rpm_counter = stop_rpm_counter  # type: ignore[method-assign]


def _counted(controller: Any, window: Window) -> float:
    """Counts a request if there is room for it; else the seconds until the next minute begins."""
    with _counting:
        left = window.began + MINUTE - time.monotonic()
        if left <= 0:
            window.began, controller._current_rpm = time.monotonic(), 0
        elif controller.max_rpm is not None and controller._current_rpm >= controller.max_rpm:
            return left
        controller._current_rpm += 1
        return 0.0
