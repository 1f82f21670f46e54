"""A batch on a time axis, as lanes of coloured time that any view can draw; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from crew_nb._board import summary as _summary
from crew_nb._state.labels import called as _called
from crew_nb._state.state import as_run_here

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crew_nb._state.state import BatchState, Call, RunState

Kind = Literal["llm", "tool", "limit", "retry", "person", "pause", "run", "queue"]
KINDS: dict[Kind, tuple[str, str]] = {
    "llm": ("▇", "LLM"),
    "tool": ("▄", "tool"),
    "limit": ("░", "rate limit"),
    "retry": ("┅", "retry"),
    "person": ("╍", "person"),
    "pause": ("╌", "pause"),
    "run": ("─", "CrewAI"),
    "queue": ("·", "queued"),
}
"""Sign and word of each kind of time; where several fall on one column, the first here is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Seconds of one kind, from the start of the timeline."""

    kind: Kind
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One run, or one task of it."""

    label: str
    status: str
    spans: tuple[Span, ...]
    is_task: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All lanes over `length` seconds."""

    length: float
    lanes: tuple[Lane, ...]
    """One a run, in input order."""
    task_lanes: tuple[tuple[Lane, ...], ...]
    """Those of the tasks of each run."""


def build(state: BatchState, now: float | None = None) -> Timeline:
    """The timeline of the batch.

    Args:
        state: The batch.
        now: Unix seconds; None for the time of the last event.
    """
    runs = [as_run_here(r) for r in state.runs]
    if now is None:
        now = max((r.last_event for r in runs), default=state.created)
    zero = min((_first(r) for r in runs), default=state.created)
    end = now if any(not r.final for r in runs) else max((r.finished or now for r in runs), default=now)
    idle = tuple((start - zero, end - zero) for start, end in _summary.idle(runs, now))
    named = len(runs) == 1 or len({r.label for r in runs}) > 1  # those of one factory without inputs are not
    return Timeline(
        length=max(0.0, _clocked(end - zero, idle)),
        lanes=tuple(_without(idle, _run_lane(r, zero, end, named=named)) for r in runs),
        task_lanes=tuple(tuple(_without(idle, lane) for lane in _task_lanes(r, zero, end)) for r in runs),
    )


def _without(idle: tuple[tuple[float, float], ...], lane: Lane) -> Lane:
    """The lane on a clock that stands still while nothing of the batch was under way."""
    if not idle:
        return lane
    spans = (replace(s, start=_clocked(s.start, idle), end=_clocked(s.end, idle)) for s in lane.spans)
    return replace(lane, spans=tuple(spans))


def _clocked(at: float, idle: Iterable[tuple[float, float]]) -> float:
    return at - sum(max(0.0, min(at, end) - start) for start, end in idle)


def paint(spans: Iterable[Span], length: float, width: int) -> list[Kind | None]:
    """The kind of time in each of `width` columns; what is short is still seen."""
    columns: list[Kind | None] = [None] * width
    rank = {kind: place for place, kind in enumerate(KINDS)}
    scale = width / length if length > 0 else 0.0
    for span in spans:
        first = max(0, min(width - 1, int(span.start * scale)))
        last = max(first + 1, min(width, round(span.end * scale)))
        for column in range(first, last):
            there = columns[column]
            if there is None or rank[span.kind] < rank[there]:
                columns[column] = span.kind
    return columns


def at_once(timeline: Timeline, width: int) -> list[int]:
    """How many runs were running in each of `width` columns."""
    columns = [0] * width
    scale = width / timeline.length if timeline.length > 0 else 0.0
    for lane in timeline.lanes:
        running = [s for s in lane.spans if s.kind == "run"]
        for span in running:
            first = max(0, min(width - 1, int(span.start * scale)))
            for column in range(first, max(first + 1, min(width, round(span.end * scale)))):
                columns[column] += 1
    return columns


def most_at_once(timeline: Timeline) -> int:
    """The most runs that were running at any moment; one that begins when another ends is not beside it."""
    spans = [span for lane in timeline.lanes for span in lane.spans if span.kind == "run"]
    steps = sorted([(span.start, 1) for span in spans] + [(span.end, -1) for span in spans])
    return max(accumulate(step for _, step in steps), default=0)


def totals(timeline: Timeline) -> dict[Kind, float]:
    """Seconds of each kind, summed over the runs.

    What one run does twice at a moment counts once; `run` is the time of CrewAI itself, in which it did nothing else.
    """
    found = dict.fromkeys(KINDS, 0.0)
    for lane in timeline.lanes:
        for kind in KINDS:
            found[kind] += _summary.covered((s.start, s.end) for s in lane.spans if s.kind == kind)
        others = _summary.covered((s.start, s.end) for s in lane.spans if s.kind not in ("run", "queue"))
        both = _summary.covered((s.start, s.end) for s in lane.spans if s.kind != "queue")
        found["run"] += both - others - _summary.covered((s.start, s.end) for s in lane.spans if s.kind == "run")
    return found


def _first(run: RunState) -> float:
    return min([run.queued, *(c.started for c in run.all_calls)])


def _run_lane(run: RunState, zero: float, end: float, *, named: bool) -> Lane:
    spans = [Span(kind="queue", start=run.queued - zero, end=(run.started or run.finished or end) - zero)]
    if run.started is not None:
        spans.append(Span(kind="run", start=run.started - zero, end=(run.finished or end) - zero))
    spans += _calls(run.all_calls, zero, run.finished or end)
    spans += [Span(kind=_wait(w.reason), start=w.since - zero, end=end - zero) for w in run.waits]
    return Lane(
        label=_called(run.columns, run.label) if run.label and named else f"run {run.index}",
        status=run.status,
        spans=tuple(spans),
    )


def _task_lanes(run: RunState, zero: float, end: float) -> tuple[Lane, ...]:
    lanes = []
    for place, task in enumerate(run.tasks):
        spans = _calls(task.calls, zero, run.finished or end)
        if task.started is not None:
            until = task.finished or run.finished or end
            spans.append(Span(kind="run", start=task.started - zero, end=until - zero))
        spans += [
            Span(kind=_wait(w.reason), start=w.since - zero, end=end - zero) for w in run.waits if w.task == place
        ]
        lanes.append(Lane(label=task.spec.name, status=task.status, spans=tuple(spans), is_task=True))
    return tuple(lanes)


def _calls(calls: Iterable[Call], zero: float, end: float) -> list[Span]:
    return [
        Span(
            kind=_wait(c.name) if c.kind == "wait" else "llm" if c.kind == "llm" else "tool",
            start=c.started - zero,
            end=(c.finished or end) - zero,
        )
        for c in calls
    ]


def _wait(reason: str) -> Kind:
    return _WAITS.get(reason, "pause")


_WAITS: dict[str, Kind] = {"rate limit": "limit", "retry": "retry", "person": "person", "slot": "queue"}
