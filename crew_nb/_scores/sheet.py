"""`Sheet`: for each run of a batch the cell of the sweep that it stands in, and what scores said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from crew_nb._state.state import RunState

Value = float | bool | str
Score = Callable[[Any, Mapping[str, Any]], Any]
"""A function of (output, inputs), sync or async; a judge; or an evaluator of `pydantic_evals`."""

PERSON = "person"
"""What the scores that a person gave are known by."""


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
    """What one score said of one run."""

    attempt: int
    """Of the run; one that was retried since is another."""
    values: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why, by the value's name, where the score tells."""
    by: str = ""
    """What the score is known by: one that has changed since is asked again."""
    against: Mapping[str, float] = field(default_factory=dict)
    """Where a person saw it beside another: 1 for better, 0 for worse and 0.5 for a tie, by the other's level."""

    @property
    def tree(self) -> list[Any]:
        """It as plain data."""
        return [self.attempt, dict(self.values), self.error, dict(self.reasons), self.by, dict(self.against)]


class Sheet:
    """The cells of a batch, in its order, and the scores of its runs."""

    def __init__(self, cells: Iterable[Cell], given: Mapping[str, Score] | None = None) -> None:
        self.cells = tuple(cells)
        self.given = dict(given or {})
        """The functions that score each run when it ends, by their names."""
        self.keep: Callable[[int, str, Any], Future[str | None] | None] = lambda run, name, said: None
        """Puts into the record what a score says of a run, or None where it is taken back."""
        self.changed: Callable[[], object] = lambda: None
        """Called when a score has come; on any thread."""
        self.log: list[int] = []
        """The runs that were scored, one after another."""
        self.usage = Usage()
        """What judges took, failed and repeated ones too."""
        self.cost: float | None = 0.0
        """US dollars of judges; None where a price is unknown."""
        self._found: dict[str, dict[int, Scored]] = {name: {} for name in self.given}

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any] | None]) -> Sheet:
        """That of a batch without factors: each run has inputs of its own."""
        return cls(Cell(place, place, row or {}, {}, 0) for place, row in enumerate(rows))

    @classmethod
    def of_kept(
        cls,
        tree: Any,
        rows: Mapping[int, Mapping[str, Any] | None],
        said: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> Sheet | None:
        """What `kept` made, read back; None where it is damaged.

        Args:
            tree: What was kept.
            rows: The inputs of each run, by its index.
            said: What was kept of the scores of each run, where that is not in the tree.
        """
        try:
            # A part of a batch was saved: the others keep their places, and nothing is known of them.
            cells = {index: Cell(index, index, row or {}, {}, 0) for index, row in rows.items()}
            for index, given, row, variant, repeat in tree.get("cells", ()):
                own = {name: value for name, value in (rows.get(index) or {}).items() if name not in variant}
                cells[index] = Cell(int(given), row, own, dict(variant), int(repeat))
            sheet = cls(cells.get(index, Cell(index, index, {}, {}, 0)) for index in range(max(cells, default=-1) + 1))
            for name, by_run in tree.get("scores", {}).items():
                sheet._found[str(name)] = {index: _read(kept) for index, *kept in by_run}
            for index, by_name in (said or {}).items():
                sheet.recall(index, by_name)
            sheet.usage, sheet.cost = Usage.from_dict(tree.get("usage", {})), tree.get("cost", 0.0)
        except (TypeError, ValueError, KeyError, AttributeError):
            return None
        return sheet

    def recall(self, run: int, by_name: Mapping[str, Any], attempt: int | None = None) -> None:
        """Take over what was kept of a run's scores; errors are not, so that those are asked again.

        Args:
            run: Its place here.
            by_name: What was kept, by the score's name.
            attempt: Its number here, where it is of another batch, which gets the scores into its own record.
        """
        for name, tree in by_name.items():
            try:
                found = _read(tree)
            except (TypeError, ValueError):  # taken back, or damaged
                continue
            if attempt is None:
                self._found.setdefault(name, {})[run] = found
            elif not found.error:
                self.put(run, name, replace(found, attempt=attempt))

    def put(self, run: int, name: str, found: Scored | None) -> Future[str | None] | None:
        """A score has said something of a run, or is taken back; gives what is resolved once that is on disk."""
        known = self._found.setdefault(name, {})
        if found is None:
            known.pop(run, None)
        else:
            known[run] = found
        kept = self.keep(run, name, None if found is None else found.tree)
        self.log.append(run)
        self.changed()
        return kept

    def found(self, state: RunState, name: str) -> Scored | None:
        """What a score said of this very attempt of a run."""
        found = self._found.get(name, {}).get(state.index)
        return found if self._is_of(found, state) else None

    def kept(self, runs: Iterable[int] | None = None) -> dict[str, Any]:
        """Its cells, where there are factors, and scores, as plain data; empty where there is nothing to keep.

        Args:
            runs: Those that are meant. Where it is None: all, and only the names of scores: the record has these.
        """
        wanted = set(range(len(self.cells)) if runs is None else runs)
        cells = [
            [index, cell.input, cell.row, dict(cell.variant), cell.repeat]
            for index, cell in enumerate(self.cells)
            if index in wanted and self.factors
        ]
        scores = {
            name: [
                [index, *each.tree]
                for index, each in list(by_run.items())  # scores may come meanwhile, from another thread
                if index in wanted and runs is not None
            ]
            for name, by_run in list(self._found.items())
        }
        if not cells and not scores:
            return {}
        return {"cells": cells, "scores": scores, "usage": self.usage.to_dict(), "cost": self.cost}

    @cached_property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in the order given."""
        return tuple(dict.fromkeys(name for cell in self.cells for name in cell.variant))

    @property
    def known_factors(self) -> str:
        """The same in words."""
        return ", ".join(self.factors) or "none: these are no results of cnb.sweep(...)"

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

    @staticmethod
    def _is_of(found: Scored | None, state: RunState) -> bool:
        return found is not None and found.attempt == state.attempt and state.status == "done"

    def of(self, state: RunState) -> tuple[dict[str, Value], dict[str, str]]:
        """What is known of a run: values by the score's name, and errors by the function's."""
        said: dict[str, Value] = {}
        errors: dict[str, str] = {}
        for name, by_run in list(self._found.items()):
            found = by_run.get(state.index)
            if found is not None and self._is_of(found, state):
                said |= found.values
                if found.error:
                    errors[name] = found.error
        return said, errors

    def reasons(self, state: RunState) -> dict[str, str]:
        """Why a run was scored as it was, by the score's name."""
        found = [by_run.get(state.index) for by_run in list(self._found.values())]
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
        for name, found in list(self._found.items()):
            if not any(column == name or column.startswith((f"{name}.", f"{name}=")) for column in columns) and found:
                columns[name] = {}  # every call of it failed, which is to be seen
        return columns


def _read(tree: Any) -> Scored:
    """What `tree` made, read back.

    Raises:
        TypeError, ValueError: It is damaged, or nothing.
    """
    attempt, said, error, reasons, by, against = tree
    if not all(isinstance(each, dict) for each in (said, reasons, against)):
        raise TypeError("names are missing")
    if not all(isinstance(value, Value) for value in said.values()):
        raise ValueError("a score is a number, a bool or a word")
    why = {str(name): str(words) for name, words in reasons.items()}
    return Scored(int(attempt), said, str(error), why, str(by), {str(n): float(won) for n, won in against.items()})
