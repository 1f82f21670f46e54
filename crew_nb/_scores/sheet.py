"""`Sheet`: for each run of a batch the cell of the sweep that it stands in, and what the score functions said of it."""

from __future__ import annotations

import asyncio
import enum
import functools
import inspect
import itertools
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from crew_nb._engine.pool import DaemonPool
from crew_nb._scores import evaluators as _evaluators
from crew_nb._scores.judge import Judge
from crew_nb._state.errors import OptionError
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crew_nb._engine.aside import Aside
    from crew_nb._state.secrets import Secrets
    from crew_nb._state.state import RunState

Value = float | bool | str
Score = Callable[[Any, Mapping[str, Any]], Any]
"""A function of (output, inputs), sync or async; a judge; or an evaluator of `pydantic_evals`."""

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
class Cell:
    """Where one run stands in a sweep."""

    input: int
    """The place of its inputs among those given."""
    row: Any
    """What their own index, if they have one, calls them."""
    inputs: Mapping[str, Any]
    """Them, without the factors."""
    variant: Mapping[str, Any]
    """The level of each factor, by what people call it."""
    repeat: int

    @property
    def key(self) -> tuple[tuple[str, Any], ...]:
        """Its row in a frame."""
        return (("input", self.row), *self.variant.items(), ("repeat", self.repeat))


@dataclass(frozen=True, slots=True)
class Scored:
    """What one function said of one run."""

    attempt: int
    """Of the run; one that was retried since is another."""
    values: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why, by the value's name, where the score tells."""


@dataclass(frozen=True, slots=True)
class Output:
    """A run that is to be scored."""

    state: RunState
    read: Callable[[], Any]
    """Gives what it returned; one that cannot be read is an error in its place."""
    secrets: Secrets


