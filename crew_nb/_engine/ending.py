"""How one attempt ends: what still goes on in it is unwound, and its outcome told, whatever its objects do."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._engine import failure as _failure
from crew_nb._engine.looks import looked, text_of
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state import state as _state
from crew_nb._state.errors import BudgetExceededError, RunCancelledError, RunTimeoutError

if TYPE_CHECKING:
    from crew_nb._crewai.names import CrewOutput
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.state import RunState

UNWIND_SECONDS = 0.1
"""How long the threads of a run that has ended may take to come back before they are called unstoppable."""


def stopped(attempt: Attempt, label: str) -> BaseException:
    """The error of a run that was stopped, or whose time is over."""
    if attempt.timed_out:
        return RunTimeoutError(attempt.index, label, attempt.stop_reason)
    return RunCancelledError(attempt.index, label, attempt.stop_reason or "cancelled")


def failed(raised: BaseException) -> BaseException:
    """The error of a run that was not stopped, from what came out of it."""
    if not _failure.is_a(raised, asyncio.CancelledError):
        return _failure.cause(raised)
    trouble = RuntimeError("the crew's own code was cancelled, though nobody stopped the run")
    trouble.__cause__ = raised
    return trouble


async def outcome(
    attempt: Attempt, state: RunState, error: BaseException | None, output: CrewOutput | None, kept: RunState | None
) -> tuple[ev.RunFinished, BaseException | None, CrewOutput | None]:
    """The outcome as an event, with the error and the output that it is of.

    What is the user's is looked at in a thread, and not for ever: its methods may raise, and hang, and be slow.

    Args:
        attempt: What has ended.
        state: Its run, with all that it has said.
        error: What it failed of.
        output: What came of it.
        kept: The run as the record has it, if that is where the output is from.
    """
    if error is None:
        usage = _crewai.usage_metrics(state.usage)
        text: str | BaseException = await looked(output, lambda: text_of(output, usage), lambda trouble: trouble)
        if isinstance(text, str):
            told: dict[str, Any] = {}
            if kept is not None:
                cost = _state.total(kept.cost, kept.saved_cost)
                told = {"from_record": True, "usage": kept.usage + kept.saved, "cost": cost}
            done = ev.RunFinished(run=attempt.index, at=_clock.now(), status="done", output=text, **told)
            return done, None, output
        error = text
    of = error
    if type(error) in (RunCancelledError, RunTimeoutError, BudgetExceededError):
        info = _failure.info(error, attempt.secrets)  # one of ours
    else:
        info = await looked(of, lambda: _failure.info(of, attempt.secrets), lambda trouble: _failure.bare(of))
    ended = ev.RunFinished(
        run=attempt.index,
        at=_clock.now(),
        status="cancelled" if _failure.is_a(error, RunCancelledError, BudgetExceededError) else "failed",
        error=info,
        dropped_calls=len(attempt.threads),
    )
    return ended, error, None


async def unwind(attempt: Attempt) -> None:
    """What goes on in a run that has failed, or was stopped, is ended where it can be."""
    attempt.stop_reason = attempt.stop_reason or "the run has failed"
    for task in list(attempt.tasks):
        if task is not attempt.main:
            task.cancel()
            # Siblings of the task that failed: CrewAI awaits only the first, and asyncio would print theirs.
            task.add_done_callback(lambda sibling: sibling.cancelled() or sibling.exception())
    attempt.gate.hang_up(attempt)
    await threads_back(attempt)


async def threads_back(attempt: Attempt) -> None:
    """Give its threads a moment to come back, once they have been told to."""
    until = time.monotonic() + UNWIND_SECONDS
    while attempt.threads and time.monotonic() < until:  # noqa: ASYNC110 - they come back without a word
        await asyncio.sleep(UNWIND_SECONDS / 10)
