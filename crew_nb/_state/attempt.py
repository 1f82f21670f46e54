"""One try of one run: what its context carries to wherever CrewAI takes it."""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar

from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.secrets import Secrets
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from crew_nb._state.call import Answer, Asked, CallRecord, Found, Lookup

P = ParamSpec("P")
T = TypeVar("T")

current: ContextVar[Attempt | None] = ContextVar("crew_nb_attempt", default=None)
"""The attempt that this code runs for; CrewAI copies contexts into every thread and task it starts."""

_marked: ContextVar[bool] = ContextVar("crew_nb_marked", default=False)
"""Whether this is within a call that is known to be in a thread."""

call: ContextVar[CallRecord | None] = ContextVar("crew_nb_call", default=None)
"""The LLM call that passes the gate in this context."""

tool: ContextVar[str] = ContextVar("crew_nb_tool", default="")
"""The key of the tool call that this code runs in."""

_NOTHING = Usage()


ROUNDS = 1_000
"""Rounds of a step, at the most, and so how far apart they are where each has a position of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneTask:
    """A task of a crew, or a step of a flow, that is done, as a later try of its run takes it over."""

    asked: str
    """A digest of all that it was asked; empty where it is to be asked again in every case."""
    output: Any = None
    """CrewAI's `TaskOutput`, or what a step did; None where a task's condition did not hold."""
    step: int | None = None
    """Position of the step that this is a round of."""
    began: float = 0.0
    """When that round began, in Unix seconds."""
    usage: Usage = _NOTHING
    cost: float | None = None
    unfit: str = ""
    """Why it cannot be taken over, for people."""


def _dropped(what: object) -> None:
    """Nobody is told: the attempt has ended."""


class Witness(Protocol):
    """Sees what a batch asks of LLMs, tools and embedders, and may answer in their place; `Gate.witnesses` has them."""

    def before(self, attempt: Attempt, record: CallRecord) -> Answer | None:
        """On the engine's loop, once a call, before it waits for a slot: None where the LLM is to be asked."""

    def after(self, attempt: Attempt, record: CallRecord) -> None:
        """The call has ended, with `answer` or with `error`; in whichever thread it ran, and it must not wait."""

    def look_up(self, attempt: Attempt, lookup: Lookup) -> Found:
        """What is known of a tool's result, or a text's vector; in whichever thread, and it must not wait."""


class Gate(Protocol):
    """What the LLM calls of an attempt pass."""

    witnesses: list[Witness]

    def call(self, attempt: Attempt, asked: Asked, operation: Callable[[], Any], /) -> Any:
        """An LLM call of a sync client."""

    async def acall(self, attempt: Attempt, asked: Asked, operation: Callable[[], Awaitable[Any]], /) -> Any:
        """An LLM call of an async client."""

    def within(self, attempt: Attempt, asked: Asked, /) -> AbstractContextManager[None]:
        """While a call is made within another one."""

    def sit_out(self, attempt: Attempt, words: str, seconds: float, /) -> None:
        """Wait in a thread; shown in the row, and ended by a stop."""

    def hang_up(self, attempt: Attempt, /) -> None:
        """Close its requests that are in flight."""

    def rest(self, attempt: Attempt, seconds: float, /) -> None:
        """Wait in a worker thread, until the run is stopped at the latest."""

    def abandon(self, attempt: Attempt, /) -> None:
        """The attempt has ended: its calls hold up nobody from now on."""


class Place(Protocol):
    """What an attempt holds while others wait for it."""

    def release(self) -> None:
        """Let the next one have it."""


class Inner(Protocol):
    """A batch that was launched by a run's own code."""

    def cancel(self) -> object:
        """Stop all of it."""


class Traces(Protocol):
    """The spans of a batch."""

    def within(self, attempt: Attempt, key: str, /) -> Callable[[], Any]:
        """Where a batch of that key belongs, which the attempt's code launches here and now."""


async def _kept_nowhere(place: int, done: DoneTask) -> None:
    """Nobody keeps what the tasks of this attempt have done."""


