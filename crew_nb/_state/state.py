"""What is known of a run, as frozen records folded from events by a pure function."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._state import events as ev
from crew_nb._state import labels as _labels
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import replace
else:

    def replace(record: Any, **changes: Any) -> Any:
        """As that of `dataclasses`, in a quarter of its time: every event replaces records of many fields."""
        values, put = _parts(type(record))
        new = object.__new__(type(record))
        for set_field, value in zip(put.values(), values(record), strict=True):
            set_field(new, value)
        for name, value in changes.items():
            put[name](new, value)
        return new


Status = Literal["queued", "running", "waiting", "done", "failed", "cancelling", "cancelled"]
TaskStatus = Literal["queued", "running", "waiting", "done", "failed", "cancelled", "skipped"]
CallStatus = Literal["running", "done", "failed", "cancelled"]
FINAL: frozenset[str] = frozenset({"done", "failed", "cancelled"})

TEXT_KEPT = 4_000
"""Characters of streamed text kept per task while it speaks; the whole answer comes with its end."""

LOG_KEPT = 200
"""Lines kept of what a run's crew logged, the newest; each of them is in the batch's events."""
LINE_KEPT = 1_000
"""Characters of each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One LLM call, tool call or wait, for the timeline and the opened row."""

    key: str
    kind: Literal["llm", "tool", "wait"]
    name: str
    started: float
    finished: float | None = None
    status: CallStatus = "running"
    agent: str = ""
    detail: str = ""
    output: str = ""
    usage: Usage = Usage()  # noqa: RUF009 - it is frozen
    cost: float | None = None
    attempt: int = 1
    """Which try of the run it belongs to (1-based)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something a run waits for."""

    key: str
    reason: ev.WaitReason
    since: float
    detail: str = ""
    until: float | None = None
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """What CrewAI, or the root logger, had to say."""

    at: float
    text: str
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """One task of one run."""

    spec: ev.TaskSpec
    status: TaskStatus = "queued"
    agent: str = ""
    started: float | None = None
    finished: float | None = None
    text: str = ""
    """The end of what is being said now; empty when nobody speaks."""
    output: str = ""
    error: str = ""
    calls: tuple[Call, ...] = ()
    rounds: int = 0
    """How often it has begun."""
    taken_over: bool = False
    """It was done in an earlier try, and was not run again."""

    @property
    def tool(self) -> str:
        """Name of the tool that is running, or the empty string."""
        return next((c.name for c in reversed(self.calls) if c.kind == "tool" and c.status == "running"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One row: everything that is known of one run."""

    index: int
    label: str = ""
    """Its inputs for people: `topic=AI`."""
    columns: tuple[_labels.Column, ...] = ()
    """Of the same what tells it from the other rows, by name."""
    status: Status = "queued"
    attempt: int = 1
    queued: float
    started: float | None = None
    finished: float | None = None
    earlier: tuple[tuple[float, float], ...] = ()
    """From when to when its earlier tries were under way."""
    tasks: tuple[TaskState, ...] = ()
    calls: tuple[Call, ...] = ()
    """Calls that belong to no task (planning, memory)."""
    waits: tuple[Wait, ...] = ()
    log: tuple[LogLine, ...] = ()
    usage: Usage = Usage()  # noqa: RUF009 - it is frozen
    cost: float | None = None
    """US dollars so far; None where no call had a known price."""
    saved: Usage = Usage()  # noqa: RUF009 - it is frozen
    """What was not asked again: the tokens of recorded answers, and of tasks, or a whole run, that were taken over."""
    saved_cost: float | None = None
    """US dollars of that; None where no price is known."""
    unpriced_calls: int = 0
    estimated_calls: int = 0
    """LLM calls whose tokens are a guess: their streams told none."""
    uncounted_calls: int = 0
    """LLM calls of whose tokens nobody told."""
    recorded_calls: int = 0
    """LLM calls that a recorded answer stood in for."""
    output: str = ""
    error: ev.ErrorInfo | None = None
    path: str = ""
    why: str = ""
    worker: str = ""
    offline: bool = False
    from_record: bool = False
    dropped_calls: int = 0
    last_event: float

    @property
    def final(self) -> bool:
        """Whether the run has ended, in whichever way."""
        return self.status in FINAL

    @property
    def own_tasks(self) -> tuple[TaskState, ...]:
        """Its tasks without those that its steps have begun, which come after them."""
        return tuple(t for t in self.tasks if t.spec.parent is None)

    def own_place(self, place: int | None) -> int | None:
        """The place of that task, or of the step in which it runs."""
        while place is not None and 0 <= place < len(self.tasks) and self.tasks[place].spec.parent is not None:
            place = self.tasks[place].spec.parent
        return place

    @property
    def all_calls(self) -> tuple[Call, ...]:
        """Every call and wait of the run, in the order they began."""
        calls = [*self.calls, *(c for t in self.tasks for c in t.calls)]
        return tuple(sorted(calls, key=lambda c: c.started))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """A snapshot of a batch: what the board, the static HTML and the text are drawn from."""

    key: str
    name: str
    runs: tuple[RunState, ...]
    created: float
    finished: float | None = None
    paused: bool = False
    notes: tuple[str, ...] = ()
    """Lines for people: `loading CrewAI…`, `budget of $1.00 reached`, `the store is read-only: kept in memory`."""
    max_concurrency: int = 0
    in_flight: int = 0
    """LLM calls in flight now."""
    limit_reason: str = ""
    """Why the adaptive limit last changed."""

    @property
    def final(self) -> bool:
        """Whether every run has ended."""
        return all(r.final for r in self.runs)


