"""How far two people, or a person and a judge, agree on the same outputs; the mathematics is statsmodels'."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from crew_nb._scores.tables import NEEDS, Table
from crew_nb._state.errors import CrewNbError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crew_nb._scores.sheet import Sheet, Value
    from crew_nb._state.state import RunState

MOST_LEVELS = 20
"""Different values up to which agreement can be counted; what has more is a measure."""


def agreement(sheet: Sheet, states: Sequence[RunState], one: str, other: str) -> Table:
    """One row: how many outputs both scored, the share on which they agree, and Cohen's kappa with its 95 % interval.

    Of numbers also kappa weighted by the square of the distance. A pair that a person saw side by side counts once,
    and of what has rated them one by one it is then asked which it found better.

    Raises:
        OptionError: When there is no such score, or their values are not of one kind.
    """
    known = {name for state in states for name in sheet.of(state)[0]}
    for name in (one, other):
        if name not in known:
            raise OptionError(f"{name!r} is no score of these results. They have {', '.join(sorted(known)) or 'none'}.")
    pairs = _pairs(sheet, states, one, other)
    levels = sorted({value for pair in pairs for value in pair}, key=lambda level: (str(type(level)), level))
    kinds = {type(level) for level in levels}
    if len(kinds) > 1:
        raise OptionError(f"{one} and {other} are not of one kind. Rate on the judge's scale: results.rate(scale=...).")
    if len(levels) > MOST_LEVELS:
        raise OptionError(f"{one} and {other} have {len(levels)} different values, which is no scale to agree on.")
    row: dict[str, Any] = {"one": one, "other": other, "outputs": len(pairs)}
    row["agree"] = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
    row |= _kappas(pairs, levels)
    return Table([row], ["Each output counts once; kappa is what they agree on beyond chance."])


def _pairs(sheet: Sheet, states: Sequence[RunState], one: str, other: str) -> list[tuple[Value, Value]]:
    """What both said of the same."""
    beside = [_beside(sheet, states, name) for name in (one, other)]
    if any(beside):
        keys = beside[0] or beside[1]
        said = [found or _better(sheet, states, name, keys) for found, name in zip(beside, (one, other), strict=True)]
        return [(said[0][key], said[1][key]) for key in keys if key in said[0] and key in said[1]]
    both = [sheet.of(state)[0] for state in states]
    return [(said[one], said[other]) for said in both if one in said and other in said]


Seen = tuple[int, int]
"""Two runs, the first of them before the second."""


def _beside(sheet: Sheet, states: Sequence[RunState], name: str) -> dict[Seen, float]:
    """What a person who saw them side by side said of the first of each two."""
    by_place: dict[tuple[Any, ...], int] = {}
    for state in states:
        cell = sheet.cells[state.index]
        by_place[cell.input, cell.repeat, *sorted((k, str(v)) for k, v in cell.variant.items())] = state.index
    found: dict[Seen, float] = {}
    for state in states:
        scored, cell = sheet.found(state, name), sheet.cells[state.index]
        for level, won in (scored.against if scored else {}).items():
            for factor in cell.variant:
                variant = sorted((k, level if k == factor else str(v)) for k, v in cell.variant.items())
                other = by_place.get((cell.input, cell.repeat, *variant))
                if other is not None and state.index < other:
                    found[state.index, other] = won
    return found


def _better(sheet: Sheet, states: Sequence[RunState], name: str, keys: Mapping[Seen, float]) -> dict[Seen, float]:
    """Which of two is scored higher, where they were scored one by one."""
    said = {state.index: sheet.of(state)[0].get(name) for state in states}
    numbers = {run: float(value) for run, value in said.items() if value is not None and not isinstance(value, str)}
    return {
        (a, b): 0.5 if numbers[a] == numbers[b] else float(numbers[a] > numbers[b])
        for a, b in keys
        if a in numbers and b in numbers
    }


def _kappas(pairs: Sequence[tuple[Value, Value]], levels: Sequence[Any]) -> dict[str, float | None]:
    nothing: dict[str, float | None] = {"kappa": None, "kappa low": None, "kappa high": None}
    if len(levels) < 2:
        return nothing  # where all is one level, nothing can be told from chance
    try:
        from statsmodels.stats.inter_rater import cohens_kappa
    except ImportError as error:
        raise CrewNbError(NEEDS.format(what="agreement()", package="statsmodels")) from error
    import numpy as np

    table = np.zeros((len(levels), len(levels)), dtype=int)
    for a, b in pairs:
        table[levels.index(a), levels.index(b)] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a test that is not used here, where all is one level
        found = cohens_kappa(table)
    row = {"kappa": float(found.kappa), "kappa low": float(found.kappa_low), "kappa high": float(found.kappa_upp)}
    if isinstance(levels[0], float) and len(levels) > 2:
        weights = np.array(levels)
        row["weighted kappa"] = float(cohens_kappa(table, weights=weights, wt="quadratic", return_results=False))
    return {**nothing, **row}


def in_words(sheet: Sheet, states: Sequence[RunState], name: str) -> list[str]:
    """A line for each score with which that one can be compared."""
    lines = []
    for other in dict.fromkeys(other for state in states for other in sheet.of(state)[0] if other != name):
        try:
            (row,) = agreement(sheet, states, name, other).shown()
        except (OptionError, CrewNbError):
            continue
        lines.append(f"{name} and {other} agree on {row['agree']} of {row['outputs']} outputs, kappa {row['kappa']}")
    return lines
