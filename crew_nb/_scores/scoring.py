"""`Scorer`: lets functions, evaluators and judges score runs that are done; what any of them does harms itself only."""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import itertools
import math
import numbers
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from crew_nb._engine.pool import DaemonPool
from crew_nb._record import fingerprint as _fingerprint
from crew_nb._scores import evaluators as _evaluators
from crew_nb._scores.judge import Judge
from crew_nb._scores.sheet import Scored
from crew_nb._scores.turn import HungError, Turn
from crew_nb._state.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from crew_nb._engine.aside import Aside
    from crew_nb._scores.sheet import Score, Sheet, Value
    from crew_nb._state.secrets import Secrets
    from crew_nb._state.state import RunState

AT_ONCE = 16
"""Async scores that go on at the same time."""

LONGEST_WORD = 100
"""Characters of a word that is a score, or of a score's name; what is longer is a text."""

MOST_VALUES = 100
"""Values that one call may give."""

SECONDS = 60.0
"""How long a score may take for one run, where nothing else is said."""

MOST_HANGS = 2
"""Runs on which a score may hang before it is asked no more."""

REASON_KEPT = 2_000
"""Characters kept of a reason."""


@dataclass(frozen=True, slots=True)
class Output:
    """A run that is to be scored."""

    state: RunState
    read: Callable[[], Any]
    """Gives what it returned; one that cannot be read is an error in its place."""
    secrets: Secrets


class Scorer:
    """Scores the runs of one sheet: plain functions in a thread, one call at a time, the others beside one another.

    Args:
        sheet: Where the scores go.
        aside: The judges' way to their LLMs.
        seconds: What a function may take for one run; judges keep to the limits of LLM calls instead.
    """

    def __init__(self, sheet: Sheet, aside: Aside, seconds: float | None = SECONDS) -> None:
        self._sheet = sheet
        self._aside = aside
        self._seconds = seconds
        self._one_by_one = asyncio.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._judges = asyncio.Semaphore(aside.options.concurrency)
        self._hangs: dict[str, list[int]] = {}
        self._known_by: dict[str, asyncio.Future[str]] = {}
        self._pool = DaemonPool("crew_nb-score")  # one that hangs must not keep the kernel from ending

    def close(self) -> None:
        """Nothing is to be scored any more."""
        self._pool.shutdown()
        self._aside.close()

    async def score(self, functions: Mapping[str, Score], outputs: Iterable[Output], *, again: bool) -> None:
        """Let the functions score the runs that are done.

        Args:
            functions: By their names.
            outputs: The runs.
            again: Whether also what has been scored; a judge is not asked twice, unless it has changed.
        """
        done = [output for output in outputs if output.state.status == "done"]
        work: list[Awaitable[None]] = []
        for name, function in functions.items():
            if isinstance(function, Judge) or is_async(function):
                work += [self._one(name, function, output, again) for output in done]
            else:
                work.append(self._in_turn(name, function, done, again))
        await asyncio.gather(*work)

    async def _one(self, name: str, function: Score, output: Output, again: bool) -> None:
        async with self._judges if isinstance(function, Judge) else self._turns:
            by = await self._by(name, function)
            if self._is_due(name, function, output, by, again):
                self._put(name, output, by, await self._found(name, output, self._ask(name, function, output)))

    async def _in_turn(self, name: str, function: Score, outputs: Sequence[Output], again: bool) -> None:
        """One thread goes through many outputs; a call that hangs is left behind in it, and another takes the rest."""
        async with self._one_by_one:
            by = await self._by(name, function)
            due = deque(output for output in outputs if self._is_due(name, function, output, by, again))
            while due:
                calls = [functools.partial(_call, name, function, output, self._inputs(output)) for output in due]
                turn = Turn(calls, self._seconds, self._pool)
                try:
                    while due and not turn.given_up:
                        output = due.popleft()
                        self._put(name, output, by, await self._found(name, output, turn.next()))
                        await asyncio.sleep(0)  # others have the loop, too
                finally:
                    turn.given_up = True

    def _is_due(self, name: str, function: Score, output: Output, by: str, again: bool) -> bool:
        known = self._sheet.found(output.state, name)
        return known is None or known.by != by or (again and (bool(known.error) or not isinstance(function, Judge)))

    def _put(self, name: str, output: Output, by: str, found: Scored) -> None:
        state, scrub = output.state, output.secrets.scrub
        words = {key: scrub(value) if isinstance(value, str) else value for key, value in found.values.items()}
        reasons = {key: scrub(reason)[:REASON_KEPT] for key, reason in found.reasons.items()}
        found = replace(found, values=words, error=scrub(found.error), reasons=reasons, by=by)
        self._sheet.put(state.index, name, found)
        if self._aside.traces is not None:
            self._aside.traces.scored(state.index, name, found.values, found.reasons, found.error)

    async def _by(self, name: str, function: Score) -> str:
        """What the score is known by; empty where that cannot be told."""
        if name not in self._known_by:
            look = functools.partial(_known_by, function)
            self._known_by[name] = asyncio.get_running_loop().run_in_executor(self._pool, look)
        return await asyncio.shield(self._known_by[name])

    async def _found(self, name: str, output: Output, asking: Coroutine[Any, Any, Any]) -> Scored:
        """What the score says of the output, or why it says nothing."""
        attempt, index = output.state.attempt, output.state.index
        try:
            if len(hung := self._hangs.get(name, [])) >= MOST_HANGS:
                raise TimeoutError(f"not asked: it hung on runs {', '.join(map(str, hung))}")
            said = await asking
            if inspect.isawaitable(said):
                said = await _within(self._seconds, _await(said))
            return said if isinstance(said, Scored) else _scored(attempt, name, said)
        except HungError as error:
            self._hangs.setdefault(name, []).append(index)
            return Scored(attempt, error=str(error))
        except Exception as error:
            return Scored(attempt, error=_said(error))
        finally:
            asking.close()

    def _inputs(self, output: Output) -> dict[str, Any]:
        return dict(self._sheet.cells[output.state.index].inputs)

    async def _ask(self, name: str, function: Score, output: Output) -> Any:
        state, inputs = output.state, self._inputs(output)
        if isinstance(function, Judge):
            return await self._judged(name, function, output)
        if _evaluators.owns(function):
            took = max(0.0, (state.finished or 0.0) - (state.started or 0.0))
            asking = _evaluators.evaluate(function, output.read(), inputs, took)
        else:
            asking = function(output.read(), inputs)
        return await _within(self._seconds, _await(asking))

    async def _judged(self, name: str, judge: Judge, output: Output) -> Scored:
        given, sheet = output.read(), self._sheet
        inputs = sheet.cells[output.state.index].inputs
        answered = await judge.ask(getattr(given, "raw", given), inputs, self._aside, output.secrets)
        sheet.usage += answered.usage
        sheet.cost = None if sheet.cost is None or answered.cost is None else sheet.cost + answered.cost
        value, reason = judge.verdict(answered)
        return Scored(output.state.attempt, values(name, value), reasons={name: reason} if reason else {})