@functools.cache
def _parts(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, Callable[[Any, Any], None]]]:
    """What reads all fields of a record, and what writes each of them: its slots, which are frozen to others."""
    names = [field.name for field in fields(cls)]
    return attrgetter(*names), {name: getattr(cls, name).__set__ for name in names}


def new_run(index: int, label: str, at: float, columns: tuple[_labels.Column, ...] = ()) -> RunState:
    """A run that has just been queued."""
    return RunState(index=index, label=label, columns=columns, queued=at, last_event=at)


def advance(run: RunState, event: ev.Event) -> RunState:
    """The run after the event; events that come after its end change nothing, save `RunQueued`.

    Args:
        run: The run so far.
        event: What happened; its `run` is not looked at.
    """
    if run.final and not isinstance(event, ev.RunQueued):
        return run
    fold = _FOLDS.get(type(event))
    return fold(run, event) if fold else replace(run, last_event=event.at)  # type: ignore[operator]


def _queued(run: RunState, e: ev.RunQueued) -> RunState:
    """A retry keeps what was spent and why it failed, and forgets what was said."""
    return RunState(
        index=run.index,
        label=run.label,
        columns=run.columns,
        queued=e.at,
        last_event=e.at,
        attempt=e.attempt,
        earlier=run.earlier if run.finished is None else (*run.earlier, (run.queued, run.finished)),
        usage=run.usage,
        cost=run.cost,
        saved=run.saved,
        saved_cost=run.saved_cost,
        unpriced_calls=run.unpriced_calls,
        estimated_calls=run.estimated_calls,
        uncounted_calls=run.uncounted_calls,
        recorded_calls=run.recorded_calls,
        calls=tuple(replace(c, detail="", output=c.output if c.status == "failed" else "") for c in run.all_calls),
    )


def _started(run: RunState, e: ev.RunStarted) -> RunState:
    return replace(run, status="running", started=e.at, last_event=e.at)


def _ready(run: RunState, e: ev.CrewReady) -> RunState:
    tasks = tuple(TaskState(spec=s, agent=s.agent) for s in e.tasks)
    return replace(run, tasks=tasks, path=e.path, why=e.why, offline=e.offline, worker=e.worker, last_event=e.at)


def _found(run: RunState, e: ev.TasksFound) -> RunState:
    return replace(run, tasks=(*run.tasks, *(TaskState(spec=s, agent=s.agent) for s in e.tasks)), last_event=e.at)


def _cancelling(run: RunState, e: ev.RunCancelling) -> RunState:
    return replace(run, status="cancelling", last_event=e.at)


def recalled(run: RunState, kept: RunState) -> RunState:
    """The run with what the record has of its tasks and calls; its place, label and times stay those of this batch."""
    return replace(
        run,
        tasks=kept.tasks,
        calls=kept.calls,
        log=kept.log,
        path=kept.path,
        why=kept.why,
        offline=kept.offline,
        recorded_calls=kept.recorded_calls,
    )


def as_run_here(run: RunState) -> RunState:
    """The run without what it did in an earlier batch, whose times mean nothing beside those of this one."""
    return replace(run, tasks=(), calls=(), log=()) if run.from_record else run


