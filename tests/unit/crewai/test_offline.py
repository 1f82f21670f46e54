"""OfflineLLM in real crews: reproducible, streaming, using tools, filling schemas, failing on demand."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date  # noqa: TC003  pydantic reads it
from decimal import Decimal  # noqa: TC003  pydantic reads it
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import openai
import pytest
from crewai import Crew, Task
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.llms.base_llm import call_stream_override
from pydantic import BaseModel, Field

from crew_nb._crewai import offline_answers as answers
from crew_nb._crewai.offline import OfflineLLM
from crew_nb._state.errors import OptionError
from tests.support import crews

if TYPE_CHECKING:
    from collections.abc import Iterator

LABEL = answers.LABEL


def quick(*args: Any, **options: Any) -> OfflineLLM:
    return OfflineLLM(*args, **{"latency": 0, "tokens_per_second": None, **options})


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """CrewAI's LLM events of this test, in order."""
    seen: list[Any] = []
    token = add_stream_sink(lambda *args: seen.append(args[-1]))
    yield seen
    reset_stream_sinks(token)


def kinds(events: list[Any]) -> list[str]:
    return [e.type for e in events if e.type.startswith("llm_")]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    name: str
    children: list[Node] = []
    parent: Node | None = None


class Everything(BaseModel):
    title: str = Field(min_length=40, max_length=60)
    count: int = Field(ge=3, lt=5)
    share: float = Field(gt=0, lt=1)
    price: Decimal
    step: int = Field(ge=1, multiple_of=5)
    below: int = Field(le=-3)
    colour: Colour
    kind: Literal["a", "b"]
    day: date
    pair: tuple[int, str]
    some: list[int] = Field(min_length=3)
    few: list[str] = Field(max_length=1)
    maybe: int | None
    either: bool | str
    free: dict[str, int]
    tree: Node
    valid: bool
    quiet: bool = False


# Crews


def test_a_crew_gets_a_labelled_answer_about_its_topic() -> None:
    """One task: Markdown about the topic, as many points as asked for, marked as offline."""
    raw = crews.one(quick()).kickoff({"topic": "Mars"}).raw
    assert raw.startswith("## Mars\n")
    assert raw.count("\n- **") == 3
    assert raw.endswith(LABEL)
    assert OfflineLLM.is_offline


def test_agents_in_sequence_build_on_each_other() -> None:
    """Three agents: three answers, each by its role."""
    output = crews.chain(quick()).kickoff({"topic": "Mars"})
    assert len({t.raw for t in output.tasks_output}) == 3
    assert "It builds on: Mars." in output.raw


async def test_a_join_names_both_of_its_branches() -> None:
    """Two async tasks and one that joins them, under `akickoff`."""
    output = await crews.fork_join(quick()).akickoff({"topic": "Mars"})
    assert [t.name for t in output.tasks_output] == ["technology", "market", "join"]
    assert "It builds on: " in output.raw


@pytest.mark.parametrize("native", [True, False], ids=["native", "react"])
def test_an_agent_uses_its_tool_once(native: bool, events: list[Any]) -> None:
    """The tool is called with arguments about the topic, and its result is in the answer."""
    raw = crews.one(quick(native_tools=native), tools=[crews.search]).kickoff({"topic": "Mars"}).raw
    assert "The tool answered: 3 hits for Mars" in raw
    assert [e.tool_name for e in events if e.type == "tool_usage_finished"] == ["search"]
    assert kinds(events).count("llm_call_completed") == 2


@pytest.mark.parametrize("native", [True, False], ids=["native", "react"])
@pytest.mark.parametrize("tools", [[], [crews.search]], ids=["plain", "tool"])
@pytest.mark.parametrize("kind", ["output_pydantic", "output_json"])
def test_structured_outputs_are_valid(kind: str, tools: list[Any], native: bool) -> None:
    """Pydantic and JSON outputs are filled in from their schema, with and without tools."""
    crew = crews.one(quick(native_tools=native), tools=tools, **{kind: crews.Report})
    output = crew.kickoff({"topic": "Mars"})
    report = output.pydantic if kind == "output_pydantic" else crews.Report(**(output.json_dict or {}))
    assert isinstance(report, crews.Report)
    assert report.title == "Mars"
    assert len(report.tags) == 2


