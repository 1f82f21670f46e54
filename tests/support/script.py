"""A batch that follows a script: real events folded by the real `advance`, on a clock that the test moves.

It stands where `Batch` stands for a board: `state()`, `table()` and `command()`.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._board.widget import FILE_THREAD, Board, Pacer
from crew_nb._handles.result import Result
from crew_nb._handles.results import Results
from crew_nb._state import events as ev
from crew_nb._state.labels import Column
from crew_nb._state.state import BatchState, advance, new_run
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = (
    ev.TaskSpec(name="research", agent="Researcher", is_async=True),
    ev.TaskSpec(name="market", agent="Analyst", is_async=True),
    ev.TaskSpec(name="synthesis", agent="Editor", joins=(0, 1)),
)
TOPICS = (
    "AI trends",
    "Machine learning in hospitals",
    "Robots that cook",
    "Quantum error correction",
    "Battery recycling",
    "Deep-sea mining",
    "Vertical farms",
    "Fusion start-ups",
    "Space debris",
    "Open-source chips",
    "Synthetic biology",
    "Carbon capture",
    "Autonomous ships",
    "Digital twins",
    "Edge computing",
    "Soft robotics",
)
_WORDS = """
The two reports agree on direction and differ on pace: adoption grows where the cost of a mistake is low, and waits
where it is high. Investors follow the first signal, regulators the second. What follows is a short list of findings,
each with the source that carries it, and the open question that it leaves for the next quarter.
""".split()  # noqa: SIM905 - prose is read more easily than a list of words


class Script:
    """A batch of `n` runs whose events are applied as its clock passes them."""

    sweep = None

    def __init__(self, n: int, *, seed: int = 1, width: int = 8, name: str = "research sweep", **kinds: Any) -> None:
        """Write the script.

        Args:
            n: Runs.
            seed: Of the times, words and failures.
            width: Runs at once.
            name: Of the batch.
            **kinds: `failing` (share of runs that fail), `person` (a run that asks), `output` (text for every run).
        """
        self.created = time.time()
        topics = [TOPICS[i % len(TOPICS)] for i in range(n)]
        self.runs = [new_run(i, f"topic={t}", self.created, (Column("topic", t),)) for i, t in enumerate(topics)]
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.name = name
        self.width = width
        self.paused = False
        self.notes: tuple[str, ...] = ()
        random_ = random.Random(seed)
        free = [0.05 * k for k in range(width)]
        events: list[ev.Event] = []
        for i in range(n):
            slot = min(range(width), key=free.__getitem__)
            made = list(_run(i, self.created, free[slot], random_, kinds))
            events += made
            free[slot] = made[-1].at - self.created + 0.02
        self.events = sorted(events, key=lambda e: e.at)
        self.place = 0

    @property
    def length(self) -> float:
        """Seconds from the first event to the last."""
        return self.events[-1].at - self.created

    def play(self, until: float) -> None:
        """Apply the events of the first `until` seconds."""
        while self.place < len(self.events) and self.events[self.place].at <= self.created + until:
            event = self.events[self.place]
            self.runs[event.run] = advance(self.runs[event.run], event)
            self.place += 1

    def rewind(self, by: float) -> None:
        """Move the whole script into the past, before anything was played, so that its clock fits to the wall's."""
        assert self.place == 0
        self.created -= by
        self.runs = [replace(r, queued=r.queued - by, last_event=r.last_event - by) for r in self.runs]
        self.events = [_earlier(e, by) for e in self.events]

    def stop(self, at: float) -> None:
        """Cancel whatever is not final."""
        for i, run in enumerate(self.runs):
            if not run.final:
                event = ev.RunFinished(
                    run=i, at=self.created + at, status="cancelled", dropped_calls=int(run.index % 3 == 0)
                )
                self.runs[i] = advance(run, event)

    def state(self) -> BatchState:
        """The snapshot that a board asks for."""
        flying = sum(c.kind == "llm" and c.finished is None for r in self.runs if not r.final for c in r.all_calls)
        final = all(r.final for r in self.runs)
        return BatchState(
            key="script",
            name=self.name,
            runs=tuple(self.runs),
            created=self.created,
            finished=max((r.finished or 0 for r in self.runs), default=None) if final else None,
            paused=self.paused,
            notes=self.notes,
            max_concurrency=self.width,
            in_flight=flying,
        )

    def table(self) -> list[dict[str, Any]]:
        """The rows of a file."""
        return table(self.state())

    def command(self, name: str, **args: Any) -> None:
        """What a person asked for, written down; pause and cancel are done."""
        self.commands.append((name, args))
        if name in ("pause", "resume"):
            self.paused = name == "pause"
        if name == "cancel" and "run" not in args:
            self.stop(time.time() - self.created)


def table(state: BatchState) -> list[dict[str, Any]]:
    """The rows of a file of runs whose inputs and outputs are known by their texts only."""
    return Results(state, [Result(run, {}, None, None) for run in state.runs]).table()


def files_written() -> None:
    """Returns when boards have written the files that they were asked for."""
    for thread in threading.enumerate():
        if thread.name == FILE_THREAD:
            thread.join()


def _earlier(event: ev.Event, by: float) -> ev.Event:
    moved = replace(event, at=event.at - by)
    if isinstance(moved, ev.WaitStarted) and moved.until is not None:
        return replace(moved, until=moved.until - by)
    return moved


