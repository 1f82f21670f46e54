"""`Sheet`: for each run of a batch the cell of the sweep that it stands in, and what the score functions said of it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crew_nb._state.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crew_nb._state.state import RunState

Value = float | bool | str
Score = Callable[[Any, Mapping[str, Any]], Any]
"""A function of (output, inputs), sync or async."""

AT_ONCE = 16
"""Async scores that go on at the same time."""

LONGEST_WORD = 100
"""Characters of a word that is a score; what is longer is a text."""


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


@dataclass(frozen=True, slots=True)
class Scored:
    """What one function said of one run."""

    attempt: int
    """Of the run; one that was retried since is another."""
    values: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""


class Sheet:
    """The cells of a batch, in its order, and the scores of its runs."""

    def __init__(self, cells: Iterable[Cell], given: Iterable[Score] = ()) -> None:
        self.cells = tuple(cells)
        self.given = named(given)
        """The functions that score each run when it is joined."""
        self._found: dict[str, dict[int, Scored]] = {}

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any] | None]) -> Sheet:
        """That of a batch without factors: each run has inputs of its own."""
        return cls(Cell(place, place, row or {}, {}, 0) for place, row in enumerate(rows))

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
        self, functions: Mapping[str, Score], runs: Iterable[tuple[RunState, Callable[[], Any]]], *, again: bool
    ) -> None:
        """Let the functions score the runs that are done; plain functions in a thread, one call at a time.

        Args:
            functions: By their names.
            runs: With each run's state a function that reads its output.
            again: Whether also what has been scored.
        """
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, function: Score, state: RunState, read: Callable[[], Any]) -> None:
            async with turns:
                self._found[name][state.index] = await self._ask(name, function, state, read)

        asked = []
        for (name, function), (state, read) in itertools.product(functions.items(), list(runs)):
            found = self._found.setdefault(name, {})
            if state.status != "done" or (not again and self._is_of(found.get(state.index), state)):
                continue
            if inspect.iscoroutinefunction(function):
                asked.append(one(name, function, state, read))
            else:
                await one(name, function, state, read)
        await asyncio.gather(*asked)

    async def _ask(self, name: str, function: Score, state: RunState, read: Callable[[], Any]) -> Scored:
        inputs = dict(self.cells[state.index].inputs)
        try:
            if inspect.iscoroutinefunction(function):
                said = await function(read(), inputs)
            else:
                said = await asyncio.to_thread(function, read(), inputs)
                if inspect.isawaitable(said):
                    said = await said
            return Scored(state.attempt, values(name, said))
        except Exception as error:
            return Scored(state.attempt, error=_said(error))

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
        if not callable(function):
            raise OptionError(f"{function!r:.60} is no score. Give a function of (output, inputs).")
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        name = getattr(inner, "__name__", type(inner).__name__)
        name = "score" if name == "<lambda>" else name
        if name in found:
            raise OptionError(f"two scores are named {name}. Give each function a name of its own with `def`.")
        found[name] = function
    return found


def values(name: str, said: Any) -> dict[str, Value]:
    """What a score function gave, as values by name.

    Raises:
        ValueError: When it is no number, yes or no, word, or dict of these.
    """
    if hasattr(type(said), "model_fields"):
        said = said.model_dump()
    if isinstance(said, Mapping):
        return {key: value for inner, item in said.items() for key, value in values(f"{name}.{inner}", item).items()}
    if type(said).__module__ == "numpy" and hasattr(said, "item"):
        said = said.item()
    if isinstance(said, bool):
        return {name: said}
    if isinstance(said, int | float):
        if not math.isfinite(said):
            raise ValueError(f"gave {said}, which is no number to take a mean of")
        return {name: float(said)}
    if isinstance(said, str):
        if len(said) > LONGEST_WORD:
            raise ValueError(f"gave a text of {len(said):,} characters; a score is a number, a bool or a word")
        return {name: " ".join(said.split())}
    raise ValueError(f"gave a {type(said).__name__}; a score is a number, a bool, a word, or a dict of these")


def _said(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except Exception:  # its own __str__ raises
        return type(error).__name__
