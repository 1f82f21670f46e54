"""What scores say in the end: a row for each variant, a row for each comparison, and the picture."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crew_nb._scores import statistics as _statistics
from crew_nb._state import words as _words
from crew_nb._state.errors import CrewNbError, OptionError
from crew_nb._state.html import Html, el

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from crew_nb._scores.sheet import Sheet
    from crew_nb._state.state import RunState

NEEDS = "{what} needs {package}. Write: pip install 'crew-nb[research]'"
NOTHING = "–"


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """Rows of figures; draws itself in a cell, and reads as a list of dicts."""

    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    """What is to be known of it: what is missing, and why."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self.rows[place]

    def to_frame(self) -> pd.DataFrame:
        """A pandas DataFrame of the same rows."""
        try:
            import pandas as pd
        except ImportError as error:
            raise CrewNbError(NEEDS.format(what="to_frame()", package="pandas")) from error
        return pd.DataFrame(self.rows)

    def shown(self) -> list[dict[str, str]]:
        """As people read it: a mean and its interval in one field."""
        shown = []
        for row in self.rows:
            line = {}
            for name, value in row.items():
                if name.endswith((" low", " high")):
                    continue
                line[name] = _figure(value)
                if f"{name} low" in row and line[name] != NOTHING:
                    line[name] += f" [{_figure(row[f'{name} low'])}, {_figure(row[f'{name} high'])}]"
            shown.append(line)
        return shown

    def __repr__(self) -> str:
        shown = self.shown()
        names = list(shown[0]) if shown else []
        lines = [names, *([_words.readable(row[name]) for name in names] for row in shown)]
        widths = [max(len(line[n]) for line in lines) for n in range(len(names))]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*(line.rstrip() for line in text), *self.notes])

    def _repr_html_(self) -> str:
        return str(self.html())

    def html(self) -> Html:
        """The table and its notes, as a cell shows them."""
        shown = self.shown()
        head = el("thead", el("tr", (el("th", name, scope="col") for name in (shown[0] if shown else ()))))
        body = el("tbody", (el("tr", (el("td", value) for value in row.values())) for row in shown))
        return el("div", el("table", head, body), (el("p", el("small", note)) for note in self.notes))


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return NOTHING if math.isnan(value) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return NOTHING if value is None else str(value)


def summary(sheet: Sheet, states: Sequence[RunState]) -> Table:
    """A row for each variant: its runs, each score's mean with its 95 % interval, cost, tokens, seconds."""
    columns = sheet.columns(states)
    by_run = {state.index: state for state in states}
    rows = []
    for levels, runs in sheet.variants.items():
        here = [by_run[run] for run in runs if run in by_run]
        if not here:
            continue
        row: dict[str, Any] = dict(zip(sheet.factors, levels, strict=True))
        row |= {"runs": len(here), "failed": sum(state.status in ("failed", "cancelled") for state in here)}
        for name, values in columns.items():
            found = _mean(sheet, [(state.index, values[state.index]) for state in here if state.index in values])
            row |= {name: found.mean, f"{name} low": found.low, f"{name} high": found.high}
            row[f"{name} scored"] = sum(state.index in values for state in here)
        # What is from the record was paid for once, too.
        costs = [cost for state in here for cost in (state.cost, state.saved_cost) if cost is not None]
        times = [state.finished - state.started for state in here if state.finished and state.started]
        row["cost"] = math.fsum(costs) if costs else None
        row["tokens"] = sum((state.usage + state.saved).total_tokens for state in here)
        row["seconds"] = math.fsum(times) / len(times) if times else None
        rows.append(row)
    return Table(rows, notes(sheet, states))


def _mean(sheet: Sheet, found: list[tuple[int, float | bool]]) -> _statistics.Mean:
    try:
        is_share = bool(found) and all(isinstance(value, bool) for _, value in found)
        return _statistics.mean([(sheet.cells[run].input, float(value)) for run, value in found], is_share=is_share)
    except ImportError as error:
        raise _missing(error) from error