def test_a_manager_delegates() -> None:
    """In a hierarchical crew the manager hands the task to a coworker and tells the result."""
    output = crews.hierarchical(quick()).kickoff({"topic": "Mars"})
    assert output.raw.startswith("## Mars")
    assert "The tool answered: " in output.raw


def test_a_failed_guardrail_gets_another_answer() -> None:
    """The prompt tells what was wrong, so the answer differs; a verbal guardrail is content."""
    tried: list[str] = []

    # Without annotations: CrewAI refuses those that are strings, as all of this file's are.
    def third_time(output):  # type: ignore[no-untyped-def]
        tried.append(output.raw)
        return len(tried) == 3, output.raw if len(tried) == 3 else f"not good enough, try {len(tried)}"

    crews.one(quick(), guardrail=third_time).kickoff({"topic": "Mars"})
    assert len(set(tried)) == 3
    assert crews.one(quick(), guardrail="must be polite").kickoff({"topic": "Mars"}).raw.endswith(LABEL)


def test_planning_works() -> None:
    """A planning agent and a planning crew get plans they can read."""
    llm = quick()
    worker = crews.agent(llm, planning=True)
    task = Task(description="Write about Mars", expected_output="A note", agent=worker)
    assert LABEL in Crew(agents=[worker], tasks=[task]).kickoff().raw
    crew = crews.one(llm)
    crew.planning, crew.planning_llm = True, llm
    assert LABEL in crew.kickoff({"topic": "Mars"}).raw


def test_copies_and_threads_share_it() -> None:
    """Copies of a crew run at once in threads, each with its own topic, as they would one by one."""
    blueprint = crews.one(quick(latency=(0, 0.02)))
    alone = {t: crews.one(quick()).kickoff({"topic": t}).raw for t in ("A", "B", "C", "D")}
    copies = {t: blueprint.copy() for t in alone}
    with ThreadPoolExecutor(4) as pool:
        running = {t: pool.submit(c.kickoff, {"topic": t}) for t, c in copies.items()}
        assert {t: r.result(60).raw for t, r in running.items()} == alone


# Answers


def test_answers_depend_on_seed_and_prompt_alone() -> None:
    """The order of calls, the object and the pace change nothing; the seed and the prompt do."""
    prompts = [f"Tell of T{n}" for n in range(5)]
    first = {p: quick().call(p) for p in prompts}
    llm = OfflineLLM(latency=(0, 0.01), tokens_per_second=100_000, stream=True)
    assert {p: llm.call(p) for p in reversed(prompts)} == {p: first[p] for p in reversed(prompts)}
    assert len(set(first.values())) == 5
    assert quick(seed=1).call(prompts[0]) != first[prompts[0]]


async def test_call_and_acall_say_the_same() -> None:
    """One LLM, two doors; and several loops at once."""
    llm = quick(latency=0.01)
    expected = llm.call("Tell of Mars")
    assert await llm.acall("Tell of Mars") == expected
    others = await asyncio.gather(*[asyncio.to_thread(asyncio.run, llm.acall("Tell of Mars")) for _ in range(3)])
    assert others == [expected] * 3


def test_every_schema_gets_a_valid_value() -> None:
    """Bounds, formats, choices, recursion: whatever the seed, the value validates; flags are true unless told."""
    schema = Everything.model_json_schema()
    for seed in range(50):
        value = Everything.model_validate(answers.example(schema, random.Random(seed), "Mars"))
        assert value.valid
        assert not value.quiet


def test_a_list_of_answers_is_told_per_conversation() -> None:
    """A scripted tool call and then an answer, the same for every run at once; the last one is repeated."""
    llm = quick([{"name": "search", "arguments": {"query": "moons"}}, "Two moons."])
    for _ in range(2):
        assert crews.one(llm, tools=[crews.search]).kickoff({"topic": "Mars"}).raw == "Two moons."
    react = quick([{"name": "search", "arguments": {"query": "moons"}}, "Two moons."], native_tools=False)
    assert crews.one(react, tools=[crews.search]).kickoff({"topic": "Mars"}).raw == "Two moons."


