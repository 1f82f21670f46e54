"""What so many runs will take, from the crew and from what runs have taken; an estimate runs nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crew_nb._state import words as _words

if TYPE_CHECKING:
    from crew_nb._cells.form import Shape
    from crew_nb._state.state import BatchState

TRY = 2
"""Rows that are tried before the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the finished runs of a batch took."""

    runs: int
    seconds: float
    """From the first start to the last end."""
    each: float
    """Mean seconds of one run."""
    calls: float
    """Mean LLM calls of one run."""
    tokens: float
    """Mean tokens of one run."""
    cost: float | None
    """Mean US dollars of one run; None where a price is unknown."""


def measured(state: BatchState) -> Measured | None:
    """What the runs that are done took; None where none is."""
    done = [
        (run, run.started, run.finished)
        for run in state.runs
        if run.status == "done" and not run.from_record and run.started is not None and run.finished is not None
    ]
    if not done:
        return None
    count = len(done)
    costs = [run.cost for run, _, _ in done]
    return Measured(
        runs=count,
        seconds=max(end for _, _, end in done) - min(start for _, start, _ in done),
        each=sum(end - start for _, start, end in done) / count,
        calls=sum(sum(c.kind == "llm" and c.attempt == run.attempt for c in run.all_calls) for run, _, _ in done)
        / count,
        tokens=sum(run.usage.total_tokens for run, _, _ in done) / count,
        cost=None if None in costs else sum(c for c in costs if c is not None) / count,
    )


def estimate(
    runs: int,
    of: Shape,
    *,
    concurrency: int,
    max_rpm: int | None = None,
    seen: Measured | None = None,
    tried: int = 0,
    offer: bool = True,
) -> str:
    """What so many runs will take, in words.

    Args:
        runs: How many there are.
        of: The form, which knows how many calls a run makes.
        concurrency: Runs at once.
        max_rpm: LLM calls a minute.
        seen: What earlier runs took.
        tried: How many of these runs are done already, and kept.
        offer: Say that some may be tried first.
    """
    calls = seen.calls if seen is not None else of.calls
    words = f"{runs:,} run" + ("" if runs == 1 else "s")
    if calls is not None:
        total = round(calls * runs)
        least = seen is None and not of.exactly
        words += f", {'at least' if least else 'about'} {total:,} call" + ("" if total == 1 else "s")
    if seen is None or calls is None:
        return f"{words}. Try the first {TRY} to see what they take." if offer and runs > TRY else f"{words}."
    left = runs - tried
    took = f"the {'first' if tried else 'last'} {tried or seen.runs:,} took {_time(seen.seconds)}"
    if left <= 0:
        return f"{words}; {took} and {'is' if tried == 1 else 'are'} kept."
    seconds = math.ceil(left / min(concurrency, left)) * seen.each
    if max_rpm:
        seconds = max(seconds, calls * left / max_rpm * 60)
    facts = [f"about {_time(seconds)}"]
    if seen.tokens:
        facts.append(f"{_rounded(seen.tokens * left):,} tokens")
    if seen.cost:
        facts.append(_words.money(seen.cost * left))
    rest = f" for the other {left:,}" if tried else ""
    return f"{words}; {took}: {', '.join(facts[:-1])}{' and ' if facts[1:] else ''}{facts[-1]}{rest}."


def _time(seconds: float) -> str:
    if seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 100:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _rounded(count: float) -> int:
    """To two places that count, for it is an estimate."""
    size = max(0, len(str(int(count))) - 2)
    return int(round(count, -size))
