"""One LLM call: what is asked, what comes of it, and who may look on or answer in the LLM's place."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from crew_nb._state import events as ev

SETTINGS = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "n", "reasoning_effort"),
    *("frequency_penalty", "presence_penalty", "response_format", "api", "base_url"),
)
"""Attributes of LLM objects that change what is answered."""

_NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What one LLM call asks, whoever makes it: an agent, a guardrail, a planner, a judge."""

    llm: Any = None
    messages: Any = ()
    """Text, or messages as CrewAI has them: dicts with a role and a content."""
    tools: Any = None
    """Schemas of the tools that may be called."""
    functions: Any = None
    """Functions that the LLM's own class calls, where the answer is a call of one."""
    response_model: Any = None
    """The pydantic class to fill."""
    agent: str = ""
    task_id: str = ""
    """CrewAI's id of the task that it is for."""

    @property
    def model(self) -> str:
        """The LLM's name."""
        return str(getattr(self.llm, "model", "") or "")

    @property
    def settings(self) -> dict[str, Any]:
        """What the LLM object says of how to answer (temperature, seed, ...); what is not set is left out."""
        values = {name: getattr(self.llm, name, None) for name in SETTINGS}
        return {name: value for name, value in values.items() if value not in (None, [], {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an `attempt.Witness` says in the place of the LLM."""

    value: Any
    """As the LLM's `call` would return it: text, a filled model, or a list of tool calls."""
    usage: Usage = _NOTHING
    """What it cost when it was asked."""
    ran: tuple[tuple[str, Any], ...] = ()
    """Functions of the question, with arguments, that the LLM's own class is to call; where there is no value, the last
    one's result is the answer."""
    seconds: float = 0.0
    """How long it takes to come."""
    pieces: tuple[tuple[float, str], ...] = ()
    """What comes of it when, in seconds from the beginning."""
    raised: str = ""
    """The class of the error that a tool raised; the value is what it says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lookup:
    """What a run asks besides LLMs: a tool, or an embedder for the vector of one text."""

    kind: Literal["tool", "embedder"]
    name: str
    asks: Any
    """A tool's arguments, or the text."""
    models: tuple[type, ...] = ()
    """Pydantic classes that the answer may be of."""


Found = Answer | Callable[[Answer], None] | None
"""What an `attempt.Witness` has of a lookup: the answer, or whom to tell of the one that comes."""


@dataclass(slots=True, eq=False)
class CallRecord:
    """One LLM call at the gate, the only record of it: asked, answered, streamed, counted, cut short, for which task.

    The gate makes it and ends it, and the listener writes into it what CrewAI tells meanwhile. A try that failed and
    the next one are two records.
    """

    asked: Asked = field(default_factory=Asked)
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Names the call in our events."""
    task: int | None = None
    """Position of the task that it is for."""
    within: str = ""
    """The tool call that it is made in."""
    tries: int = 1
    began: float = field(default_factory=time.time)
    ended: float | None = None
    stream: bool = False
    """Whether the answer is asked for in pieces."""
    pieces: int = 0
    """Pieces that came, of text or of tool calls."""
    event_id: str = ""
    """CrewAI's id of the call; empty where the LLM class emits no events."""
    completed: bool = False
    """Whether the LLM class has told of the answer itself, with what it knows of its end."""
    finish_reason: str | None = None
    """The provider's word for how the answer ended: `stop`, `length`, `tool_calls`."""
    answer: Any = None
    """What the call returned; None until then, and where it failed."""
    output: str = ""
    """The answer for people."""
    error: BaseException | None = None
    usage: Usage = _NOTHING
    """Tokens spent; final when it has ended."""
    counted: ev.Counted = "told"
    cost: float | None = None
    """US dollars; None where the price is unknown."""
    saved: Usage | None = None
    """Set where an `attempt.Witness` answered: what was not spent."""
    tallies: dict[int, Tally] = field(default_factory=dict)
    """What is told of tokens while it lasts, by the `id` of the LLM object that tells it."""
    by_counters: Usage = _NOTHING
    """What the LLM object's own counters grew by meanwhile."""
    question: Any = None
    """What an `attempt.Witness` knows it by; kept over the tries of one call."""
    ran: list[tuple[str, Any, Any]] = field(default_factory=list)
    """Functions that the LLM's own class called meanwhile: name, arguments, result."""
    paces: list[tuple[float, str]] = field(default_factory=list)
    """The pieces of text, each with its time."""
    reading: set[Any] = field(default_factory=set)
    """Sockets at which threads wait for what comes of it."""
    cancel: Callable[[], object] | None = None
    """Cancels it where it is awaited on a loop of the user's."""
    hung_up: bool = False
    """Nobody wants the answer any more."""
    charges: list[Any] = field(default_factory=list)
    """What it holds besides a slot; only its gate knows what that is."""

    def tally(self, llm: Any) -> Tally:
        """Where that LLM's tokens are counted."""
        return self.tallies.setdefault(id(llm), Tally(llm))


@dataclass(slots=True, eq=False)
class Tally:
    """What one LLM object tells of its tokens during one call; the same tokens are told in several ways."""

    llm: Any
    tracked: Usage = _NOTHING
    """To CrewAI's base class."""
    in_events: Usage = _NOTHING
    to_callbacks: Usage = _NOTHING

    @property
    def usage(self) -> Usage:
        """The fullest of them; callbacks count for the least, as a client may call them again, behind CrewAI."""
        told = max(self.tracked, self.in_events, key=lambda usage: usage.total_tokens)
        return told if told.total_tokens else self.to_callbacks