def test_a_mapping_answers_prompts_by_what_they_contain() -> None:
    """What no key fits is generated."""
    llm = quick({"Mars": "red", "Venus": crews.Report(title="hot", score=9, tags=[])})
    assert llm.call("Tell of Mars") == "red"
    assert json.loads(llm.call("Tell of Venus"))["title"] == "hot"
    assert llm.call("Judge Venus", response_model=crews.Report) == crews.Report(title="hot", score=9, tags=[])
    assert llm.call("Tell of Pluto").endswith(LABEL)


def test_a_callable_answers_from_the_messages() -> None:
    """It may give text, an error to raise, or None for a generated answer."""

    def reply(messages: list[dict[str, Any]]) -> str | Exception | None:
        asked = messages[-1]["content"]
        return {"a": asked.upper(), "b": LookupError("no b")}.get(asked)

    llm = quick(reply)
    assert llm.call("a") == "A"
    with pytest.raises(LookupError, match="no b"):
        llm.call("b")
    assert llm.call("c").endswith(LABEL)


# Events


def test_streaming_sends_every_token_once(events: list[Any]) -> None:
    """Chunks join to the answer, one per token, between start and end; usage is the stated rule."""
    llm = OfflineLLM(["one two  three\nfour"], latency=0, tokens_per_second=100_000, stream=True)
    answer = llm.call("five words are asked here")
    chunks = [e.chunk for e in events if e.type == "llm_stream_chunk"]
    assert ("".join(chunks), len(chunks)) == (answer, 4)
    assert kinds(events) == ["llm_call_started", *["llm_stream_chunk"] * 4, "llm_call_completed"]
    assert len({e.call_id for e in events if e.type.startswith("llm_")}) == 1
    assert events[-1].usage == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
    assert llm.get_token_usage_summary().total_tokens == 9


async def test_streaming_follows_the_callers_wish(events: list[Any]) -> None:
    """CrewAI's override switches it on and off for one call without touching the LLM."""
    llm = quick()
    with call_stream_override(llm, True):
        await llm.acall("Tell of Mars")
    assert "llm_stream_chunk" in kinds(events)
    events.clear()
    await llm.acall("Tell of Mars")
    assert kinds(events) == ["llm_call_started", "llm_call_completed"]


def test_events_tell_the_task_and_the_agent(events: list[Any]) -> None:
    """Every LLM event of a crew names them, chunks too."""
    crew = crews.one(quick(stream=True))
    crew.kickoff({"topic": "Mars"})
    told = [e for e in events if e.type.startswith("llm_")]
    assert {e.task_id for e in told} == {str(crew.tasks[0].id)}
    assert {e.agent_role for e in told} == {"Researcher"}


