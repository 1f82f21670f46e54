"""Batches for the tests of what is shown, folded from events as a real batch is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crew_nb._state import events as ev
from crew_nb._state.labels import Column
from crew_nb._state.state import BatchState, RunState, advance, new_run
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

ZERO = 1_800_000_000.0
TASKS = (
    ev.TaskSpec(name="research", agent="Researcher", is_async=True),
    ev.TaskSpec(name="market", agent="Analyst", is_async=True),
    ev.TaskSpec(name="synthesis", agent="Writer", joins=(0, 1)),
)
REPORT = """# {topic}

The two reports agree on **three** points:

1. costs fall by half each year;
2. small teams go first;
3. the law is late.

| source | year | share |
|:-------|:----:|------:|
| survey | 2025 | 41 %  |
| panel  | 2026 | 57 %  |

> Adoption is not the same as use.

See [the survey](https://example.org/survey) and `results[0].raw`.
"""


def same(words: str) -> str:
    """The words as they are."""
    return words


def queued_run(index: int, topic: str) -> RunState:
    """A run that waits for its turn."""
    return new_run(index, f"topic={topic}", ZERO, (Column("topic", topic),))


def finished_run(index: int, topic: str, start: float, *, length: float = 8.0, words: str = "") -> RunState:
    """A run whose first two tasks ran side by side and were joined by the third."""
    run = queued_run(index, topic)
    text = words or REPORT.format(topic=topic)
    t, part = ZERO + start, length / 10
    usage = Usage(total_tokens=700 + 31 * index, prompt_tokens=500, completion_tokens=200 + 31 * index)

    def call(task: int, at: float, until: float, kind: ev.CallKind, name: str) -> list[ev.Event]:
        key = f"{task}-{at}"
        end = ev.CallFinished(run=index, at=until, call=key, kind=kind, task=task, output="…", usage=usage, cost=0.0021)
        return [ev.CallStarted(run=index, at=at, call=key, kind=kind, name=name, task=task), end]

    events: list[ev.Event] = [
        ev.RunStarted(run=index, at=t),
        ev.CrewReady(run=index, at=t + part / 4, tasks=TASKS, path="direct", offline=True),
        ev.TaskStarted(run=index, at=t + part / 2, task=0),
        ev.TaskStarted(run=index, at=t + part / 2, task=1),
        *call(0, t + part / 2, t + 3 * part, "llm", "gpt-4o-mini"),
        *call(0, t + 3 * part, t + 4 * part, "tool", "search"),
        *call(0, t + 4 * part, t + 6 * part, "llm", "gpt-4o-mini"),
        *call(1, t + part / 2, t + 5 * part, "llm", "gpt-4o-mini"),
        ev.TaskFinished(run=index, at=t + 6 * part, task=0, output="first"),
        ev.TaskFinished(run=index, at=t + 5 * part, task=1, output="second"),
        ev.TaskStarted(run=index, at=t + 6 * part, task=2),
        *call(2, t + 7 * part, t + 10 * part, "llm", "gpt-4o-mini"),
        ev.TaskFinished(run=index, at=t + 10 * part, task=2, output=text),
        ev.RunFinished(run=index, at=t + 10 * part, status="done", output=text),
    ]
    return fold(run, sorted(events, key=lambda e: e.at))


def failed_run(index: int, topic: str, start: float, *, error: ev.ErrorInfo | None = None) -> RunState:
    """A run that waited for a rate limit and a retry, and failed."""
    t = ZERO + start
    error = error or ev.ErrorInfo(
        type="RateLimitError",
        message="429: too many requests for this key",
        traceback='Traceback (most recent call last):\n  File "crew.py", line 12, in call\nRateLimitError: 429',
        hint="set max_rpm, or lower max_concurrency",
    )
    call = ev.CallStarted(run=index, at=t + 0.2, call="a", kind="llm", name="gpt-4o-mini", task=0)
    return fold(
        queued_run(index, topic),
        [
            ev.RunStarted(run=index, at=t),
            ev.CrewReady(run=index, at=t, tasks=TASKS, path="direct", offline=True),
            ev.TaskStarted(run=index, at=t, task=0),
            call,
            ev.CallFailed(run=index, at=t + 1, call="a", kind="llm", task=0, message="429"),
            ev.WaitStarted(run=index, at=t + 1, key="w", reason="rate limit", task=0, detail="429, try 2 of 3"),
            ev.WaitFinished(run=index, at=t + 5, key="w"),
            ev.RunFinished(run=index, at=t + 6, status="failed", error=error),
        ],
    )


def running_run(index: int, topic: str, start: float) -> RunState:
    """A run whose first task is done, whose second speaks, and whose third is queued."""
    t = ZERO + start
    return fold(
        queued_run(index, topic),
        [
            ev.RunStarted(run=index, at=t),
            ev.CrewReady(run=index, at=t, tasks=TASKS, path="direct", offline=True),
            ev.TaskStarted(run=index, at=t, task=0),
            ev.TaskStarted(run=index, at=t, task=1),
            ev.TaskFinished(run=index, at=t + 1, task=0, output="x"),
            ev.CallStarted(run=index, at=t + 1, call="a", kind="llm", name="gpt-4o-mini", task=1),
            ev.CallChunk(run=index, at=t + 2, call="a", task=1, text="The market doubles in"),
        ],
    )


def waiting_run(index: int, topic: str, start: float) -> RunState:
    """A run that waits for a retry."""
    t = ZERO + start
    return fold(
        queued_run(index, topic),
        [
            ev.RunStarted(run=index, at=t),
            ev.CrewReady(run=index, at=t, tasks=TASKS, path="direct", offline=True),
            ev.TaskStarted(run=index, at=t, task=0),
            ev.WaitStarted(run=index, at=t + 1, key="w", reason="retry", task=0, detail="429, try 2 of 3", until=t + 9),
        ],
    )


def fold(run: RunState, events: list[ev.Event]) -> RunState:
    """The run after the events."""
    for event in events:
        run = advance(run, event)
    return run


def finished(n: int = 12, *, topic: Callable[[int], str] = "topic {}".format, words: str = "") -> BatchState:
    """A batch of `n` runs, four at once, that has ended; the third failed."""
    runs = [
        failed_run(i, topic(i), 8.0 * (i // 4))
        if i == 2
        else finished_run(i, topic(i), 8.0 * (i // 4) + 0.3 * (i % 4), length=5 + i % 4, words=words)
        for i in range(n)
    ]
    end = max((r.finished or ZERO for r in runs), default=ZERO)
    return BatchState(key="k", name="research sweep", runs=tuple(runs), created=ZERO, finished=end, max_concurrency=4)


def live() -> BatchState:
    """A batch of 20 runs in the middle: 9 done, 3 running, 2 waiting, 1 failed, 5 queued."""
    topics = ["AI trends", "ML", "Robots", "Climate", "Space", "Food", "Trade", "Water", "Cities", "Rail"]
    done = [finished_run(i, topics[i], 1.5 * i) for i in range(9)]
    rest = [
        failed_run(9, "Rail", 12),
        *(running_run(i, f"Deep sea {i}", 16 + i / 10) for i in (10, 11, 12)),
        *(waiting_run(i, f"Desert {i}", 17) for i in (13, 14)),
        *(queued_run(i, f"Later {i}") for i in range(15, 20)),
    ]
    return BatchState(
        key="k",
        name="research sweep",
        runs=(*done, *(replace(r, label=r.label) for r in rest)),
        created=ZERO,
        max_concurrency=6,
        notes=("the limit was lowered to 6 at once: 2 answers were 429",),
    )
