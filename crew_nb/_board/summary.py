"""The numbers and words that every view of a batch shows, so that all views say the same; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from crew_nb._board.markdown import being_said
from crew_nb._state.words import clock, money

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crew_nb._state.state import BatchState, RunState, TaskState

SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "queued": "○",
        "running": "●",
        "waiting": "◐",
        "done": "✓",
        "failed": "✗",
        "cancelling": "◌",
        "cancelled": "⊘",
        "skipped": "↷",
    }
)
"""A sign for each status of a run or a task; never shown without the word where there is room for it."""

_ALWAYS = ("done", "running", "waiting", "failed", "queued")
_WHEN_ANY = ("cancelling", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A batch in numbers."""

    total: int
    counts: Mapping[str, int]
    """Runs by status; every status word is there."""
    finished: int
    """Runs that have ended, in whichever way."""
    elapsed: float
    """Seconds in which anything was queued or running."""
    idle: tuple[tuple[float, float], ...]
    """When nothing was, between an end and a retry: the clock of the board leaves it out."""
    eta: float | None
    """Seconds left, learned from the runs that are done; None where nothing can be said yet."""
    tokens: int
    cost: float | None
    """US dollars so far; None where no call had a known price."""
    unpriced_calls: int
    uncounted_calls: int
    """LLM calls of which nobody tells the tokens."""
    projected_cost: float | None
    """US dollars when all are done, at the mean cost of the runs that are; None before the first, and at the end."""
    worked: float
    """Seconds that the runs worked, their waits left out: what they would take at least one by one."""
    at_work: float
    """Seconds in which any run was running."""
    speedup: float | None
    """`worked` by `at_work`; None before the first run has ended."""
    offline: int
    """Runs whose words come from an `OfflineLLM`."""
    built: int
    """Runs whose crew has been built, so that `offline` is known."""
    saved: int
    """Tokens that were not spent, as they had been before."""
    from_record: int
    """Runs whose outcome was on disk already."""
    dropped_calls: int
    """Calls that could not be stopped, whose answers are dropped."""

    @property
    def percent(self) -> int:
        """How much of a hundred of the runs is done; 100 only where all are."""
        return 100 * self.counts["done"] // max(1, self.total)

    @property
    def offline_words(self) -> Literal["none", "some", "all"]:
        """How many of the runs that speak are answered by an `OfflineLLM`."""
        return "none" if not self.offline else "all" if self.offline >= self.built else "some"

    @property
    def final(self) -> bool:
        """Whether every run has ended."""
        return self.finished == self.total


