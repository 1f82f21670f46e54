"""`Comparison`: two outputs side by side, or those of two batches over the same inputs that differ."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from crew_nb._board import static as _static
from crew_nb._board import text as _text
from crew_nb._state.errors import OptionError
from crew_nb._state.html import el
from crew_nb._state.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crew_nb._handles.result import Result
    from crew_nb._scores.sheet import Sheet


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Two outputs, word by word; draws itself in a cell."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return str(self.html)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def of_runs(one: Result, other: Result) -> Comparison:
    """Two outputs word by word."""
    a, b = ((item.state.label, item._secrets.scrub(item.raw)) for item in (one, other))
    return Comparison(_static.compare(*a, *b), _text.compare(*a, *b))


def of_batches(ours: Iterable[Result], sheet: Sheet, theirs: Iterable[Result], other: Sheet) -> Comparison:
    """What two batches say to the same inputs, where it differs.

    Raises:
        OptionError: When they have no input in common.
    """
    mine, others = _by_inputs(ours, sheet), _by_inputs(theirs, other)
    pairs = [(item, others[key]) for key, item in mine.items() if key in others]
    if not pairs:
        raise OptionError("no run of these results has the inputs of one of the others.")
    told = [(a, b, _said_in_all(a, sheet), _said_in_all(b, other)) for a, b in pairs]
    changed = [(a.state.label, said, b.state.label, now) for a, b, said, now in told if said != now]
    lost = len(mine) + len(others) - 2 * len(pairs)
    head = f"{len(changed):,} of {len(pairs):,} runs over the same inputs differ" + (
        f"; {lost:,} runs have no counterpart" if lost else ""
    )
    html = el("div", el("p", el("strong", head)), (_static.compare(*each) for each in changed))
    return Comparison(html, "\n\n".join([head, *(_text.compare(*each) for each in changed)]))


def _by_inputs(items: Iterable[Result], sheet: Sheet) -> dict[tuple[str, int], Result]:
    """The runs by what they were given; those that were given the same, in their order."""
    found: dict[tuple[str, int], Result] = {}
    seen: dict[str, int] = {}
    for item in items:
        cell = sheet.cells[item.index]
        given = json.dumps(plain({**item._secrets.scrub_inputs(cell.inputs), **cell.variant}), sort_keys=True)
        found[given, seen.setdefault(given, 0)] = item
        seen[given] += 1
    return found


def _said_in_all(item: Result, sheet: Sheet) -> str:
    """Its output or its error, and its scores, as one text."""
    state, (values, _) = item.state, sheet.of(item.state)
    told = state.output if state.error is None else f"{state.status}: {state.error.type}: {state.error.message}"
    return "\n".join([told, *(f"{name}: {value}" for name, value in values.items())])
