"""What tools say and what embedders answer, recorded and replayed: nothing runs twice, and nothing is asked twice."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from crewai import LLM, Crew, Flow
from crewai.flow.flow import listen, start
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.knowledge.storage.knowledge_storage import KnowledgeStorage
from crewai.memory.unified_memory import Memory
from crewai.tools import BaseTool, tool
from pydantic import BaseModel

import crew_nb as cnb
from crew_nb._record import answers as _answers
from tests.support import crews
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server

TOPICS = [{"topic": topic} for topic in ("Mars", "Venus", "Pluto")]

called: list[str] = []
"""What tools were asked, by name; emptied for each test."""


class Hit(BaseModel):
    """What a tool finds."""

    name: str
    score: int


class Odd:
    """What no file can keep as it is."""

    def __str__(self) -> str:
        return "an odd thing"


@tool
def look(query: str) -> str:
    """Look something up, and say how often that was done."""
    called.append(query)
    return f"{len(called)} lookups, with sk-proj-7aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"


@tool
async def listening(query: str) -> str:
    """Look something up without a thread."""
    called.append(query)
    return f"{len(called)} heard"


class Finding(BaseTool):
    """A class of the user's that fills a model."""

    name: str = "finding"
    description: str = "Find something"
    result_schema: type[BaseModel] | None = Hit

    def _run(self, query: str) -> Hit:
        called.append(query)
        return Hit(name=query, score=len(called))


@tool
def odd(query: str) -> Any:
    """Say something odd."""
    called.append(query)
    return Odd()


@tool
def failing(query: str) -> str:
    """Fail."""
    called.append(query)
    raise LookupError(f"{len(called)} failures for {query}")


once = Finding(name="once", max_usage_count=1)


class Tools(Flow[Any]):
    """Every way in which CrewAI runs a tool, and each kind of thing that a tool gives."""

    @start()
    async def wait(self) -> list[Any]:
        return [await listening.arun(query="d"), await look.to_structured_tool().ainvoke({"query": "e"})]

    @listen(wait)
    def ask(self, said: list[Any]) -> str:
        said = [*said, look.run(query="a"), look.run(query="a"), look.run("a")]
        said += [look.to_structured_tool().invoke({"query": "b"}), listening.run(query="c")]
        found = Finding().run(query="f")
        said += [type(found) is Hit, found, str(odd.run(query="g"))]
        for _ in range(2):
            try:
                failing.run(query="h")
            except Exception as error:
                said += [type(error).__name__, str(error)]
        once.reset_usage_count()
        said += [once.run(query="i"), type(once.run(query="i")).__name__, once.current_usage_count]
        return "; ".join(map(str, said))


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    """Where the answers go."""
    called.clear()
    return tmp_path / "lesson.jsonl"


def _run(crew: Any, inputs: Any = TOPICS, **options: Any) -> cnb.Results:
    settings = {"answers_speed": 0, "answers_tools": True, **options}
    return cnb.kickoff_for_each(crew, inputs, show=False, **settings).wait(240)


def _outputs(results: cnb.Results) -> list[str]:
    for result in results:
        assert result.status == "done", result.state.error
    return [result.raw for result in results]


def _kept(lesson: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in lesson.read_text().splitlines()]
    return [line for line in lines if kind in line.get("asked", {})]


def test_every_way_of_a_tool_is_replayed(lesson: Path) -> None:
    """Results, models, errors and spent limits come again as they were, and no tool is run; without the option, all."""
    first = _outputs(_run(Tools, [{}], answers=lesson))
    count = len(called)
    assert count == 12
    assert "sk-proj" in first[0]
    assert "sk-proj" not in lesson.read_text()
    _answers._opened.clear()
    again = _outputs(_run(Tools, [{}], answers=lesson))
    assert again == [first[0].replace("sk-proj-7aB3dE6gH9jK2mN5pQ8sT1vW4yZ7", "***")]
    assert len(called) == count
    assert "LookupError; 10 failures for h" in again[0]
    assert again[0].endswith("ToolFailure; 1")
    _run(Tools, [{}], answers=lesson, answers_tools=False)
    assert len(called) == 2 * count


def test_tools_of_agents_are_replayed(server: Server, lesson: Path) -> None:
    """In a crew and in a sweep of several at once: what each run's tool said goes into its next prompt, as recorded."""

    def build() -> Crew:
        return crews.one(llm(server), tools=[look])

    outputs = _outputs(_run(build, answers=lesson, max_concurrency=64))
    asked, count = len(server.stats().requests), len(called)
    assert (asked, count) == (6, 3)
    written = lesson.read_bytes()
    _answers._opened.clear()
    replayed = _run(build, answers=lesson, max_concurrency=1)
    assert [raw.partition("The tool")[2] for raw in _outputs(replayed)] == [
        raw.partition("The tool")[2].replace("sk-proj-7aB3dE6gH9jK2mN5pQ8sT1vW4yZ7", "***") for raw in outputs
    ]
    assert (len(server.stats().requests), len(called)) == (asked, count)
    assert [row["of"] for row in cnb.answers(lesson)][:3] == ["gpt-4o-mini", "look", "gpt-4o-mini"]
    assert lesson.read_bytes() == written
    assert replayed.usage.total_tokens == 0