class Tally:
    """What the ended runs of one batch add up to, so that each is looked at once however many summaries are made."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._counted: dict[int, RunState] = {}
        self.counts: Counter[str] = Counter()
        self.tokens = self.uncounted_calls = self.unpriced_calls = self.dropped_calls = self.from_record = (
            self.offline
        ) = self.saved = 0
        self.cost: float | None = None
        self.worked = 0.0
        self.under_way: list[tuple[float, float]] = []
        """When any of them was queued or running, as spans that do not touch."""
        self.at_work: list[tuple[float, float]] = []
        """When any of them was running."""
        self.times: list[float] = []
        """How long those took that say something about the others, the shortest first."""
        self.prices: list[float] = []
        """What those cost."""

    def take(self, runs: Iterable[RunState]) -> list[RunState]:
        """Count the runs that have ended since the last time; returns those that have not."""
        left: list[RunState] = []
        ended: list[RunState] = []
        for run in runs:
            known = self._counted.get(run.index)
            if known is run:
                continue
            if known is not None:  # it was retried, and what it added is not known one by one
                self._forget()
                return self.take(runs)
            (ended if run.final else left).append(run)
        for run in ended:
            self._add(run)
        self.under_way = _union([*self.under_way, *(s for r in ended for s in _under_way(r, r.queued))])
        self.at_work = _union([*self.at_work, *_at_work((r for r in ended if r.status != "cancelled"), 0.0)])
        self.times.sort()
        return left

    def _add(self, run: RunState) -> None:
        self._counted[run.index] = run
        self.counts[run.status] += 1
        self.tokens += run.usage.total_tokens
        self.saved += run.saved.total_tokens
        self.unpriced_calls += run.unpriced_calls
        self.uncounted_calls += run.uncounted_calls
        self.dropped_calls += run.dropped_calls
        self.from_record += run.from_record
        self.offline += run.offline
        if run.cost is not None:
            self.cost = (self.cost or 0.0) + run.cost
        end = run.finished or run.last_event
        if run.status != "cancelled":  # what was stopped was not done faster
            self.worked += working_seconds(run, end)
        if run.status == "done" and not run.from_record and run.started is not None:
            self.times.append(seconds(run, end) or 0.0)
            if run.cost is not None:
                self.prices.append(run.cost)


def summarize(state: BatchState, now: float | None = None, tally: Tally | None = None) -> Summary:
    """The batch in numbers.

    Args:
        state: The batch.
        now: Unix seconds; None for the time of the last event.
        tally: What the last summary of this batch has counted.
    """
    runs = state.runs
    if now is None:
        now = max((r.last_event for r in runs), default=state.created)
    ended = Tally() if tally is None else tally
    left = ended.take(runs)
    counts = ended.counts + Counter(r.status for r in left)
    costs = [c for c in (ended.cost, *(r.cost for r in left)) if c is not None]
    worked = ended.worked + sum(working_seconds(r, now) for r in left)
    # Not the time elapsed, in which CrewAI is loaded too: one by one would have to load it as well.
    at_work = covered([*ended.at_work, *_at_work(left, now)])
    under_way = _union([*ended.under_way, *(s for r in left for s in _under_way(r, now))])
    return Summary(
        total=len(runs),
        counts=MappingProxyType({s: counts[s] for s in (*_ALWAYS, *_WHEN_ANY)}),
        finished=len(runs) - len(left),
        elapsed=sum(end - start for start, end in under_way),
        idle=_between(under_way),
        eta=None if state.paused or not left else _eta(left, ended.times, state.max_concurrency, now),
        tokens=ended.tokens + sum(r.usage.total_tokens for r in left),
        cost=sum(costs) if costs else None,
        unpriced_calls=ended.unpriced_calls + sum(r.unpriced_calls for r in left),
        uncounted_calls=ended.uncounted_calls + sum(r.uncounted_calls for r in left),
        projected_cost=_projected_cost(left, ended) if left else None,
        worked=worked,
        at_work=at_work,
        speedup=worked / at_work if at_work > 0 and ended.times and len(runs) > 1 else None,
        offline=ended.offline + sum(r.offline for r in left),
        built=sum(bool(r.tasks) or r.from_record for r in runs),
        saved=ended.saved + sum(r.saved.total_tokens for r in left),
        from_record=ended.from_record,
        dropped_calls=ended.dropped_calls,
    )


def idle(runs: Iterable[RunState], now: float) -> tuple[tuple[float, float], ...]:
    """When nothing of a batch was under way, between its end and a retry."""
    return _between(_union([span for run in runs for span in _under_way(run, now)]))


def _between(spans: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((end, start) for (_, end), (start, _) in pairwise(spans))


def columns(runs: Iterable[RunState], most: int) -> tuple[str, ...]:
    """Names of the columns of inputs, at most so many: in their order those in which most rows differ."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for column in run.columns:
            values.setdefault(column.name, set()).add(column.value)
    first = sorted(values, key=lambda name: -len(values[name]))[:most]
    return tuple(name for name in values if name in first)


def _under_way(run: RunState, now: float) -> Iterator[tuple[float, float]]:
    yield from run.earlier
    yield run.queued, run.finished or now


def _at_work(runs: Iterable[RunState], now: float) -> Iterator[tuple[float, float]]:
    return ((r.started, r.finished or now) for r in runs if r.started is not None and not r.from_record)


def seconds(run: RunState, now: float) -> float | None:
    """How long the run has run; None before it started, and where its outcome came from disk."""
    if run.started is None or run.from_record:
        return None
    return max(0.0, (run.finished or now) - run.started)


def working_seconds(run: RunState, now: float) -> float:
    """The time of the run without its waits: what it would take at least if it ran alone."""
    spent = seconds(run, now)
    if not spent:
        return 0.0
    start, end = run.started or 0.0, run.finished or now
    waits = [(c.started, c.finished or end) for c in run.all_calls if c.kind == "wait"]
    waits += [(w.since, end) for w in run.waits]
    return spent - covered((max(a, start), min(b, end)) for a, b in waits)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of the spans."""
    return sum(end - start for start, end in _union(spans))


def _union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same stretches of time in as few spans as can be, in order."""
    made: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        elif end > start:
            made.append((start, end))
    return made


def _eta(left: list[RunState], times: list[float], max_concurrency: int, now: float) -> float | None:
    """Work left, shared among those who do it; a running one is compared with the finished that took longer."""
    if not times:
        return None
    sums = [0.0, *accumulate(times)]
    mean = sums[-1] / len(times)
    work: list[float] = []
    for run in left:
        if run.status == "queued":
            work.append(mean)
            continue
        waits = max((w.until - now for w in run.waits if w.until is not None), default=0.0)
        # A wait that is announced comes on top of what is left to do, and says nothing about how far the run has got.
        age = (working_seconds(run, now) if waits > 0 else seconds(run, now)) or 0.0
        place = bisect_right(times, age)
        longer = len(times) - place
        work.append(max(waits, 0.0) + ((sums[-1] - sums[place]) / longer - age if longer else mean / 4))
    active = sum(r.status != "queued" for r in left)
    hands = max(1, min(len(work), max(active, max_concurrency)))
    return max(max(work), sum(work) / hands)