class Attempt:
    """One try of one run, from the slot to its end. Events of an attempt that has ended are dropped."""

    def __init__(
        self,
        index: int,
        post: Callable[[ev.Event], None],
        gate: Gate,
        note: Callable[[str], None] = lambda text: None,
        secrets: Secrets | None = None,
    ) -> None:
        self.index = index
        self.gate = gate
        self.note = note
        """Puts a line for people into the head of the board; on the engine's loop."""
        self.secrets = secrets if secrets is not None else Secrets()
        """What is to be hidden in this run."""
        self.traces: Traces | None = None
        self.known_as: tuple[str, int] = ("", 0)
        """The run in recorded answers: its inputs, and how often its batch has it before."""
        self.places: dict[str, int] = {}
        """Position of each CrewAI task by its id."""
        self.crews = itertools.count(1)
        """Numbers for the crews, agents and runs that are begun inside its tasks."""
        self.finding = threading.Lock()
        """Held while places are given to their tasks."""
        self.hear_usage: Callable[[Usage], object] | None = None
        """Who is told, besides the batch, what each LLM call took."""
        self.stop_reason = ""
        """Set once it must not go on: no call starts from then on."""
        self.stream: bool | None = None
        """Whether answers are asked for in pieces; None where each LLM object says so itself."""
        self.usage = Usage()
        """Tokens of the run so far, those of earlier attempts too."""
        self.done: dict[int, DoneTask] = {}
        """Tasks that are done, by position: those of earlier tries too; a step's rounds each, by `place * ROUNDS`."""
        self.keep: Callable[[int, DoneTask], Awaitable[None]] = _kept_nowhere
        """Keeps a task that is done; returns when it is on disk. On the engine's loop."""
        self.models: Mapping[str, str] = {}
        """The models that it is to be on, by role; empty where its crew chooses."""
        self.refused: Exception | None = None
        """Why a call of it was refused, which fails it, whoever caught the error."""
        self.timed_out = False
        self.begun = False
        """Its task has come to its first step."""
        self.ending = False
        """Its outcome is being recorded."""
        self.closed = False
        self.main: asyncio.Task[None] | None = None
        """The task that drives it."""
        self.tasks: weakref.WeakSet[asyncio.Task[object]] = weakref.WeakSet()
        """Every asyncio task that was started in its context."""
        self.threads: set[object] = set()
        """A mark for each thread that is in a call of an LLM, a tool, a factory, a guardrail: nobody can stop it."""
        self.calls: set[CallRecord] = set()
        """LLM calls that hold a slot now."""
        self.inner: list[Inner] = []
        """Batches that its tools and callbacks launched: a stop reaches them too."""
        self.looked_through: set[int] = set()
        """Blueprints of the batch of which a crew has been looked through, by id."""
        self.writers: dict[str, int] = {}
        """Which run of the batch writes which file."""
        self.met: dict[Hashable, int] = {}
        """What runs of the batch may have in common, and the first that had it."""
        self.slots: Place | None = None
        """The places for runs, while it takes one of them."""
        self.questions: dict[str, asyncio.Future[str]] = {}
        """What a person is asked now, by the key of the wait."""
        self.asks_by: Literal["", "form", "input"] = ""
        """How a person can be asked: in the row's form, at the terminal, or not at all."""
        self._spending = threading.Lock()  # several tasks of a crew may be in threads
        self._post = post

    def is_met(self, among: Hashable) -> bool:
        """Whether another run of the batch has this in common with it, or nothing need be in common."""
        return among is None or self.met.setdefault(among, self.index) != self.index

    def post(self, event: ev.Event) -> None:
        """Hand an event to the batch; from any thread."""
        if not self.closed:
            self._post(event)

    def spend(self, usage: Usage) -> None:
        """Add the tokens of a call; from any thread."""
        with self._spending:
            self.usage += usage
            if self.hear_usage is not None:
                self.hear_usage(usage)

    def answer(self, key: str, text: str, approve: bool) -> None:
        """What a person said to the question of that key; on the engine's loop. Feedback without words is none."""
        question = self.questions.get(key)
        words = str(text or "").strip()
        if question is not None and not question.done() and (approve or words):
            question.set_result("" if approve else words)

    def leave(self) -> None:
        """Let another run have its place, and let go of the batch; on the engine's loop.

        Its context lives on for a while: asyncio keeps timers that were cancelled, with theirs.
        """
        slots, self.slots = self.slots, None
        if slots is not None:
            slots.release()
        if self.closed:
            self._post = self.note = _dropped
            self.done, self.keep = {}, _kept_nowhere
            self.secrets = Secrets()
            self.inner = []

    def log(self, text: str, task: int | None = None) -> None:
        """A line for the run's log."""
        self.post(ev.Logged(run=self.index, at=_clock.now(), text=text, task=task))


def marked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, known to the current attempt as a call that nobody can stop while it runs in its thread."""

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with in_thread():
            return function(*args, **kwargs)

    return call


@contextlib.contextmanager
def in_thread() -> Iterator[None]:
    """While this lasts, the current attempt knows of a thread that nobody can stop."""
    attempt = current.get()
    if attempt is None or _marked.get():  # a guardrail's thread that calls an LLM is one call
        yield
        return
    here = object()
    attempt.threads.add(here)
    token = _marked.set(True)
    try:
        yield
    finally:
        _marked.reset(token)
        attempt.threads.discard(here)