def test_coworkers_are_no_tools_to_be_kept(server: Server, lesson: Path) -> None:
    """What a manager delegates is done, by LLMs whose answers are recorded."""
    first = _outputs(_run(lambda: crews.hierarchical(llm(server)), TOPICS[:1], answers=lesson))
    asked = len(server.stats().requests)
    assert asked > 2
    replayed = _run(lambda: crews.hierarchical(llm(server)), TOPICS[:1], answers=lesson)
    assert _outputs(replayed) == first
    assert len(server.stats().requests) == asked
    assert replayed[0].state.recorded_calls == asked
    assert not _kept(lesson, "tool")


def test_a_tool_that_was_not_asked_fails_its_run(lesson: Path) -> None:
    """With the tool and the arguments that differ, though the flow catches all; `ask` runs it and adds it."""

    def asking(words: str) -> type[Flow[Any]]:
        class Asking(Flow[Any]):
            @start()
            def ask(self) -> str:
                try:
                    return str(look.run(query=words))
                except Exception:
                    return "caught"

        return Asking

    _run(asking("one two three"), [{}], answers=lesson)
    _answers._opened.clear()
    missed = _run(asking("one two four"), [{}], answers=lesson)[0]
    assert isinstance(missed.error, cnb.NotRecordedError)
    assert "the tool look" in missed.state.error.message
    assert "its arguments differ" in missed.state.error.message
    assert "two four" in missed.state.error.message
    assert called == ["one two three"]
    assert _outputs(_run(asking("one two four"), [{}], answers=lesson, answers_missing="ask"))
    assert called == ["one two three", "one two four"]
    assert len(_kept(lesson, "tool")) == 2


def test_a_tool_takes_its_time_again(lesson: Path) -> None:
    """As long as it took, and a stop does not wait for its end."""

    class Asking(Flow[Any]):
        @start()
        def ask(self) -> str:
            return str(look.run(query="slow"))

    _run(Asking, [{}], answers=lesson)
    text = lesson.read_text()
    lesson.write_text(text.replace('"call":', '"seconds":3600,"call":'))
    _answers._opened.clear()
    batch = cnb.kickoff_for_each(Asking, [{}], show=False, answers=lesson, answers_tools=True, answers_speed=1)
    run = batch.runs[0]
    while not batch._driver.attempts.get(0) or not batch._driver.attempts[0].threads:
        assert run.status in ("queued", "running")
    batch.cancel()
    assert batch.wait(60)[0].status == "cancelled"
    assert len(called) == 1


EMBEDDER: Any = {"provider": "openai", "config": {"model_name": "text-embedding-3-small"}}
FACTS = "The metal of topic=Mars is cobalt. " * 3


@pytest.fixture
def _knowledge(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CrewAI keeps the knowledge of all crews of a process in one place, for one embedder."""
    yield
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    KnowledgeStorage(embedder=EMBEDDER, collection_name="crew").reset()


def knowing(model: Any) -> Crew:
    """A crew that has facts of its own and an agent that has some; both are embedded where it is built."""
    crew = crews.one(model)
    worker = crews.agent(model, knowledge_sources=[StringKnowledgeSource(content=FACTS)], embedder=EMBEDDER)
    crew.tasks[0].agent = worker
    return Crew(
        agents=[worker],
        tasks=crew.tasks,
        knowledge_sources=[StringKnowledgeSource(content=f"Facts of the crew. {FACTS}")],
        embedder=EMBEDDER,
    )


@pytest.mark.usefixtures("_knowledge")
def test_knowledge_is_embedded_once(server: Server, lesson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded with a key, replayed without one in another place: nothing is asked, and the same prompts are."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-the-teacher-1234")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)

    def build() -> Crew:
        return knowing(LLM(model="openai/gpt-4o-mini"))

    first = _outputs(_run(build, TOPICS[:2], answers=lesson))
    stats = server.stats(prompts=True)
    assert stats.embedded
    assert any("cobalt" in request.prompt for request in stats.requests)
    assert len(_kept(lesson, "embedder")) == len({line["call"] for line in _kept(lesson, "embedder")})
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name)
    _answers._opened.clear()
    again = _run(build, TOPICS[:2], answers=lesson, max_concurrency=1)
    assert _outputs(again) == first
    after = server.stats()
    assert (len(after.requests), after.embedded, after.others) == (len(stats.requests), stats.embedded, [])
    assert "a-key-of-the-teacher" not in lesson.read_text()


def test_memory_is_embedded_once(server: Server, lesson: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crew saves and recalls in a memory of its own is embedded from the file, by an embedder without a key."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-the-teacher-1234")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    places = itertools.count()

    def build(topic: str) -> Crew:
        model = LLM(model="openai/gpt-4o-mini")
        crew = crews.chain(model, 2)
        memory = Memory(llm=model, storage=str(tmp_path / f"memory-{next(places)}"), embedder=EMBEDDER)
        return Crew(agents=crew.agents, tasks=crew.tasks, memory=memory)

    first = _outputs(_run(build, TOPICS[:1], answers=lesson))
    stats = server.stats()
    assert stats.embedded
    assert {line["asked"]["text"] for line in _kept(lesson, "embedder") if isinstance(line["asked"]["text"], str)}
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name)
    _answers._opened.clear()
    assert _outputs(_run(build, TOPICS[:1], answers=lesson)) == first
    after = server.stats()
    assert (len(after.requests), after.embedded, after.others) == (len(stats.requests), stats.embedded, [])
