"""`Report`: what was run, on what, and what came of it, as a page of HTML that does nothing, or of Markdown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crew_nb._board import static as _static
from crew_nb._state import loop as _loop
from crew_nb._state import words as _words
from crew_nb._state.html import Html, el, picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crew_nb._handles.result import Result
    from crew_nb._scores.sheet import Sheet
    from crew_nb._scores.tables import Table
    from crew_nb._state.state import BatchState

EXAMPLES = 3
"""Best, worst and failed runs that are shown, of each."""
INPUTS = 200
"""Inputs that a page lists; of Markdown a tenth."""
CHARACTERS = 4_000
"""Of one output on a page; of Markdown a tenth, and of an input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A run that is shown, and why."""

    why: str
    label: str
    words: str
    """Its scores and their reasons."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is told; without secrets."""

    title: str
    facts: Mapping[str, str]
    inputs: Sequence[Mapping[str, Any]]
    tables: Mapping[str, Table]
    png: bytes | None
    examples: Sequence[Example]

    def html(self) -> str:
        """One file without scripts and with nothing to load."""
        names = list(dict.fromkeys(name for row in self.inputs for name in row))
        listed = [[_cut(row.get(name, ""), CHARACTERS // 10) for name in names] for row in self.inputs[:INPUTS]]
        more = len(self.inputs) - len(listed)
        return _static.page(
            self.title,
            el("ul", (el("li", el("strong", name), ": ", value) for name, value in self.facts.items())),
            [el("section", el("p", el("strong", name)), table.html()) for name, table in self.tables.items()],
            None if self.png is None else picture(self.png),
            [
                el(
                    "details",
                    el("summary", f"{each.why}: {each.label}"),
                    el("p", el("small", each.words)),
                    el("pre", _cut(each.text, CHARACTERS), style="white-space:pre-wrap"),
                    open=True,
                )
                for each in self.examples
            ],
            el("details", el("summary", f"Inputs ({len(self.inputs):,})"), _table(names, listed)),
            el("p", el("small", f"… and {more:,} more")) if more else None,
            pictures=self.png is not None,
        )

    def markdown(self) -> str:
        """A page to be read as text, by a coding agent say."""
        parts = [f"# {_line(self.title)}", "\n".join(f"- {name}: {_line(value)}" for name, value in self.facts.items())]
        for name, table in self.tables.items():
            shown = table.shown()
            notes = [f"- {_line(note)}" for note in table.notes]
            parts += [
                f"## {_line(name)}",
                _rows([list(r.values()) for r in shown], list(shown[0]) if shown else []),
                *notes,
            ]
        if self.examples:
            parts.append("## Examples")
        for each in self.examples:
            text = "\n".join(f"    {line}" for line in _cut(each.text, CHARACTERS // 10).splitlines())
            parts += [f"**{each.why}**: {_line(each.label)} ({_line(each.words)})", text]
        names = list(dict.fromkeys(name for row in self.inputs for name in row))
        listed = self.inputs[: INPUTS // 10]
        parts.append(f"## Inputs ({len(listed):,} of {len(self.inputs):,})")
        parts.append(_rows([[_cut(row.get(name, ""), 80) for name in names] for row in listed], names))
        return "\n\n".join(part for part in parts if part) + "\n"


def of(
    state: BatchState,
    items: Sequence[Result],
    sheet: Sheet,
    *,
    facts: Mapping[str, str],
    tables: Mapping[str, Table],
    png: bytes | None,
) -> Report:
    """What is told of a batch, or of a part of it: with the best, the worst and the failed runs by the first score."""
    scored = sheet.columns([item.state for item in items]) if items else {}
    first = next((values for values in scored.values() if values), {})
    ranked = sorted((item for item in items if item.index in first), key=lambda item: first[item.index])
    worst = ranked[: min(EXAMPLES, len(ranked) // 2)]
    failed = [item for item in items if item.status in ("failed", "cancelled")][:EXAMPLES]
    groups = (("best", ranked[::-1][:EXAMPLES]), ("worst", worst), ("failed", failed))
    counts = {status: sum(item.status == status for item in items) for status in ("done", "failed", "cancelled")}
    here = _loop.environment()
    cells = {sheet.cells[item.index].input: item for item in items}
    return Report(
        title=state.name or "crew_nb results",
        facts={
            "runs": f"{len(items)}: " + ", ".join(f"{n} {status}" for status, n in counts.items()),
            "began": time.strftime("%Y-%m-%d %H:%M", time.localtime(state.created)),
            "versions": f"Python {here.python}, crew-nb {here.crew_nb}, crewai {here.crewai}",
            **facts,
        },
        inputs=[item._secrets.scrub_inputs(sheet.cells[item.index].inputs) for item in cells.values()],
        tables=tables,
        png=png,
        examples=[_example(why, item, sheet) for why, shown in groups for item in shown],
    )


def _example(why: str, item: Result, sheet: Sheet) -> Example:
    state, (values, errors) = item.state, sheet.of(item.state)
    told = state.error
    return Example(
        why=why,
        label=f"run {state.index}, {state.label}",
        words="; ".join(f"{name}: {value}" for name, value in {**values, **errors}.items())
        + "".join(f" ({words})" for words in sheet.reasons(state).values()),
        text=state.output if told is None else f"{told.type}: {told.message}",
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    head = el("thead", el("tr", (el("th", name, scope="col") for name in names)))
    return el("table", head, el("tbody", (el("tr", (el("td", value) for value in row)) for row in rows)))


def _rows(rows: Iterable[Sequence[str]], names: Sequence[str]) -> str:
    if not names:
        return ""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(_line(cell) for cell in line) + " |" for line in lines)


def _line(words: str) -> str:
    """In one line of Markdown, where it can neither end a cell nor be HTML."""
    line = " ".join(_words.readable(words).split())
    return "".join(f"\\{sign}" if sign in "\\|<>`*_[]" else sign for sign in line)


def _cut(value: Any, room: int) -> str:
    words = value if isinstance(value, str) else repr(value)
    return _words.readable(words if len(words) <= room else f"{words[:room]}… ({len(words):,} characters)")
