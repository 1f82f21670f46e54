"""`Shown`: what a board shows of a sweep: its grid, the scores as they come, and means with their intervals."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crew_nb._engine.pool import DaemonPool
from crew_nb._state.errors import CrewNbError
from crew_nb._state.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from crew_nb._scores.sheet import Sheet
    from crew_nb._state.state import RunState

Json = dict[str, Any]

NAMES_CHARS = 15_000
"""Characters of the names of all inputs, and of all variants."""


class Shown:
    """What a board shows of a sweep.

    Args:
        sheet: Its cells and scores.
        states: Gives the runs as they are now.
        told: Called when new means are there, in a thread.
    """

    def __init__(self, sheet: Sheet, states: Callable[[], Sequence[RunState]], told: Callable[[], object]) -> None:
        self._sheet = sheet
        self._states = states
        self._told = told
        self._means: list[Json] | None = None
        self._means_of = -1
        self._at_work: Future[None] | None = None
        self._pool = DaemonPool("crew_nb-means")

    @property
    def log(self) -> Sequence[int]:
        """The runs that were scored, one after another, again where they were scored again."""
        return self._sheet.log

    @cached_property
    def grid(self) -> Json:
        """Inputs and variants by name. Runs go input by input, variant by variant, repeat by repeat."""
        sheet = self._sheet
        inputs = {cell.input: cell for cell in sheet.cells}
        names = list(dict.fromkeys(name for cell in inputs.values() for name in cell.inputs))
        # The name of the only input is the column's.
        shown = (lambda name, value: str(value)) if len(names) == 1 else "{}={}".format
        words = [", ".join(shown(name, value) for name, value in cell.inputs.items()) for cell in inputs.values()]
        variants = [", ".join(map(str, levels)) for levels in sheet.variants]
        return {
            "factors": [one_line(name, 60) for name in sheet.factors],
            "by": one_line(names[0], 60) if len(names) == 1 else "inputs",
            "inputs": _fitted(words),
            "variants": _fitted(variants),
            "repeats": max(cell.repeat for cell in sheet.cells) + 1,
        }

    def scores(self, state: RunState) -> Json:
        """The scores of one run by name; of one that failed None."""
        values, errors = self._sheet.of(state)
        return {**{one_line(name, 60): value for name, value in values.items()}, **dict.fromkeys(errors)}

    def means(self) -> list[Json] | None:
        """The newest that are worked out, in a thread; None until the first are there."""
        if self.log and self._means_of != len(self.log) and self._at_work is None:
            self._at_work = self._pool.submit(self.work_out)
            self._at_work.add_done_callback(self._came)
        return self._means

    def work_out(self) -> None:
        """Work out the means of what is scored now."""
        self._means_of = len(self.log)
        states = self._states()
        try:
            from crew_nb._scores import tables

            rows = tables.summary(self._sheet, states).rows
        except (CrewNbError, ImportError) as error:
            self._means = [{"score": one_line(str(error), 200), "rows": []}]
            return
        of = {levels: place for place, levels in enumerate(self._sheet.variants)}
        factors = self._sheet.factors
        self._means = [
            {
                "score": one_line(name, 60),
                "rows": [
                    [
                        of[tuple(row[factor] for factor in factors)],
                        *(_number(row[f"{name}{end}"]) for end in ("", " low", " high")),
                        row[f"{name} scored"],
                    ]
                    for row in rows
                ],
            }
            for name in self._sheet.columns(states)
        ]

    def _came(self, work: Future[None]) -> None:
        self._at_work = None
        if work.exception() is None:
            self._told()


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _fitted(names: Sequence[str]) -> list[str]:
    room = max(8, min(80, NAMES_CHARS // max(1, len(names))))
    return [one_line(name, room) for name in names]