def _projected_cost(left: list[RunState], ended: Tally) -> float | None:
    if not ended.prices:
        return None
    mean = sum(ended.prices) / len(ended.prices)
    return (ended.cost or 0.0) + sum(max(mean, r.cost or 0.0) for r in left)


def bar(summary: Summary, width: int) -> tuple[tuple[str, str], ...]:
    """A bar of `width` columns as stretches: the sign repeated, and the status whose colour it has."""
    parts = [("█", "done"), ("▓", "failed"), ("▒", "cancelled")]
    stretches: list[tuple[str, str]] = []
    drawn = passed = 0
    for sign, status in parts:
        passed += summary.counts[status]
        until = width * passed // summary.total if summary.total else 0
        stretches.append((sign * (until - drawn), status))
        drawn = until
    return tuple(s for s in (*stretches, ("░" * (width - drawn), "queued")) if s[0])


def counts_text(summary: Summary) -> str:
    """`9 done  3 running  2 waiting  1 failed  5 queued`; what is none is left out, save `done`."""
    shown = [s for s in (*_ALWAYS, *_WHEN_ANY) if summary.counts[s] or s == "done"]
    return "  ".join(f"{summary.counts[s]:,} {s}" for s in shown)


def facts(summary: Summary) -> tuple[str, ...]:
    """`0:42 elapsed`, `~0:51 left`, `38,204 tokens`, `$0.11`, `5.9x faster than one by one`: those that are known."""
    parts = [f"{clock(summary.elapsed)} elapsed"]
    if summary.eta is not None:
        parts.append(f"~{clock(summary.eta)} left")
    more = f" (+ {calls(summary.uncounted_calls)} not counted)" if summary.uncounted_calls else ""
    parts.append(f"{summary.tokens:,} tokens{more}")
    if summary.saved:
        parts.append(f"{summary.saved:,} saved")
    if summary.cost:
        more = f" of ~{money(summary.projected_cost)}" if summary.projected_cost is not None else ""
        unpriced = f" (+ {calls(summary.unpriced_calls)} of unknown price)" if summary.unpriced_calls else ""
        parts.append(f"{money(summary.cost)}{more}{unpriced}")
    if summary.speedup is not None and summary.speedup >= 1.05:
        parts.append(f"{summary.speedup:.1f}x faster than one by one")
    if summary.offline_words == "all":
        parts.append("offline LLM")
    elif summary.offline_words == "some":
        parts.append(f"{summary.offline:,} on the offline LLM")
    return tuple(parts)


def calls(count: int) -> str:
    """`1 call`, `2 calls`."""
    return f"{count:,} call" + ("" if count == 1 else "s")


def joins_text(run: RunState, place: int) -> str:
    """`joins both`, `joins all 3` or `joins research, market`; empty for a task that joins nothing.

    A task that takes only the one before it joins nothing: that is what every sequence does.
    """
    joins = run.tasks[place].spec.joins
    if not joins or joins == (place - 1,):
        return ""
    if len(joins) == place > 1:
        return "joins both" if place == 2 else f"joins all {place}"
    return "joins " + ", ".join(run.tasks[j].spec.name or f"task {j + 1}" for j in joins if j < len(run.tasks))


def rounds(task: TaskState) -> str:
    """`×3` for a step that has begun three times, `taken over` for a task that was not run; else empty."""
    return "taken over" if task.taken_over else f"×{task.rounds}" if task.rounds > 1 else ""


def edge_text(run: RunState, place: int) -> str:
    """Where a task or a step stands among the others, as its row says it: `← joins both`, `after research`."""
    task = run.tasks[place]
    if not task.spec.is_step:
        joins = joins_text(run, place)
        return f"← {joins}" if joins else ""
    follows = place > 0 and run.tasks[place - 1].spec.is_step and run.tasks[place - 1].spec.parent == task.spec.parent
    if not task.spec.joins:
        return "at the start" if follows else ""
    if task.spec.joins == (place - 1,):
        return ""
    return "after " + ", ".join(run.tasks[j].spec.name for j in task.spec.joins if j < len(run.tasks))


def now_text(run: RunState, now: float) -> str:
    """What the run does at this moment, or what it waits for and for how long; empty when it is final or queued."""
    if run.waits:
        wait = max(run.waits, key=lambda w: w.until or w.since)
        what = wait.reason + (f", {wait.detail}" if wait.detail else "")
        left = f", {clock(wait.until - now)} left" if wait.until is not None and wait.until > now else ""
        return f"waits {clock(now - wait.since)}: {what}{left}"
    if run.status == "cancelling":
        return "stopping"
    busy = [t for t in run.tasks if t.status == "running"]
    for task in busy:
        if task.tool:
            return f"tool: {task.tool}"
    for task in busy:
        if task.text:
            return "“" + being_said(task.text, 60)
    for task in busy:
        if task.calls and task.calls[-1].finished is None:
            return f"asks {task.calls[-1].name}, {clock(now - task.calls[-1].started)}"
    return ""