class Sheet:
    """The cells of a batch, in its order, and the scores of its runs."""

    def __init__(self, cells: Iterable[Cell], given: Iterable[Score] = ()) -> None:
        self.cells = tuple(cells)
        self.given = named(given)
        """The functions that score each run when it is joined."""
        self.usage = Usage()
        """What judges took, failed and repeated ones too."""
        self.cost: float | None = 0.0
        """US dollars of judges; None where a price is unknown."""
        self._found: dict[str, dict[int, Scored]] = {}

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any] | None]) -> Sheet:
        """That of a batch without factors: each run has inputs of its own."""
        return cls(Cell(place, place, row or {}, {}, 0) for place, row in enumerate(rows))

    @classmethod
    def of_kept(cls, tree: Any, rows: Mapping[int, Mapping[str, Any] | None]) -> Sheet | None:
        """What `kept` made, read back; None where it is damaged.

        Args:
            tree: What was kept.
            rows: The inputs of each run, by its index.
        """
        try:
            # A part of a batch was saved: the others keep their places, and nothing is known of them.
            cells = {index: Cell(index, index, row or {}, {}, 0) for index, row in rows.items()}
            for index, given, row, variant, repeat in tree.get("cells", ()):
                own = {name: value for name, value in (rows.get(index) or {}).items() if name not in variant}
                cells[index] = Cell(int(given), row, own, dict(variant), int(repeat))
            sheet = cls(cells.get(index, Cell(index, index, {}, {}, 0)) for index in range(max(cells, default=-1) + 1))
            for name, by_run in tree.get("scores", {}).items():
                sheet._found[str(name)] = {index: _read(tuple(kept)) for index, *kept in by_run}
            sheet.usage, sheet.cost = Usage.from_dict(tree.get("usage", {})), tree.get("cost", 0.0)
        except (TypeError, ValueError, KeyError, AttributeError):
            return None
        return sheet

    def kept(self, runs: Iterable[int] | None = None) -> dict[str, Any]:
        """Its cells, where there are factors, and its scores, as plain data; empty where there is neither.

        Args:
            runs: Those that are meant; all, where it is None.
        """
        wanted = set(range(len(self.cells)) if runs is None else runs)
        cells = [
            [index, cell.input, cell.row, dict(cell.variant), cell.repeat]
            for index, cell in enumerate(self.cells)
            if index in wanted and self.factors
        ]
        scores = {
            name: [
                [index, each.attempt, dict(each.values), each.error, dict(each.reasons)]
                for index, each in list(by_run.items())  # scores may come meanwhile, from another thread
                if index in wanted
            ]
            for name, by_run in list(self._found.items())
        }
        if not cells and not scores:
            return {}
        return {"cells": cells, "scores": scores, "usage": self.usage.to_dict(), "cost": self.cost}

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in the order given."""
        return tuple(dict.fromkeys(name for cell in self.cells for name in cell.variant))

    def levels(self, factor: str) -> list[Any]:
        """The levels of a factor, in the order given."""
        return list(dict.fromkeys(cell.variant[factor] for cell in self.cells if factor in cell.variant))

    @property
    def variants(self) -> dict[tuple[Any, ...], list[int]]:
        """The runs of each variant, by its levels."""
        found: dict[tuple[Any, ...], list[int]] = {}
        for run, cell in enumerate(self.cells):
            found.setdefault(tuple(cell.variant.get(name) for name in self.factors), []).append(run)
        return found

    async def score(
        self,
        functions: Mapping[str, Score],
        outputs: Iterable[Output],
        aside: Aside,
        *,
        again: bool,
        seconds: float | None = SECONDS,
    ) -> None:
        """Let the functions score the runs that are done; plain functions in a thread, one call at a time.

        Args:
            functions: By their names.
            outputs: The runs.
            aside: The judges' way to their LLMs.
            again: Whether also what has been scored.
            seconds: What a function may take for one run; judges keep to the limits of LLM calls instead.
        """
        turns, judges = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(aside.options.concurrency)
        hangs: dict[str, list[int]] = {}
        pool = DaemonPool("crew_nb-score")  # one that hangs must not keep the kernel from ending

        async def one(name: str, function: Score, output: Output) -> None:
            state = output.state
            async with judges if isinstance(function, Judge) else turns:
                try:
                    if len(hung := hangs.get(name, [])) >= MOST_HANGS:
                        raise TimeoutError(f"not asked: it hung on runs {', '.join(map(str, hung))}")
                    if isinstance(function, Judge):
                        found = await self._judged(name, function, output, aside)
                    else:
                        asking = self._ask(function, output, pool)
                        found = _scored(state.attempt, name, await _within(seconds, asking))
                except _HungError as error:
                    hangs.setdefault(name, []).append(state.index)
                    found = Scored(state.attempt, error=str(error))
                except Exception as error:
                    found = Scored(state.attempt, error=_said(error))
            scrub = output.secrets.scrub
            words = {key: scrub(value) if isinstance(value, str) else value for key, value in found.values.items()}
            reasons = {key: scrub(reason)[:REASON_KEPT] for key, reason in found.reasons.items()}
            found = replace(found, values=words, error=scrub(found.error), reasons=reasons)
            self._found[name][state.index] = found
            if aside.traces is not None:
                aside.traces.scored(state.index, name, found.values, found.reasons, found.error)

        asked = []
        try:
            for (name, function), output in itertools.product(functions.items(), list(outputs)):
                known, state = self._found.setdefault(name, {}), output.state
                if state.status != "done" or (not again and self._is_of(known.get(state.index), state)):
                    continue
                if is_async(function):
                    asked.append(one(name, function, output))
                else:
                    await one(name, function, output)
            await asyncio.gather(*asked)
        finally:
            pool.shutdown()

    async def _ask(self, function: Score, output: Output, pool: DaemonPool) -> Any:
        state, inputs = output.state, dict(self.cells[output.state.index].inputs)
        if _evaluators.owns(function):
            took = (state.finished or 0.0) - (state.started or 0.0)
            return await _await(_evaluators.evaluate(function, output.read(), inputs, max(0.0, took)))
        if is_async(function):
            return await _await(function(output.read(), inputs))
        call = functools.partial(_call, function, output.read, inputs)
        said = await asyncio.get_running_loop().run_in_executor(pool, call)
        return await _await(said) if inspect.isawaitable(said) else said

    async def _judged(self, name: str, judge: Judge, output: Output, aside: Aside) -> Scored:
        given = output.read()
        inputs = self.cells[output.state.index].inputs
        answered = await judge.ask(getattr(given, "raw", given), inputs, aside, output.secrets)
        self.usage += answered.usage
        self.cost = None if self.cost is None or answered.cost is None else self.cost + answered.cost
        value, reason = judge.verdict(answered)
        return Scored(output.state.attempt, values(name, value), reasons={name: reason} if reason else {})

    @staticmethod
    def _is_of(found: Scored | None, state: RunState) -> bool:
        return found is not None and found.attempt == state.attempt and state.status == "done"

    def of(self, state: RunState) -> tuple[dict[str, Value], dict[str, str]]:
        """What is known of a run: values by the score's name, and errors by the function's."""
        said: dict[str, Value] = {}
        errors: dict[str, str] = {}
        for name, by_run in self._found.items():
            found = by_run.get(state.index)
            if found is not None and self._is_of(found, state):
                said |= found.values
                if found.error:
                    errors[name] = found.error
        return said, errors

    def reasons(self, state: RunState) -> dict[str, str]:
        """Why a run was scored as it was, by the score's name."""
        found = (by_run.get(state.index) for by_run in self._found.values())
        return {
            name: words for each in found if each and self._is_of(each, state) for name, words in each.reasons.items()
        }

    def columns(self, states: Sequence[RunState]) -> dict[str, dict[int, float | bool]]:
        """Each score's value by run, as numbers: of words, whether it is this word, one column for each."""
        raw: dict[str, dict[int, Value]] = {}
        for state in states:
            for name, value in self.of(state)[0].items():
                raw.setdefault(name, {})[state.index] = value
        columns: dict[str, dict[int, float | bool]] = {}
        for name, by_run in raw.items():
            if any(isinstance(value, str) for value in by_run.values()):
                for word in sorted({str(value) for value in by_run.values()}):
                    columns[f"{name}={word}"] = {run: str(value) == word for run, value in by_run.items()}
            else:
                columns[name] = {run: value for run, value in by_run.items() if not isinstance(value, str)}
        for name, found in self._found.items():
            if not any(column == name or column.startswith((f"{name}.", f"{name}=")) for column in columns) and found:
                columns[name] = {}  # every call of it failed, which is to be seen
        return columns


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


