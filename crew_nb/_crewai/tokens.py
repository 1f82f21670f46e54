"""The tokens of one LLM call, from every place where CrewAI is told of them; each provider's call counts once.

An LLM class tells its tokens to CrewAI's base class, in events, to callbacks, or by counters of its own that only grow.
The first three are heard within the call, in its own context. Counters belong to an LLM object that several runs may
share: what they grew by while it was asked is given to the call that ends, so that the sum is right.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._crewai import patches
from crew_nb._state import attempt as _attempt
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crew_nb._state.call import CallRecord, Tally

CHARACTERS = 4
"""Of a token, as CrewAI guesses them where nobody tells."""


@dataclass(slots=True)
class _Counter:
    """How far an LLM object's own counters had come when somebody last looked."""

    last: Usage
    asked: int = 0
    """Calls of it that are under way."""


_lock = threading.Lock()
_counters: dict[int, _Counter] = {}


def install() -> None:
    """Hear what is told to CrewAI's base class and to callbacks."""
    patches.hear_token_callbacks(_to_callbacks)


@contextlib.contextmanager
def watching(record: CallRecord) -> Iterator[None]:
    """While the call of that record goes on: what is told of tokens comes to it."""
    llm = record.asked.llm
    if llm is None:
        yield
        return
    patches.hear_tokens(type(llm), tracked)
    before = _crewai.counters(llm)
    with _lock:
        counter = _counters.get(id(llm))
        if counter is None:
            counter = _counters[id(llm)] = _Counter(before)
            with contextlib.suppress(TypeError):
                weakref.finalize(llm, _counters.pop, id(llm), None).atexit = False
        if not counter.asked:  # what others have asked it since is not ours
            counter.last = before
        counter.asked += 1
    try:
        yield
    finally:
        now = _crewai.counters(llm)
        with _lock:
            record.by_counters = now - counter.last
            counter.last = now
            counter.asked -= 1


def tracked(llm: Any, usage: Usage) -> None:
    """An LLM has told of tokens."""
    record = _attempt.call.get()
    if record is None:
        return
    record.tally(llm).tracked += usage
    with _lock:
        if (counter := _counters.get(id(llm))) is not None:
            counter.last += usage


def _to_callbacks(usage: Usage) -> None:
    record = _attempt.call.get()
    if record is not None:
        record.tally(record.asked.llm).to_callbacks += usage


def tallies(record: CallRecord) -> list[Tally]:
    """The LLM objects whose tokens the call cost, each with what it told.

    An LLM that passes the question on to others may tell again what they have told.
    """
    told = [tally for tally in record.tallies.values() if tally.usage.total_tokens]
    others = [tally for tally in told if tally.llm is not record.asked.llm]
    own = [tally for tally in told if tally.llm is record.asked.llm]
    if own and others and own[0].usage.total_tokens == sum(tally.usage.total_tokens for tally in others):
        return others
    if not told and record.by_counters.total_tokens:
        tally = record.tally(record.asked.llm)
        tally.tracked = record.by_counters
        return [tally]
    return told


def estimate(record: CallRecord) -> Usage:
    """A guess from the lengths of prompt and answer."""
    asked = record.asked
    prompt = _length(asked.messages) + (len(str(asked.tools)) if asked.tools else 0)
    prompt, answer = (-(-characters // CHARACTERS) for characters in (prompt, len(record.output)))
    return Usage(total_tokens=prompt + answer, prompt_tokens=prompt, completion_tokens=answer, successful_requests=1)


def _length(messages: Any) -> int:
    if isinstance(messages, str):
        return len(messages)
    with contextlib.suppress(Exception):  # messages are whatever the user's code has made them
        return sum(len(str(message.get("content") or "")) for message in messages)
    return 0
