"""What so many runs will take, from the crew and from what runs have taken; an estimate runs nothing."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crew_nb._state import words as _words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    calls: tuple[float, ...]
    """LLM calls of each run."""
    tokens: tuple[float, ...]
    """Tokens of each run."""
    cost: tuple[float, ...] | None
    """US dollars of each run; None where a price is unknown."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much it will be, and between what in 19 cases of 20."""

    about: float
    low: float | None = None
    """None where too few runs were seen to tell."""
    high: float | None = None

    def plus(self, spent: float) -> Amount:
        """The same with what is spent already."""
        if self.low is None or self.high is None:
            return Amount(self.about + spent)
        return Amount(self.about + spent, self.low + spent, self.high + spent)

    def told(self, words: Callable[[float], str], unit: str = "") -> str:
        """The amount, and its range where that is wider than the words show."""
        about = words(self.about) + unit
        if self.low is None or self.high is None or words(self.low) == words(self.high):
            return about
        return f"{about} ({words(self.low)} to {words(self.high)})"


_T = (4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""The two-sided 95 % points of Student's t with 2 and more degrees of freedom."""


def amount(groups: Sequence[tuple[Sequence[float], int]]) -> Amount:
    """What the runs that are left will take.

    Args:
        groups: For runs that are of one kind, what each of them took, and how many are left.
    """
    every = [value for values, _ in groups for value in values]
    known = [(values or every, left) for values, left in groups]
    about = sum(statistics.fmean(values) * left for values, left in known)
    freedom = len(every) - sum(1 for values, _ in groups if values)
    if freedom < 2:
        return Amount(about)
    within = sum((value - statistics.fmean(values)) ** 2 for values, _ in groups for value in values) / freedom
    error = math.sqrt(within * sum(left + left * left / len(values) for values, left in known))
    reach = error * (_T[freedom - 2] if freedom - 2 < len(_T) else 1.96 + 2.6 / freedom)
    return Amount(about, max(0.0, about - reach), about + reach)


def measured(state: BatchState, which: Callable[[int], bool] = lambda index: True) -> Measured | None:
    """What the runs that are done, of those of such an index, took; None where none is."""
    done = [
        (run, run.started, run.finished)
        for run in state.runs
        if run.status == "done" and not run.from_record and run.started is not None and run.finished is not None
        if which(run.index)
    ]
    if not done:
        return None
    count = len(done)
    costs = [run.cost for run, _, _ in done]
    return Measured(
        runs=count,
        seconds=max(end for _, _, end in done) - min(start for _, start, _ in done),
        each=sum(end - start for _, start, end in done) / count,
        calls=tuple(
            float(sum(c.kind == "llm" and c.attempt == run.attempt for c in run.all_calls)) for run, _, _ in done
        ),
        tokens=tuple(float(run.usage.total_tokens) for run, _, _ in done),
        cost=None if None in costs else tuple(cost for cost in costs if cost is not None),
    )


def seconds(left: int, seen: Measured, *, concurrency: int, max_rpm: int | None = None) -> float:
    """How long the runs that are left will take."""
    span = math.ceil(left / min(concurrency, left)) * seen.each if left else 0.0
    return max(span, statistics.fmean(seen.calls) * left / max_rpm * 60) if max_rpm else span


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
    calls = statistics.fmean(seen.calls) if seen is not None else of.calls
    words = f"{runs:,} run" + ("" if runs == 1 else "s")
    if calls is not None:
        total = round(calls * runs)
        least = seen is None and not of.exactly
        words += f", {'at least' if least else 'about'} {total:,} call" + ("" if total == 1 else "s")
    if seen is None or calls is None:
        return f"{words}. Try the first {TRY} to see what they take." if offer and runs > TRY else f"{words}."
    left = runs - tried
    took = f"the {'first' if tried else 'last'} {tried or seen.runs:,} took {spell(seen.seconds)}"
    if left <= 0:
        return f"{words}; {took} and {'is' if tried == 1 else 'are'} kept."
    facts = [f"about {spell(seconds(left, seen, concurrency=concurrency, max_rpm=max_rpm))}"]
    if any(seen.tokens):
        facts.append(amount([(seen.tokens, left)]).told(rounded, " tokens"))
    if seen.cost and any(seen.cost):
        facts.append(amount([(seen.cost, left)]).told(_words.money))
    rest = f" for the other {left:,}" if tried else ""
    return f"{words}; {took}: {', '.join(facts[:-1])}{' and ' if facts[1:] else ''}{facts[-1]}{rest}."


def spell(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 100:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def rounded(count: float) -> str:
    """To two places that count, for it is an estimate."""
    size = max(0, len(str(int(count))) - 2)
    return f"{int(round(count, -size)):,}"