def _read(kept: tuple[Any, ...]) -> Scored:
    attempt, said, error, reasons = kept
    if not all(isinstance(value, Value) for value in said.values()):
        raise ValueError("a score is a number, a bool or a word")
    return Scored(int(attempt), dict(said), str(error), {str(name): str(words) for name, words in reasons.items()})


def is_async(function: Score) -> bool:
    """Whether it waits on the loop rather than in a thread."""
    inner = _inner(function)
    return _evaluators.owns(inner) or any(map(inspect.iscoroutinefunction, (inner, type(inner).__call__)))


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _call(function: Score, read: Callable[[], Any], inputs: Mapping[str, Any]) -> Any:
    try:
        return function(read(), inputs)
    except Exception:
        raise
    except BaseException as error:  # nobody's but the function's own: it would end the loop
        raise RuntimeError(_said(error)) from error


async def _await(waiting: Any) -> Any:
    try:
        return await waiting
    except SystemExit as error:
        raise RuntimeError(_said(error)) from error


class _HungError(Exception):
    """Raised when a score took longer than it may."""


async def _within(seconds: float | None, asking: Any) -> Any:
    """What comes of it in time. One that does not end when it is told to is left behind."""
    work = asyncio.ensure_future(asking)
    try:
        await asyncio.wait([work], timeout=seconds)
        if not work.done():
            raise _HungError(f"took longer than {seconds:g} s, and was given up")
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