async def test_a_cancelled_call_stops_at_once(events: list[Any]) -> None:
    """Cancelling ends the stream where it is; as with CrewAI's own providers there is no final event."""
    llm = OfflineLLM(latency=0, tokens_per_second=20, stream=True)
    call = asyncio.create_task(llm.acall("Tell of Mars"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert asyncio.all_tasks() == {asyncio.current_task()}, "something still streams"
    seen = kinds(events)
    assert seen[0] == "llm_call_started"
    assert "llm_call_completed" not in seen


def test_a_listener_that_raises_ends_a_call_in_its_thread() -> None:
    """A stop that is raised from a chunk reaches the caller of a synchronous call."""
    stopped = threading.Event()

    class Stop(Exception):  # noqa: N818  a signal, not an error
        pass

    def sink(*args: Any) -> None:
        if args[-1].type == "llm_stream_chunk":
            raise Stop

    def work() -> None:
        add_stream_sink(sink)
        with pytest.raises(Stop):
            OfflineLLM(latency=0, tokens_per_second=1, stream=True).call("Tell of Mars")
        stopped.set()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert stopped.is_set()


# Failures


def raised(llm: OfflineLLM, prompt: str) -> BaseException:
    with pytest.raises(Exception) as caught:
        llm.call(prompt)
    return caught.value


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (401, openai.AuthenticationError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
        (418, openai.APIStatusError),
        ("timeout", ConnectionError),
        ("connection", ConnectionError),
        (KeyError("mine"), KeyError),
    ],
)
def test_failures_by_prompt(failure: Any, kind: type[Exception], events: list[Any]) -> None:
    """Prompts that contain the key fail as the provider would; the others are answered."""
    llm = quick(errors={"Mars": failure})
    assert isinstance(raised(llm, "Tell of Mars"), kind)
    assert kinds(events) == ["llm_call_started", "llm_call_failed"]
    assert llm.call("Tell of Venus").endswith(LABEL)


def test_a_timeout_has_the_sdks_error_as_its_cause() -> None:
    """What retry logic looks at is there, as behind CrewAI's own provider."""
    assert isinstance(raised(quick(errors={"": "timeout"}), "x").__cause__, openai.APITimeoutError)


def test_a_rate_limit_is_one_to_the_sdk_and_to_crewai(events: list[Any]) -> None:
    """It carries `Retry-After`, and CrewAI's own retry of 429s gets over it."""
    from crewai.llms.retry import _ThrottlingErrorClassifier

    from crew_nb._crewai.offline import _as_error

    error = _as_error(429, 0.25)
    assert isinstance(error, openai.RateLimitError)
    assert error.response.headers["retry-after"] == "0.25"
    assert _ThrottlingErrorClassifier.is_throttling_error(error)
    llm = quick(errors={"Mars": [429]}, retry_after=0)
    assert llm.call("Tell of Mars").endswith(LABEL)
    assert kinds(events).count("llm_call_failed") == 1


def test_a_list_of_failures_is_used_up() -> None:
    """One failure per try, then an answer; and the same again for the next run of the prompt."""
    llm = quick(errors={"Mars": [500, "timeout"]})
    for _ in range(2):
        assert isinstance(raised(llm, "Tell of Mars"), openai.InternalServerError)
        assert isinstance(raised(llm, "Tell of Mars"), ConnectionError)
        assert llm.call("Tell of Mars").endswith(LABEL)


def test_rates_are_drawn_per_prompt_and_try() -> None:
    """About the asked share fails, the same prompts in any order, and trying again helps."""
    prompts = [f"Tell of T{n}" for n in range(60)]

    def failing(order: list[str]) -> set[str]:
        llm = quick(fail_rate=0.3)
        failed = set()
        for prompt in order:
            try:
                llm.call(prompt)
            except openai.InternalServerError:
                failed.add(prompt)
        return failed

    first = failing(prompts)
    assert 8 <= len(first) <= 30
    assert failing(prompts[::-1]) == first
    llm = quick(fail_rate=0.5)
    for prompt in prompts:
        for _ in range(30):
            try:
                llm.call(prompt)
                break
            except openai.InternalServerError:
                continue
        else:
            pytest.fail(f"{prompt} never succeeded")


# The object


@pytest.mark.parametrize(
    "options",
    [
        {"latency": -1},
        {"latency": (2, 1)},
        {"tokens_per_second": 0},
        {"fail_rate": 1.5},
        {"fail_rate": 0.6, "rate_limit_rate": 0.6},
        {"responses": "text"},
        {"latency": "x"},
        {"errors": ["Mars"]},
        {"errors": {"Mars": "weird"}},
        {"errors": {"Mars": [429, 9999]}},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    """The message says what to give instead."""
    with pytest.raises(OptionError, match="give"):
        OfflineLLM(**options)


def test_misspelt_options_are_refused() -> None:
    """CrewAI's LLMs take any keyword; this one does not."""
    with pytest.raises(TypeError, match="latnecy"):
        OfflineLLM(latnecy=3)  # type: ignore[call-arg]


def test_it_can_be_pickled() -> None:
    """So that a crew factory can carry it to another process."""
    llm = quick(["a"], seed=3, errors={"Mars": 401})
    again = pickle.loads(pickle.dumps(llm))
    assert again.call("x") == "a"
    assert isinstance(raised(again, "Mars"), openai.AuthenticationError)