def _run(i: int, created: float, start: float, rnd: random.Random, kinds: dict[str, Any]) -> Iterator[ev.Event]:
    at = created + start
    fails = rnd.random() < kinds.get("failing", 0.0)
    yield ev.RunStarted(run=i, at=at)
    at += 0.1
    yield ev.CrewReady(run=i, at=at, tasks=TASKS, path="direct")
    ends = []
    for task in (0, 1):
        made = list(_task(i, task, at + 0.02, rnd, waits=rnd.random() < 0.2, tool=rnd.random() < 0.6))
        yield from made
        ends.append(made[-1].at)
    at = max(ends) + 0.05
    if fails:
        yield ev.TaskStarted(run=i, at=at, task=2, agent="Editor")
        yield ev.CallStarted(run=i, at=at, call=f"{i}-f", kind="llm", name="gpt-4o-mini", task=2)
        at += 0.8
        yield ev.CallFailed(run=i, at=at, call=f"{i}-f", kind="llm", message="429 Too Many Requests", task=2)
        yield ev.WaitStarted(
            run=i, at=at, key=f"{i}-r", reason="retry", task=2, detail="429, try 2 of 3", until=at + 2.0
        )
        at += 2.0
        yield ev.WaitFinished(run=i, at=at, key=f"{i}-r")
        error = ev.ErrorInfo(
            type="RateLimitError",
            message="429 Too Many Requests: quota of 60 requests a minute reached",
            traceback='Traceback (most recent call last):\n  File "crew.py", line 12, in kickoff\nRateLimitError: 429',
            hint="Lower max_concurrency, or set max_rpm=60.",
            retryable=True,
        )
        yield ev.TaskFailed(run=i, at=at, task=2, message="429 Too Many Requests")
        yield ev.RunFinished(run=i, at=at, status="failed", error=error)
        return
    made = list(_task(i, 2, at, rnd, waits=False, tool=False, person=kinds.get("person") == i, say=kinds.get("output")))
    yield from made
    last = made[-1]
    assert isinstance(last, ev.TaskFinished)
    yield ev.RunFinished(run=i, at=last.at + 0.01, status="done", output=last.output)


def _task(
    i: int,
    task: int,
    at: float,
    rnd: random.Random,
    *,
    waits: bool,
    tool: bool,
    person: bool = False,
    say: str | None = None,
) -> Iterator[ev.Event]:
    agent = TASKS[task].agent
    yield ev.TaskStarted(run=i, at=at, task=task, agent=agent)
    for turn in range(2 if tool else 1):
        call = f"{i}-{task}-{turn}"
        if waits and turn == 0:
            wait = rnd.uniform(1.0, 3.0)
            yield ev.WaitStarted(
                run=i,
                at=at,
                key=f"{call}-w",
                reason="rate limit",
                task=task,
                detail="60 requests a minute",
                until=at + wait,
            )
            at += wait
            yield ev.WaitFinished(run=i, at=at, key=f"{call}-w")
        yield ev.CallStarted(
            run=i,
            at=at,
            call=call,
            kind="llm",
            name="gpt-4o-mini",
            task=task,
            agent=agent,
            detail=f"You are the {agent}. …",
        )
        at += rnd.uniform(0.2, 0.6)
        said = ""
        for _ in range(rnd.randint(14, 34)):
            word = rnd.choice(_WORDS) + " "
            said += word
            yield ev.CallChunk(run=i, at=at, call=call, task=task, text=word)
            at += rnd.uniform(0.03, 0.09)
        tokens = rnd.randint(180, 520)
        usage = Usage(
            total_tokens=tokens, prompt_tokens=tokens * 3 // 4, completion_tokens=tokens // 4, successful_requests=1
        )
        yield ev.CallFinished(
            run=i, at=at, call=call, kind="llm", task=task, output=said, usage=usage, cost=tokens * 6e-7
        )
        if tool and turn == 0:
            yield ev.CallStarted(
                run=i,
                at=at,
                call=f"{call}-t",
                kind="tool",
                name="search",
                task=task,
                agent=agent,
                detail='{"query": "market size 2026"}',
            )
            at += rnd.uniform(0.4, 1.4)
            yield ev.CallFinished(
                run=i, at=at, call=f"{call}-t", kind="tool", task=task, output="3 results\n1. A market of 4.2 bn"
            )
    if person:
        yield ev.WaitStarted(run=i, at=at, key=f"{i}-p", reason="person", task=task, detail="Is the tone right?")
        at += 60.0
        yield ev.WaitFinished(run=i, at=at, key=f"{i}-p")
    title = TOPICS[i % len(TOPICS)]
    signal, risk = rnd.choice(_WORDS), rnd.choice(_WORDS)
    text = say or f"## {title}\n\n{said.strip().capitalize()}.\n\n- **Signal:** {signal}\n- *Risk:* {risk}\n"
    yield ev.TaskFinished(run=i, at=at, task=task, output=text)


class Stage:
    """A loop of its own, as the engine has one, on which a script is played and its board is paced."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.board = Board(script)
        self.loop = asyncio.new_event_loop()
        self.pacer = Pacer(self.loop)
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.pacer.add(self.board)

    def play(self, *, speed: float = 1.0) -> None:
        """Play the script by the wall clock, to its end."""
        begun = time.time()

        def step() -> None:
            at = (time.time() - begun) * speed + begun - self.script.created
            self.script.play(at)
            self.board.wake()
            if not self.script.state().final:
                self.loop.call_later(0.05, step)

        self.loop.call_soon_threadsafe(step)

    def jump(self, until: float) -> None:
        """Play the first seconds of the script at once, as if they had just passed."""
        self.script.rewind(until)
        self.script.play(until)
        self.board.wake()

    def close(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(60)
        self.loop.close()
