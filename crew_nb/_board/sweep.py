"""A sweep as HTML without script: its grid, with a figure in each cell, and the means with their intervals."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from crew_nb._board.summary import SIGNS
from crew_nb._state.html import Html, el

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._state.state import BatchState, RunState

Json = dict[str, Any]

ROWS = 200
"""Inputs of the grid drawn in a notebook."""


class Sweep(Protocol):
    """What a board shows of a sweep."""

    @property
    def grid(self) -> Json:
        """Names of factors, inputs and variants, what the inputs are (`by`), and how many repeats there are."""

    @property
    def log(self) -> Sequence[int]:
        """The runs that were scored, one after another."""

    def scores(self, state: RunState) -> Json:
        """The scores of one run by name; of one that failed None."""

    def means(self) -> list[Json] | None:
        """Of each score, by variant: mean, interval, and of how many runs."""

    def work_out(self) -> None:
        """Bring the means up to date, here and now."""


def static(state: BatchState, sweep: Sweep) -> Html | None:
    """The first score as a grid, and the means of all; None where nothing was scored."""
    if not sweep.log:
        return None
    sweep.work_out()
    means = [each for each in sweep.means() or [] if each["rows"]]
    grid, by_run = sweep.grid, {run.index: sweep.scores(run) for run in state.runs}
    names = list(dict.fromkeys(name for scores in by_run.values() for name in scores))
    return el("div", _grid(state, grid, by_run, names[0]) if names else None, (_means(each, grid) for each in means))


def _grid(state: BatchState, grid: Json, by_run: dict[int, Json], name: str) -> Html:
    variants, repeats = grid["variants"], grid["repeats"]
    corner = f"{grid['by']} by {', '.join(grid['factors'])}"
    head = el("tr", el("th", corner, style="text-align:left"), (el("th", words, scope="col") for words in variants))
    rows = []
    for place, words in enumerate(grid["inputs"][:ROWS]):
        cells = []
        for turn in range(len(variants)):
            first = (place * len(variants) + turn) * repeats
            runs = state.runs[first : first + repeats]
            cells.append(el("td", _figure([by_run[run.index].get(name) for run in runs], runs)))
        rows.append(el("tr", el("th", words, scope="row", style="text-align:left"), cells))
    left = len(grid["inputs"]) - len(rows)
    more = el("p", el("em", f"… and {left:,} more inputs")) if left > 0 else None
    title = el("summary", el("strong", f"Grid: {name}"))
    return el("details", title, el("table", el("thead", head), el("tbody", rows)), more, open=len(rows) <= 30)


def _figure(values: list[Any], runs: Sequence[RunState]) -> str:
    """What a cell says: the mean of its repeats and from where to where they go, words, or a sign."""
    known = [value for value in values if value is not None]
    if not known:
        return next((SIGNS[run.status] for run in runs if run.status != "done"), "–")
    if any(isinstance(value, str) for value in known):
        return ", ".join(word if n == 1 else f"{word} ×{n}" for word, n in Counter(map(str, known)).items())
    if all(isinstance(value, bool) for value in known):
        return f"{sum(known)} of {len(known)}" if len(known) > 1 else ("yes" if known[0] else "no")
    mean, low, high = math.fsum(known) / len(known), min(known), max(known)
    return f"{mean:,.3g}" if low == high else f"{mean:,.3g} ({low:,.3g} to {high:,.3g})"


def _means(of: Json, grid: Json) -> Html:
    rows = []
    for turn, mean, low, high, scored in of["rows"]:
        told = "–" if mean is None else f"{mean:,.3g}"
        told += f" [{low:,.3g}, {high:,.3g}]" if None not in (mean, low, high) else ""
        rows.append(el("tr", el("th", grid["variants"][turn], scope="row"), el("td", told), el("td", f"{scored:,}")))
    head = el("tr", el("th", ", ".join(grid["factors"])), el("th", of["score"]), el("th", "runs"))
    return el("table", el("thead", head), el("tbody", rows))
