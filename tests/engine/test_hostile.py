"""Code of the user's that misbehaves: its run ends with an error that says why, and its siblings never notice."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from crew_nb._engine.engine import _line
from crew_nb._state.events import Logged
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from crewai import Crew


class UnprintableError(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Slotted:
    """Has no `__dict__`."""

    __slots__ = ("word",)

    def __init__(self) -> None:
        self.word = "slot"


class Evil:
    """Raises wherever it is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"nobody reads {name}")


slotted, evil = Slotted(), Evil()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StopIteration(), "StopIteration"),
        (UnprintableError(), "ValueError in UnprintableError.__str__"),
        (asyncio.CancelledError(), "nobody stopped the run"),
        (SystemExit(3), "3"),
        (KeyboardInterrupt("keys"), "keys"),
        (GeneratorExit("gone"), "gone"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("where", ["factory", "callback", "tool"])
def test_whatever_is_raised_fails_its_own_run(server: Server, where: str, error: BaseException, words: str) -> None:
    """Errors that Python itself treats in a special way, and one without a text: each ends its run, and only it."""
    shared = llm(server)
    if where == "tool":
        server.configure(topics={"topic=bad": {"tool_calls": [{"name": "search", "arguments": {"query": "x"}}]}})

    def raising(*args: Any, **kwargs: Any) -> Any:
        raise error

    def build(topic: str) -> Crew:
        if topic == "good" or where == "callback":
            return crews.one(shared, **({"callback": raising} if topic == "bad" else {}))
        if where == "factory":
            raising()
        from crewai.tools import tool

        @tool("search")
        def search(query: str) -> str:
            """Search."""
            raise error

        return crews.one(shared, tools=[search])

    batch = cnb.kickoff_for_each(build, [{"topic": "bad"}, {"topic": "good"}], show=False)
    results = batch.wait(60)
    assert results[1].status == "done"
    if where == "tool" and isinstance(error, Exception):
        return  # CrewAI tells the LLM about it, and the run goes on
    assert results[0].status == "failed"
    message = results[0].state.error.message
    assert words in message or (isinstance(error, UnprintableError) and "no words" in message)
    with pytest.raises(cnb.RunFailedError):
        _ = results[0].raw


def test_objects_that_cannot_be_looked_at_do_not_keep_a_run_from_its_end(server: Server) -> None:
    """A factory reaches an object without a `__dict__` and one that raises at every look."""
    shared = llm(server)

    def build(topic: str) -> Crew:
        assert slotted is not None
        assert evil is not None
        return crews.one(shared)

    assert cnb.kickoff_for_each(build, [{"topic": "x"}], show=False).wait(60)[0].status == "done"


def test_a_view_that_cannot_draw_stops_no_run(server: Server) -> None:
    """A board whose update raises is left alone, and the batch says so."""
    batch = cnb.kickoff_for_each(crews.chain(llm(server), 2), [{"topic": "x"}], show=False)

    def broken() -> None:
        raise OSError("no front end")

    batch._driver.observers.append(broken)
    batch.state()
    assert batch.wait(60)[0].status == "done"
    assert any("no front end" in note for note in batch.state().notes)


def test_what_crewai_prints_goes_to_the_row(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    """Knowledge that cannot be stored while the crew is built, memory, verbose agents: nothing reaches the cell."""
    from crewai import Crew
    from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource

    shared = llm(server)

    def build(topic: str) -> Crew:
        one = crews.one(shared)
        source = StringKnowledgeSource(content="Robots are cheap.")  # has no key for its embeddings
        return Crew(agents=one.agents, tasks=one.tasks, knowledge_sources=[source], memory=True, verbose=True)

    batch = cnb.kickoff_for_each(build, [{"topic": "x"}], show=False)
    assert batch.wait(60)[0].status == "done"
    assert any("OPENAI_API_KEY" in event.text for event in batch.events if isinstance(event, Logged))
    assert capfd.readouterr().out == ""


def test_a_log_line_whose_arguments_do_not_fit_raises_nowhere() -> None:
    """The row shows what there is; a handler that raised would end the run."""
    record = logging.LogRecord("crewai.task", logging.WARNING, __file__, 1, "%d of %s", ("one",), None)
    assert _line(record) == "warning: '%d of %s' with ('one',)"
