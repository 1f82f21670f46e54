"""What `cnb.runs()` gives: the batches that are kept, as lines of a list that draws itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from crew_nb._state.html import Html, el
from crew_nb._state.words import money, one_line

SHOWN = 50
"""Batches that a cell shows of what `runs()` gives."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BatchInfo:
    """One line of `cnb.runs()`: a batch that is kept."""

    key: str
    name: str
    created: float
    """Unix seconds."""
    runs: int
    done: int
    failed: int
    cancelled: int
    total_tokens: int
    cost: float | None
    """US dollars; None where no price was known."""

    @property
    def missing(self) -> int:
        """Runs whose end was never recorded: they go on elsewhere, or their kernel ended."""
        return self.runs - self.done - self.failed - self.cancelled

    def __repr__(self) -> str:
        return f"<{', '.join(filter(None, self._facts()))}>"

    def _facts(self) -> tuple[str, ...]:
        """What it is called, when it began, what became of its runs, what they took, and its key."""
        counts = {name: getattr(self, name) for name in ("done", "failed", "cancelled", "missing")}
        of = f"{self.runs:,} run{'' if self.runs == 1 else 's'}: "
        return (
            one_line(self.name, 60) or "batch",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(self.created)),
            of + ", ".join(f"{n:,} {name}" for name, n in counts.items() if n or name == "done"),
            f"{self.total_tokens:,} tokens",
            "" if self.cost is None else money(self.cost),
            self.key,
        )


class Kept(list[BatchInfo]):
    """What `cnb.runs()` gives, newest first; draws itself in a cell."""

    def __repr__(self) -> str:
        if not self:
            return "Nothing is kept yet."
        more = len(self) - SHOWN
        return "\n".join([*map(repr, self[:SHOWN]), *([f"… and {more:,} more"] if more > 0 else [])])

    def _repr_html_(self) -> str:
        if not self:
            return str(el("p", repr(self)))
        head = el("tr", *(_cell("th", name) for name in ("name", "began", "runs", "tokens", "cost", "key")))
        rows = [
            el(
                "tr",
                *(_cell("td", el("code", words) if place == 5 else words) for place, words in enumerate(info._facts())),
            )
            for info in self[:SHOWN]
        ]
        more = f"… and {len(self) - SHOWN:,} more. " if len(self) > SHOWN else ""
        how = el(
            "p",
            el("small", more, el("code", "cnb.load(name)"), " or ", el("code", "cnb.load(key)"), " brings one back."),
        )
        return str(
            el(
                "div",
                el("table", el("thead", head), el("tbody", *rows)),
                how,
                class_="crew-nb mathjax_ignore tex2jax_ignore",
            )
        )


def _cell(tag: str, words: Html | str) -> Html:
    return el(tag, words, style="text-align:left", dir="auto")