def _finished(run: RunState, e: ev.RunFinished) -> RunState:
    # Where a task has failed, what ran beside it was stopped for that; an error that no task told is of those at work.
    blamed = e.status == "failed" and all(t.status != "failed" for t in run.tasks)
    left: Literal["failed", "cancelled"] = "failed" if blamed else "cancelled"

    def close(call: Call) -> Call:
        return replace(call, status=left, finished=e.at) if call.finished is None else call

    def close_task(task: TaskState) -> TaskState:
        calls = tuple(close(c) for c in task.calls)
        if task.status in ("running", "waiting"):
            if e.status == "done":
                return replace(task, calls=calls, text="", status="done", finished=task.finished or e.at)
            message = task.error or (e.error.message if e.error and blamed else "")
            return replace(task, calls=calls, text="", status=left, finished=e.at, error=message)
        if task.status == "queued":
            # A task of a crew that is done was begun, or its condition did not hold.
            return replace(task, status="skipped" if e.status == "done" else "cancelled")
        return replace(task, calls=calls, text="")

    waits = tuple(_as_call(run, w, e.at) for w in run.waits if w.task is None)
    tasks = tuple(close_task(t) for t in run.tasks)
    return replace(
        run,
        status=e.status,
        finished=e.at,
        tasks=tasks,
        calls=(*(close(c) for c in run.calls), *waits),
        waits=(),
        output=e.output,
        error=e.error,
        dropped_calls=e.dropped_calls,
        from_record=e.from_record,
        saved=run.saved if e.usage is None else run.saved + e.usage,
        saved_cost=total(run.saved_cost, e.cost),
        last_event=e.at,
    )


def _wait_started(run: RunState, e: ev.WaitStarted) -> RunState:
    wait = Wait(key=e.key, reason=e.reason, since=e.at, detail=e.detail, until=e.until, task=e.task)
    run = replace(run, waits=(*(w for w in run.waits if w.key != e.key), wait), last_event=e.at)
    if e.task is not None:
        run = _with_task(run, e.task, lambda t: replace(t, status="waiting"))
    return _settle(run)


def _wait_finished(run: RunState, e: ev.WaitFinished) -> RunState:
    wait = next((w for w in run.waits if w.key == e.key), None)
    if wait is None:
        return replace(run, last_event=e.at)
    run = replace(run, waits=tuple(w for w in run.waits if w is not wait), last_event=e.at)
    span = _as_call(run, wait, e.at)
    if wait.task is None:
        return _settle(replace(run, calls=(*run.calls, span)))
    still = any(w.task == wait.task for w in run.waits)

    def resume(task: TaskState) -> TaskState:
        back: TaskStatus = "running" if task.status == "waiting" and not still else task.status
        return replace(task, status=back, calls=(*task.calls, span))

    return _settle(_with_task(run, wait.task, resume))


def _as_call(run: RunState, wait: Wait, at: float) -> Call:
    return Call(
        key=wait.key,
        kind="wait",
        name=wait.reason,
        started=wait.since,
        finished=at,
        status="done",
        detail=wait.detail,
        attempt=run.attempt,
    )


def _task_started(run: RunState, e: ev.TaskStarted) -> RunState:
    def begin(task: TaskState) -> TaskState:
        again = {} if task.finished is None else {"finished": None, "error": ""}
        return replace(
            task,
            status="running",
            started=task.started or e.at,
            agent=e.agent or task.agent,
            rounds=task.rounds + 1,
            taken_over=False,
            **again,  # type: ignore[arg-type]
        )

    run = replace(run, last_event=e.at)
    if 0 <= e.task < len(run.tasks) and not run.tasks[e.task].spec.is_step:
        # A crew's tasks begin in their order: one that was passed over is skipped, as its condition did not hold.
        crew = run.tasks[e.task].spec.crew

        def pass_over(t: TaskState) -> TaskState:
            mine = t.status == "queued" and t.spec.crew == crew and not t.spec.is_step
            return replace(t, status="skipped", finished=e.at) if mine else t

        run = replace(run, tasks=(*map(pass_over, run.tasks[: e.task]), *run.tasks[e.task :]))
    return _settle(_with_task(run, e.task, begin))


def _task_finished(run: RunState, e: ev.TaskFinished) -> RunState:
    return _with_task(
        replace(run, last_event=e.at),
        e.task,
        lambda t: replace(t, status="done", finished=e.at, output=e.output, text=""),
    )


def _saved(run: RunState, usage: Usage, cost: float | None) -> RunState:
    return replace(run, saved=run.saved + usage, saved_cost=total(run.saved_cost, cost))


def _task_taken(run: RunState, e: ev.TaskTaken) -> RunState:
    run = _saved(replace(run, last_event=e.at), e.usage, e.cost)
    return _with_task(
        run,
        e.task,
        lambda t: replace(
            t,
            status="done",
            agent=e.agent or t.agent,
            started=e.at,
            finished=e.at,
            output=e.output,
            rounds=t.rounds + 1,
            taken_over=True,
        ),
    )


