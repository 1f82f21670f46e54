"""OpenTelemetry spans of batches, as a collector on loopback gets them."""

from __future__ import annotations

import collections
import json
import os
import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Task
from crewai.flow import Flow, listen, start
from crewai.tools import tool
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import crew_nb as cnb
from crew_nb._engine.traces import CAPTURE
from tests.support import crews
from tests.support.collector import Collector, attributes, paths, tokens
from tests.support.scripted_llm import ScriptedLLM, tool_call
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = 64


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that spans go to, without content unless a test says otherwise."""
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.delenv(CAPTURE, raising=False)
    made = Collector()
    cnb.set_traces(made.url)
    yield made
    cnb.set_traces(None)
    made.close()


def marks(count: int = RUNS) -> list[dict[str, str]]:
    """An input for each run that is a word nobody else says."""
    return [{"topic": f"marker{n}x"} for n in range(count)]


def offline(**how: Any) -> cnb.OfflineLLM:
    return cnb.OfflineLLM(**{"latency": 0, "tokens_per_second": None, **how})


def busy(topic: str) -> Crew:
    """A crew whose tool asks a crew of its own; three of the LLM's first tries fail."""
    inner = offline(responses=lambda messages: f"inner {topic}")
    failing = offline(errors={f"number 1 {topic}": [429], f"number 2 {topic}": [500, 429]}, retry_after=0)

    @tool
    def ask(query: str) -> str:
        """Ask another crew."""
        return cnb.kickoff(crews.one(inner), {"topic": topic}, show=False).batch.wait()[0].raw + query

    worker = Agent(role=f"Expert in {topic}", goal="Know", backstory=f"Of {topic}", llm=failing)
    tasks = [
        Task(
            description=f"This is number {n} {topic}. Ask.",
            expected_output="A note",
            agent=worker,
            name=f"step {n}",
            tools=[ask] if n == 0 else [],
            async_execution=n < 2,
        )
        for n in range(3)
    ]
    return Crew(agents=[worker], tasks=tasks, name="busy")