def versus(
    sheet: Sheet, states: Sequence[RunState], factor: str, score: str | None = None, baseline: Any = None
) -> Table:
    """Each level of a factor against the baseline, paired by input and by the other factors.

    Raises:
        OptionError: When there is no such factor, score or level, or nothing was scored.
    """
    if factor not in sheet.factors:
        raise OptionError(f"{factor!r} is no factor of these results. They have {sheet.known_factors}.")
    columns = sheet.columns(states)
    names = [name for name in columns if score is None or name == score or name.startswith(f"{score}=")]
    if not names:
        known = ", ".join(columns) or "none; write `await results.score(f)` first"
        raise OptionError(f"{score or 'score'!r} is no score of these results. They have {known}.")
    levels = sheet.levels(factor)
    base = levels[0] if baseline is None else baseline
    if base not in levels:
        raise OptionError(f"{baseline!r} is no level of {factor}. It has {', '.join(map(repr, levels))}.")
    pairs = [(level, name) for name in names for level in levels if level != base]
    samples, left_out, missing = [], [], []
    for level, name in pairs:
        sides = [_side(sheet, states, columns[name], factor, each) for each in (base, level)]
        both = {key for key in sides[0][0] if key in sides[1][0]}
        of_input = _statistics.by_input((key[0], sides[1][0][key] - sides[0][0][key]) for key in sorted_keys(both))
        samples.append(of_input)
        left_out.append(len((sides[0][1] | sides[1][1]) - set(of_input)))
        missing.append(sides[0][2] + sides[1][2])
    try:
        found = _statistics.differences(samples)
    except ImportError as error:
        raise _missing(error) from error
    rows = [
        {
            factor: level,
            "against": base,
            "score": name,
            "difference": each.mean,
            "difference low": each.low,
            "difference high": each.high,
            "p": each.p,
            "verdict": each.verdict,
            "inputs": each.inputs,
            "inputs left out": out,
            "runs without score": lost,
        }
        for (level, name), each, out, lost in zip(pairs, found, left_out, missing, strict=True)
    ]
    return Table(rows, notes(sheet, states))


Pair = tuple[int, tuple[Any, ...]]
"""An input and the levels of the other factors."""


def _side(
    sheet: Sheet, states: Sequence[RunState], values: dict[int, float | bool], factor: str, level: Any
) -> tuple[dict[Pair, float], set[int], int]:
    """A level's mean for each pair, the inputs that it was run over, and how many of its runs have no score."""
    others = [name for name in sheet.factors if name != factor]
    here = [s.index for s in states if sheet.cells[s.index].variant.get(factor) == level]
    cells = {run: sheet.cells[run] for run in here}
    known = [
        ((cell.input, tuple(cell.variant.get(name) for name in others)), float(values[run]))
        for run, cell in cells.items()
        if run in values
    ]
    return _statistics.by_input(known), {cell.input for cell in cells.values()}, len(here) - len(known)


def sorted_keys(keys: set[Pair]) -> list[Pair]:
    """Pairs in one order, so that sums come out the same each time."""
    return sorted(keys, key=lambda key: (key[0], str(key[1])))


def notes(sheet: Sheet, states: Sequence[RunState]) -> list[str]:
    """What people should know before they trust the figures."""
    found = []
    lost = sum(state.status in ("failed", "cancelled") for state in states)
    if lost:
        found.append(f"{lost} of {len(states)} runs failed or were stopped, and have no score.")
    going = sum(not state.final for state in states)
    if going:
        found.append(f"{going} of {len(states)} runs have not ended yet.")
    if sheet.usage.successful_requests:
        cost = "at an unknown price" if sheet.cost is None else f"${sheet.cost:,.4f}"
        found.append(f"Judges took {sheet.usage.total_tokens:,} tokens, {cost}, beside the runs' own.")
    errors: dict[str, list[str]] = {}
    for state in states:
        for name, words in sheet.of(state)[1].items():
            errors.setdefault(name, []).append(f"run {state.index}: {words}")
    found += [f"{name} failed on {len(each)} runs, first on {each[0]}" for name, each in errors.items()]
    return found


class Plot:
    """Points with their 95 % intervals; draws itself in a cell, and stays in the saved notebook."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        """matplotlib's."""

    @cached_property
    def _png(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=110)
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self._png


def plot(sheet: Sheet, states: Sequence[RunState]) -> Plot:
    """The means of `summary`, a panel for each score.

    Raises:
        OptionError: When nothing was scored.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CrewNbError(NEEDS.format(what="plot()", package="matplotlib")) from error
    scores, rows = list(sheet.columns(states)), summary(sheet, states).rows
    if not scores:
        raise OptionError("there is nothing to plot: write `await results.score(f)` first.")
    labels = [_plain(", ".join(_figure(row[name]) for name in sheet.factors) or "all runs") for row in rows]
    figure = Figure(figsize=(2 + 3 * len(scores), 1.2 + 0.35 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, scores, strict=True):
        for place, row in enumerate(rows):
            panel.plot([row[f"{name} low"], row[f"{name} high"]], [place, place], color="C0")
            panel.plot([row[name]], [place], "o", color="C0")
        panel.set_xlabel(_plain(name))
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(rows)), labels)
    panels[0].invert_yaxis()
    return Plot(figure)


def _plain(words: str) -> str:
    """As text: what is between two dollar signs would be typeset as mathematics."""
    line = " ".join(words.split()).replace("$", r"\$")
    return line if len(line) <= 60 else f"{line[:59]}…"


def _missing(error: ImportError) -> CrewNbError:
    return CrewNbError(NEEDS.format(what="an interval", package=(error.name or "scipy").partition(".")[0]))