def total(cost: float | None, more: float | None) -> float | None:
    """Both costs together; None where neither is known."""
    return cost if more is None else (cost or 0.0) + more


def _task_failed(run: RunState, e: ev.TaskFailed) -> RunState:
    return _with_task(
        replace(run, last_event=e.at),
        e.task,
        lambda t: replace(t, status="failed", finished=e.at, error=e.message, text=""),
    )


def _call_started(run: RunState, e: ev.CallStarted) -> RunState:
    call = Call(key=e.call, kind=e.kind, name=e.name, started=e.at, agent=e.agent, detail=e.detail, attempt=run.attempt)
    run = replace(run, last_event=e.at)
    if e.task is None:
        return _settle(replace(run, calls=(*run.calls, call)))

    def begin(task: TaskState) -> TaskState:
        return replace(task, calls=(*task.calls, call), text="" if e.kind == "llm" else task.text)

    return _settle(_with_task(run, e.task, begin))


def _call_chunk(run: RunState, e: ev.CallChunk) -> RunState:
    run = replace(run, last_event=e.at)
    if e.task is None:
        return run
    return _with_task(run, e.task, lambda t: replace(t, text=(t.text + e.text)[-TEXT_KEPT:]))


def _call_finished(run: RunState, e: ev.CallFinished) -> RunState:
    run = replace(run, last_event=e.at)
    if e.kind == "llm":
        run = replace(
            _spent(run, e) if e.saved is None else _saved(run, e.saved, e.saved_cost),
            recorded_calls=run.recorded_calls + (e.saved is not None),
            estimated_calls=run.estimated_calls + (e.counted == "estimated"),
            uncounted_calls=run.uncounted_calls + (e.counted == "no"),
        )
    return _settle(_close_call(run, e, "done", e.output))


def _call_failed(run: RunState, e: ev.CallFailed) -> RunState:
    run = replace(run, last_event=e.at)
    return _settle(_close_call(_spent(run, e) if e.usage.total_tokens else run, e, "failed", e.message))


def _spent(run: RunState, e: ev.CallFinished | ev.CallFailed) -> RunState:
    return replace(
        run,
        usage=run.usage + e.usage,
        cost=total(run.cost, e.cost),
        unpriced_calls=run.unpriced_calls + (e.cost is None),
    )


def _close_call(run: RunState, e: ev.CallFinished | ev.CallFailed, status: CallStatus, output: str) -> RunState:
    def close(calls: tuple[Call, ...]) -> tuple[Call, ...]:
        for place in range(len(calls) - 1, -1, -1):
            call = calls[place]
            if call.key == e.call and call.finished is None:
                ended = replace(call, status=status, finished=e.at, output=output, usage=e.usage, cost=e.cost)
                return (*calls[:place], ended, *calls[place + 1 :])
        return calls

    if e.task is None:
        return replace(run, calls=close(run.calls))
    return _with_task(run, e.task, lambda t: replace(t, calls=close(t.calls)))


def _logged(run: RunState, e: ev.Logged) -> RunState:
    line = LogLine(at=e.at, text=e.text[:LINE_KEPT], task=e.task)
    return replace(run, log=(*run.log[1 - LOG_KEPT :], line), last_event=e.at)


def _with_task(run: RunState, place: int, change) -> RunState:  # type: ignore[no-untyped-def]
    if not 0 <= place < len(run.tasks):
        return run
    tasks = list(run.tasks)
    tasks[place] = change(tasks[place])
    return replace(run, tasks=tuple(tasks))


def _settle(run: RunState) -> RunState:
    """`waiting` is shown when something waits and no call of the run is in flight."""
    if run.status not in ("running", "waiting"):
        return run
    busy = any(t.status == "running" and t.calls and t.calls[-1].finished is None for t in run.tasks)
    status: Status = "waiting" if run.waits and not busy else "running"
    return run if status == run.status else replace(run, status=status)


_FOLDS = {
    ev.RunQueued: _queued,
    ev.RunStarted: _started,
    ev.CrewReady: _ready,
    ev.TasksFound: _found,
    ev.RunCancelling: _cancelling,
    ev.RunFinished: _finished,
    ev.WaitStarted: _wait_started,
    ev.WaitFinished: _wait_finished,
    ev.TaskStarted: _task_started,
    ev.TaskFinished: _task_finished,
    ev.TaskFailed: _task_failed,
    ev.TaskTaken: _task_taken,
    ev.CallStarted: _call_started,
    ev.CallChunk: _call_chunk,
    ev.CallFinished: _call_finished,
    ev.CallFailed: _call_failed,
    ev.Logged: _logged,
}