def _known_by(function: Score) -> str:
    try:
        key = _fingerprint.fingerprint(function.known_by if isinstance(function, Judge) else function)
    except Exception:  # the user's objects are walked
        return ""
    return "" if key.unseen else str(key)


def named(functions: Iterable[Score]) -> dict[str, Score]:
    """Score functions by their names.

    Raises:
        OptionError: When one cannot be called, or two have one name.
    """
    found: dict[str, Score] = {}
    for function in functions:
        if not callable(function) and not _evaluators.owns(function):
            raise OptionError(f"{function!r:.60} is no score. Give a function of (output, inputs).")
        inner = _inner(function)
        name = getattr(inner, "__name__", type(inner).__name__)
        if _evaluators.owns(function):
            name = _evaluators.name_of(function)
        name = "score" if name == "<lambda>" else name
        if name in found:
            raise OptionError(f"two scores are named {name}. Give each function a name of its own with `def`.")
        found[name] = function
    return found


def is_async(function: Score) -> bool:
    """Whether it waits on the loop rather than in a thread."""
    inner = _inner(function)
    return _evaluators.owns(inner) or any(map(inspect.iscoroutinefunction, (inner, type(inner).__call__)))


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _call(name: str, function: Score, output: Output, inputs: Mapping[str, Any]) -> Any:
    try:
        said = function(output.read(), inputs)
        return said if inspect.isawaitable(said) else _scored(output.state.attempt, name, said)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise RuntimeError(_said(error)) from error  # it would end the loop, or cannot come out of a coroutine


async def _await(waiting: Any) -> Any:
    try:
        return await waiting
    except SystemExit as error:
        raise RuntimeError(_said(error)) from error


async def _within(seconds: float | None, asking: Any) -> Any:
    """What comes of it in time. One that does not end when it is told to is left behind."""
    work = asyncio.ensure_future(asking)
    try:
        await asyncio.wait([work], timeout=seconds)
        if not work.done():
            raise HungError(seconds)
        if work.cancelled():
            raise RuntimeError("was cancelled by its own code")
        return work.result()
    finally:
        work.cancel()


def _scored(attempt: int, name: str, said: Any) -> Scored:
    """What a score gave, with the reasons that `pydantic_evals` may give beside its values."""
    reasons: dict[str, str] = {}

    def bare(name: str, said: Any) -> Any:
        if isinstance(said, Mapping):
            return {key: bare(f"{name}.{key}", item) for key, item in itertools.islice(said.items(), MOST_VALUES + 1)}
        if type(said).__name__ == "EvaluationReason" and hasattr(said, "reason"):
            if said.reason:
                reasons[name] = str(said.reason)
            return said.value
        return said

    return Scored(attempt, values(name, bare(name, said)), reasons=reasons)


def values(name: str, said: Any) -> dict[str, Value]:
    """What a score function gave, as values by name.

    Raises:
        ValueError: When it is no number, yes or no, word, or dict of these.
    """
    if len(name) > LONGEST_WORD * 2:
        raise ValueError(f"gave a name of {len(name):,} characters for a score")
    if hasattr(type(said), "model_fields"):
        said = said.model_dump()
    if isinstance(said, Mapping):
        found: dict[str, Value] = {}
        for inner, item in said.items():
            found |= values(f"{name}.{inner}", item)
            if len(found) > MOST_VALUES:
                raise ValueError(f"gave more than {MOST_VALUES} values")
        return found
    if isinstance(said, enum.Enum):
        said = said.value
    if type(said).__module__ == "numpy" and hasattr(said, "item"):
        said = said.item()
    if isinstance(said, bool):
        return {name: said}
    if isinstance(said, numbers.Real | Decimal):
        number = float(said)
        if not math.isfinite(number):
            raise ValueError(f"gave {number}, which is no number to take a mean of")
        return {name: number}
    if isinstance(said, str):
        if len(said) > LONGEST_WORD:
            raise ValueError(f"gave a text of {len(said):,} characters; a score is a number, a bool or a word")
        return {name: " ".join(said.encode("utf-8", "replace").decode().split())}
    raise ValueError(f"gave a {type(said).__name__}; a score is a number, a bool, a word, or a dict of these")


def _said(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except Exception:  # its own __str__ raises
        return type(error).__name__
