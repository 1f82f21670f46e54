"""Answers in pieces: heard token by token by who listens, and drawn together where nobody does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMCallStartedEvent, LLMStreamChunkEvent
from crewai.llms.base_llm import llm_call_context
from pydantic import PrivateAttr

import crew_nb as cnb
from tests.support import crews
from tests.support.scripted_llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """What the user's handlers hear of calls, in the order of their emission."""
    events: list[Any] = []

    def handler(source: Any, event: Any) -> None:
        events.append(event)

    kinds = (LLMCallStartedEvent, LLMCallCompletedEvent)
    for kind in kinds:
        crewai_event_bus.on(kind)(handler)
    yield events
    for kind in kinds:
        crewai_event_bus.off(kind, handler)


def _run() -> Any:
    llm = cnb.OfflineLLM([WORDS], latency=0, tokens_per_second=None)
    return cnb.kickoff_for_each(crews.one(llm), [{"topic": "A"}], stream=True, show=False).wait(60)[0]


def _emitted_between(events: list[Any]) -> int:
    start, end = sorted(event.emission_sequence for event in events)
    return end - start - 1


def test_who_listens_for_tokens_hears_each(heard: list[Any]) -> None:
    """A handler of the user's gets every piece as an event of CrewAI's, in order, with its call and task."""
    pieces: list[Any] = []

    def handler(source: Any, event: LLMStreamChunkEvent) -> None:
        pieces.append(event)

    crewai_event_bus.on(LLMStreamChunkEvent)(handler)
    try:
        assert _run().raw == WORDS
    finally:
        crewai_event_bus.off(LLMStreamChunkEvent, handler)
    assert "".join(event.chunk for event in pieces) == WORDS
    assert len(pieces) == _emitted_between(heard) == len(WORDS.split())
    assert {event.call_id for event in pieces} == {event.call_id for event in heard}
    assert {event.task_name for event in pieces} == {"research"}


def test_tokens_that_nobody_listens_for_are_no_events(heard: list[Any]) -> None:
    """Between a call's beginning and its end CrewAI's bus carries nothing, and the answer is the same."""
    result = _run()
    assert result.raw == WORDS
    assert _emitted_between(heard) == 0
    assert result.state.uncounted_calls == result.state.estimated_calls == 0


class Speaking(ScriptedLLM):
    """Says its pieces in one go, and answers when it is let."""

    pieces: int = 100
    _go_on: threading.Event = PrivateAttr(default_factory=threading.Event)

    async def acall(self, messages: Any, *args: Any, from_task: Any = None, from_agent: Any = None, **more: Any) -> Any:
        with llm_call_context():
            answer = self._begin("acall", messages, None, None, from_task, from_agent, None)
            for number in range(self.pieces):
                self._emit_stream_chunk_event(f"{number} ", from_task, from_agent)
            await asyncio.to_thread(self._go_on.wait, 60)
            return self._end(answer, messages, from_task, from_agent, None)


@pytest.mark.parametrize("scored", [False, True])
def test_pieces_that_come_together_are_one_change_of_the_row(scored: bool) -> None:
    """Text is shown while the answer goes on, and a hundred pieces of it are drawn once, not a hundred times."""
    llm = Speaking(["the whole"])
    shown: list[str] = []
    full = threading.Event()

    def changed() -> None:
        text = "".join(task.text for task in batch.state().runs[0].tasks)
        if text and text not in shown:
            shown.append(text)
            full.set()

    async def at_end() -> None:
        pass

    given: dict[str, Any] = {"stream": True, "show": False}
    if scored:
        score = lambda output, inputs: 1.0  # noqa: E731
        batch = cnb.sweep(crews.one(llm), [{}], {"topic": ["A"]}, scores=[score], **given)
    else:
        batch = cnb.kickoff_for_each(crews.one(llm), [{"topic": "A"}], **given)
    batch.observe(changed, at_end)
    changed()  # whoever has not looked is not told
    try:
        assert full.wait(60)
    finally:
        llm._go_on.set()
    assert batch.wait(60)[0].raw == "the whole"
    assert shown[0] == "".join(f"{number} " for number in range(llm.pieces))
