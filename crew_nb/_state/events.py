"""What can happen to a run, as plain frozen data; every event names its run and the time.

`run` is the row in the batch, `at` is Unix time in seconds, `task` is the position of the task in its crew
(None where an event belongs to the run as a whole), `call` names one LLM or tool call within the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from crew_nb._state.usage import Usage

TerminalStatus = Literal["done", "failed", "cancelled"]
WaitReason = Literal["rate limit", "retry", "person", "pause", "slot"]
CallKind = Literal["llm", "tool"]
Counted = Literal["told", "estimated", "no"]
"""Where the tokens of a call are from: the provider, our guess of what a stream did not tell, or nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task of a crew as it is before it starts."""

    name: str
    agent: str
    joins: tuple[int, ...] = ()
    """Positions of the tasks whose output it takes as `context`."""
    is_async: bool = False
    asks_human: bool = False
    is_named: bool = True
    """Whether the name is one, not the beginning of what is asked."""
    is_step: bool = False
    """It is a method of a flow: it begins when what it listens to has ended, once or again, or never."""
    parent: int | None = None
    """Position of the step that it runs in."""
    crew: int = 0
    """Which of the run's crews it belongs to, in the order in which they began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """An error as text: what the board shows and the record keeps."""

    type: str
    message: str
    traceback: str = ""
    hint: str = ""
    """What to do about it, where we know."""
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    run: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueued(Event):
    """The run waits for a slot; sent again when it is retried."""

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A slot was free; the crew is being built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewReady(Event):
    """The crew is built; its tasks are known."""

    tasks: tuple[TaskSpec, ...]
    path: Literal["direct", "stock"]
    why: str = ""
    """Why the stock path was taken, empty for the direct one."""
    offline: bool = False
    worker: str = ""
    """Name of the Dask worker, empty on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksFound(Event):
    """A step has begun something whose tasks were not known before; they come after those that were."""

    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelling(Event):
    """Stop was asked for; calls in flight are being ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The run is final."""

    status: TerminalStatus
    output: str = ""
    error: ErrorInfo | None = None
    dropped_calls: int = 0
    """LLM calls that could not be stopped; their answers are dropped."""
    from_record: bool = False
    """The outcome was on disk already (`resume=True`); nothing was run."""
    usage: Usage | None = None
    """Set with `from_record`: what it took when it was run, and is saved now."""
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitStarted(Event):
    """A call of the run waits: for a limit, a retry, a person, or because the batch is paused."""

    key: str
    reason: WaitReason
    task: int | None = None
    detail: str = ""
    """For people: `429, try 2 of 3`."""
    until: float | None = None
    """Unix seconds, where the end is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFinished(Event):
    """The wait named `key` is over."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A task of the crew began."""

    task: int
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task of the crew has its output."""

    task: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Event):
    """A task of the crew raised."""

    task: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTaken(Event):
    """A task was done in an earlier try of the run: its output is taken over, and nothing is asked."""

    task: int
    agent: str = ""
    output: str = ""
    usage: Usage = field(default_factory=Usage)
    """What it took then."""
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """An LLM call was sent, or a tool was called."""

    call: str
    kind: CallKind
    name: str
    """The LLM's name, or the tool's."""
    task: int | None = None
    agent: str = ""
    detail: str = ""
    """The tool's arguments, or the last message sent to the LLM."""
    within: str = ""
    """The tool or LLM call that it is made in."""
    provider: str = ""
    """Of the LLM, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChunk(Event):
    """A piece of streamed answer."""

    call: str
    text: str
    task: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Event):
    """An LLM or a tool answered."""

    call: str
    kind: CallKind
    task: int | None = None
    output: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    """US dollars; None where the price is unknown."""
    counted: Counted = "told"
    finish_reason: str = ""
    """The provider's word for how the answer ended."""
    saved: Usage | None = None
    """Set where the answer was recorded, and nobody asked: what it took then."""
    saved_cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(Event):
    """An LLM call or a tool call raised."""

    call: str
    kind: CallKind
    message: str
    task: int | None = None
    error: str = ""
    """The name of the error's class."""
    usage: Usage = field(default_factory=Usage)
    """What the provider told of tokens before it failed."""
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged(Event):
    """A line for the run's log that changes nothing else."""

    text: str
    task: int | None = None