async def test_64_runs_at_once_are_64_traces(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    """Each is whole and its own: no orphan, the run's tokens, its marker word everywhere and nobody else's."""
    monkeypatch.setattr("crew_nb._engine.retry.FIRST_DELAY", 0.001)
    cnb.set_traces(collector.url, content=True)
    batch = cnb.kickoff_for_each(busy, marks(), show=False, max_concurrency=RUNS)
    results = await batch
    results.raise_for_errors()
    cnb.set_traces(None)
    assert collector.orphans() == []
    assert sorted(collector.runs()) == list(range(RUNS))
    assert len(collector.traces()) == RUNS + 1
    (alone,) = (spans for spans in collector.traces().values() if spans[0].name.startswith("batch"))
    assert len(alone) == 1
    for run, spans in collector.runs().items():
        assert tokens(spans) == batch[run].usage.total_tokens
        words = b"".join(span.SerializeToString() for span in spans)
        assert f"marker{run}x".encode() in words
        assert all(f"marker{n}x".encode() not in words for n in range(RUNS) if n != run)
        (root,) = (span for span in spans if not span.parent_span_id)
        assert [link.span_id for link in root.links] == [alone[0].span_id]
        failed = [attributes(span)["error.type"] for span in spans if span.name == "chat offline" and span.status.code]
        told = [call for call in results[run].state.all_calls if call.kind == "llm" and call.status == "failed"]
        assert len(failed) == len(told) >= 2
        below = f"invoke_workflow busy > task step 0 > invoke_agent Expert in marker{run}x > execute_tool ask"
        inner = f"{below} > batch > invoke_workflow one > task research > invoke_agent Researcher > chat offline"
        assert list(paths(spans)).count(inner) == 1


async def test_without_content_nothing_of_it_leaves(collector: Collector):
    """No input, prompt, answer, tool argument or result, nor the words of an error: neither in names nor in values."""
    inputs = [{"topic": f"secretword{n}"} for n in range(3)]
    llm = offline(errors={"secretword2": 400}, responses=lambda messages: None)
    role = Agent(role="Expert in {topic}", goal="Know {topic}", backstory="Of {topic}", llm=llm, tools=[crews.search])
    task = Task(description="Look into {topic}", expected_output="A note of wonders", agent=role)
    results = await cnb.kickoff_for_each(Crew(agents=[role], tasks=[task]), inputs, show=False)
    assert [r.status for r in results] == ["done", "done", "failed"]
    cnb.set_traces(None)
    for words in (b"secretword", b"wonders", b"Look into", b"hits for", results[0].raw[:20].encode()):
        assert words not in collector.raw
    assert "invoke_agent Expert in {topic}" in {span.name for span in collector.spans}
    assert {span.name for span in collector.spans if span.name.startswith("task")} == {"task 0"}


async def test_the_variable_of_the_conventions_turns_content_on(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    """With it prompts, answers, arguments and results are told, under the names that the conventions have for them."""
    monkeypatch.setenv(CAPTURE, "true")
    cnb.set_traces(collector.url)
    (result,) = await cnb.kickoff_for_each(crews.one(offline(), tools=[crews.search]), [{"topic": "tides"}], show=False)
    cnb.set_traces(None)
    told = [attributes(span) for span in collector.spans]
    assert any("topic=tides" in each.get("gen_ai.input.messages", "") for each in told)
    assert any(result.raw.split()[-1] in each.get("gen_ai.output.messages", "") for each in told)
    assert any("hits for" in each.get("gen_ai.tool.call.result", "") for each in told)


async def test_a_run_that_is_tried_again_stays_one_trace(collector: Collector):
    """Its second try is below the first, and the tokens of both are the run's."""
    broken = [True]

    def build(topic: str) -> Crew:
        if broken:
            return crews.chain(offline(errors={"Step 1": 400}))
        return crews.chain(offline())

    batch = cnb.kickoff_for_each(build, [{"topic": "tides"}], show=False)
    await batch
    broken.clear()
    (result,) = await batch.retry()
    assert result.status == "done"
    cnb.set_traces(None)
    assert collector.orphans() == []
    (spans,) = collector.runs().values()
    assert tokens(spans) == batch[0].usage.total_tokens
    assert "invoke_workflow build > invoke_workflow build > task step 1" in set(paths(spans))
    first = next(span for span in spans if not span.parent_span_id)
    assert first.status.code == 2
    taken = {span.name for span in spans if attributes(span).get("crew_nb.taken_over")}
    assert taken == {"task step 0"}


async def test_a_batch_that_is_stopped_leaves_no_span_open(collector: Collector):
    """The spans of what was in flight end with the run, as cancelled."""
    llm = ScriptedLLM(["done"])
    held = threading.Event()
    begun = threading.Event()

    @tool
    def hold() -> str:
        """Hold on."""
        begun.set()
        held.wait(60)
        return "held"

    llm = ScriptedLLM([[tool_call("hold")], "done"], native_tools=True)
    batch = cnb.kickoff_for_each(crews.one(llm, tools=[hold]), [{"topic": "tides"}], show=False)
    while not begun.is_set():
        await _turn()
    batch.cancel()
    held.set()
    await batch
    cnb.set_traces(None)
    assert collector.orphans() == []
    (spans,) = collector.runs().values()
    ended = {span.name: attributes(span).get("error.type") for span in spans}
    assert ended["invoke_workflow one"] == "cancelled"
    assert ended["task research"] == "cancelled"


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0.01)


async def test_delegated_work_is_below_the_tool_that_hands_it_on(collector: Collector):
    """The coworker is an agent within the manager's tool call; each LLM call is at whoever makes it."""
    batch = cnb.kickoff_for_each(crews.hierarchical(offline()), [{"topic": "tides"}], show=False)
    await batch
    cnb.set_traces(None)
    (spans,) = collector.runs().values()
    at = "invoke_workflow hierarchical > task report > invoke_agent Crew Manager"
    assert collections.Counter(paths(spans))[f"{at} > chat offline"] == 2
    assert f"{at} > execute_tool delegate_work_to_coworker > invoke_agent Researcher > chat offline" in paths(spans)


class Steps(Flow):
    """A flow with a crew in its second step."""

    @start()
    def first(self) -> str:
        return "tides"

    @listen(first)
    async def second(self, topic: str) -> str:
        output = await crews.one(offline()).kickoff_async(inputs={"topic": topic})
        nested = await cnb.kickoff(crews.chain(offline(), 1), {"topic": topic}, show=False)
        return output.raw + nested.raw


async def test_steps_of_flows_have_spans(collector: Collector):
    """A crew in a step, and a batch that a step launches, are below it."""
    batch = cnb.kickoff_for_each(Steps, [{}], show=False)
    (await batch).raise_for_errors()
    cnb.set_traces(None)
    assert collector.orphans() == []
    (spans,) = collector.runs().values()
    found = set(paths(spans))
    assert "invoke_workflow Steps > step first" in found
    step = "invoke_workflow Steps > step second"
    assert f"{step} > task research > invoke_agent Researcher > chat offline" in found
    assert f"{step} > batch > invoke_workflow chain > task step 0 > invoke_agent Worker 0 > chat offline" in found
    assert tokens(spans) == batch[0].usage.total_tokens


async def test_scores_are_events_of_their_run(collector: Collector):
    """Each value is a `gen_ai.evaluation.result`; what a judge asks is beside the runs, in the trace of the batch."""

    def length(output: Any, inputs: Any) -> Any:
        return {"words": len(output.raw.split()), "short": True, "tone": "dry"}

    def broken(output: Any, inputs: Any) -> Any:
        raise ValueError("tides are not fit to be scored")

    judge = cnb.judge(
        "Is it clear?", llm=offline(responses=lambda messages: '{"reason": "clear enough", "score": true}')
    )
    batch = cnb.sweep(
        lambda topic, tone: crews.one(offline()),
        inputs=[{"topic": "tides"}],
        over={"tone": ["dry", "warm"]},
        scores=[length, broken, judge],
        show=False,
    )
    results = await batch
    cnb.set_traces(None)
    assert collector.orphans() == []
    for run, spans in collector.runs().items():
        events = [(event.name, attributes(event)) for span in spans for event in span.events]
        assert {name for name, _ in events} == {"gen_ai.evaluation.result"}
        told = {each.pop("gen_ai.evaluation.name"): each for _, each in events}
        assert told["length.words"]["gen_ai.evaluation.score.value"] == results.scores[run]["length.words"]
        assert told["length.short"] == {
            "gen_ai.evaluation.score.value": 1.0,
            "gen_ai.evaluation.score.label": "true",
        }
        assert told["length.tone"] == {"gen_ai.evaluation.score.label": "dry"}
        assert results.scores[run].keys() >= told.keys()
        failed = next(span for span in spans if span.name == "evaluate broken")
        assert attributes(failed)["error.type"] == "ValueError"
        assert tokens(spans) == batch[run].usage.total_tokens
    (batch_trace,) = (s for s in collector.traces().values() if any(span.name.startswith("batch") for span in s))
    assert [span.name for span in batch_trace if span.parent_span_id] == ["chat offline"] * 2
    assert b"fit to be scored" not in collector.raw
    assert b"clear enough" not in collector.raw


async def test_streamed_calls_tell_when_they_began_to_speak(collector: Collector):
    """One span for a call however many pieces it comes in."""
    await cnb.kickoff_for_each(crews.one(offline()), [{"topic": "tides"}], show=False, stream=True)
    cnb.set_traces(None)
    (call,) = (attributes(span) for span in collector.spans if span.name == "chat offline")
    assert call["gen_ai.request.stream"] is True
    assert call["gen_ai.response.time_to_first_chunk"] >= 0
    assert call["gen_ai.provider.name"] == "offline"


async def test_a_seeded_notebook_has_ids_of_its_own(collector: Collector):
    """`random.seed()`, as a notebook has it on top, does not give two batches the same traces."""
    for _ in range(2):
        random.seed(1)
        await cnb.kickoff_for_each(crews.one(offline()), [{"topic": "tides"}], show=False)
    cnb.set_traces(None)
    assert len(collector.traces()) == 4


async def test_the_users_own_provider_is_used_and_no_other(collector: Collector):
    """A batch is below the span that the user has open; the global provider gets nothing, and stays what it was."""
    before = trace.get_tracer_provider()
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    cnb.set_traces(provider)
    with provider.get_tracer("mine").start_as_current_span("experiment"):
        await cnb.kickoff_for_each(crews.one(offline()), [{"topic": "tides"}], show=False)
    cnb.set_traces(None)
    named = {span.name: span for span in exporter.get_finished_spans()}
    assert named["batch"].parent.span_id == named["experiment"].context.span_id
    assert named["invoke_workflow one"].parent is None
    assert trace.get_tracer_provider() is before
    assert collector.spans == []
    with provider.get_tracer("mine").start_as_current_span("later"):  # it is the user's, and goes on
        pass
    assert exporter.get_finished_spans()[-1].name == "later"


@pytest.mark.parametrize("to", ["localhost:4318", 4318, object()])
def test_what_is_no_place_for_traces_is_refused(collector: Collector, to: Any):
    """With what to write instead."""
    with pytest.raises(cnb.OptionError, match="is no place for traces"):
        cnb.set_traces(to)


INSTRUMENTED = """
import json, sys
from crewai.events import crewai_event_bus
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from openinference.instrumentation.crewai import CrewAIInstrumentor
import crew_nb as cnb
from tests.support.crews import fork_join

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
if sys.argv[2] == "late":
    cnb.kickoff_for_each(fork_join(cnb.OfflineLLM(latency=0)), [{"topic": "-"}], show=False).wait()
CrewAIInstrumentor().instrument(tracer_provider=provider, use_event_listener=sys.argv[1] == "listener")

def traces():
    crewai_event_bus.flush()  # its listeners have threads of their own
    spans = exporter.get_finished_spans()
    exporter.clear()
    by_id = {span.context.span_id: span for span in spans}
    found = {}
    for span in spans:
        names, at = [], span
        while at is not None:
            names.append(at.name)
            at = by_id[at.parent.span_id] if at.parent else None
        found.setdefault(span.context.trace_id, []).append(" < ".join(names))
    return sorted(sorted(names) for names in found.values())

def build():
    return fork_join(cnb.OfflineLLM(latency=0, tokens_per_second=None))

build().kickoff(inputs={"topic": "-"})
bare = traces()
batch = cnb.kickoff_for_each(build, [{"topic": str(n)} for n in range(8)], show=False)
results = batch.wait()
results.raise_for_errors()
print(json.dumps({"bare": bare, "ours": traces()}))
"""


@pytest.mark.parametrize(("mode", "when"), [("wrappers", "early"), ("wrappers", "late"), ("listener", "early")])
def test_the_users_own_instrumentor_sees_runs_as_kickoffs(mode: str, when: str, tmp_path: Path):
    """Each of 8 runs at once is a trace with the crew, agent and task spans that `kickoff()` gives."""
    env = {name: value for name, value in os.environ.items() if name != "OTEL_SDK_DISABLED"}
    command = [sys.executable, "-c", INSTRUMENTED, mode, when]
    env |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    # `kickoff()` runs async tasks in threads, where the wrappers lose the crew: a trace for each.
    names = sorted(name.partition(" < ")[0] for trace in told["bare"] for name in trace)
    assert len(told["ours"]) == 8
    for ours in told["ours"]:
        assert sorted(name.partition(" < ")[0] for name in ours) == names
        assert sum(name.endswith("fork_join.kickoff") for name in ours) == len(names)


def test_an_sdk_that_is_off_is_told(monkeypatch: pytest.MonkeyPatch):
    """Nothing would be sent, and nobody would know why."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with pytest.raises(cnb.OptionError, match="CREWAI_DISABLE_TELEMETRY"):
        cnb.set_traces("http://127.0.0.1:4318/v1/traces")
