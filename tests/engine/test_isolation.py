"""Each run has a crew of its own: what the user holds, and what other runs hold, is neither read nor changed by it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Agent, Crew, Task
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tools import tool
from pydantic import BaseModel

import crew_nb as cnb
from crew_nb._state.events import Logged
from tests.support import crews
from tests.support.scripted_llm import ScriptedLLM, tool_call
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from pathlib import Path


def _told(agent: Agent, topic: str) -> Crew:
    task = Task(description=f"Tell about topic={topic}", expected_output="A note", agent=agent, name="tell")
    return Crew(agents=[agent], tasks=[task])


def test_an_agent_that_was_there_before_is_left_as_it_is() -> None:
    """A factory may use an agent, or a whole crew, of the user's; its texts are filled in for each run, not in it."""
    shared = crews.agent(cnb.OfflineLLM(), "Writer on {topic}")
    whole = _told(shared, "{topic}")
    inputs = [{"topic": f"T{i}"} for i in range(6)]
    for factory in (lambda topic: _told(shared, topic), lambda: whole):
        results = cnb.kickoff_for_each(factory, inputs, show=False).wait(60)
        assert [r.tasks_output[0].agent for r in results] == [f"Writer on T{i}" for i in range(6)]
        assert [r.tasks_output[0].description for r in results] == [f"Tell about topic=T{i}" for i in range(6)]
    assert shared.role == "Writer on {topic}"
    assert whole.tasks[0].description == "Tell about topic={topic}"


def test_parts_that_are_kept_for_the_next_call_are_copied_while_they_run() -> None:
    """A factory that keeps its first agent (as @CrewBase does) is copied from while that agent is being filled in."""
    writers: list[Agent] = []
    making = threading.Lock()

    def build(topic: str) -> Crew:
        with making:
            if not writers:
                writers.append(crews.agent(cnb.OfflineLLM(), "Writer on {topic}"))
        return _told(writers[0], topic)

    for _ in range(10):
        writers.clear()
        results = cnb.kickoff_for_each(build, [{"topic": f"T{i}"} for i in range(6)], show=False).wait(60)
        assert results.raise_for_errors() is results
        assert [r.tasks_output[0].agent for r in results] == [f"Writer on T{i}" for i in range(6)]


def test_a_tools_uses_are_counted_for_each_run() -> None:
    """`max_usage_count` is a limit of one run, as a kickoff of a fresh crew would have it."""

    @tool
    def once(query: str) -> str:
        """Look it up, once."""
        return "found"

    once.max_usage_count = 1
    crew = crews.one(cnb.OfflineLLM(), tools=[once])
    for _ in range(2):
        results = cnb.kickoff_for_each(crew, [{"topic": f"T{i}"} for i in range(3)], show=False).wait(60)
        for result in results:
            assert [c.output for c in result.state.all_calls if c.kind == "tool"] == ["found"]
    assert once.current_usage_count == 0


def test_inputs_are_the_factorys_to_change() -> None:
    """A list that a factory appends to is its own: the handle, the other runs and a retry have what was given."""

    def build(notes: list[str]) -> Crew:
        notes.append("more")
        return _told(crews.agent(cnb.OfflineLLM()), f"{len(notes)}")

    notes = ["one"]
    batch = cnb.kickoff_for_each(build, [{"notes": notes}, {"notes": notes}], show=False)
    assert [r.tasks_output[0].description for r in batch.wait(60)] == ["Tell about topic=2"] * 2
    assert notes == ["one"]
    assert [run.inputs for run in batch.runs] == [{"notes": ["one"]}] * 2


def test_braces_in_the_data_are_data() -> None:
    """LaTeX and code that a factory writes into its texts are no placeholders; what an input is to fill still is."""
    topic = r"\frac{a}{b} and f{x}"
    result = cnb.kickoff(lambda topic: _told(crews.agent(cnb.OfflineLLM()), topic), {"topic": topic}, show=False).wait(
        60
    )
    assert result.tasks_output[0].description == f"Tell about topic={topic}"
    inputs = {"topic": topic, "month": "May"}
    run = cnb.kickoff(lambda topic: _told(crews.agent(cnb.OfflineLLM()), "{month} {year}"), inputs, show=False)
    with pytest.raises(cnb.RunFailedError, match="needs year"):
        run.wait(60)
    with pytest.raises(cnb.BlueprintError, match="without the slash"):
        cnb.kickoff(lambda topic, /: None, {"topic": "T"}, show=False)  # type: ignore[arg-type, return-value]


class Verdict(BaseModel):
    """A structured answer."""

    grade: str


def test_an_agents_own_tries_are_its_own() -> None:
    """An answer that does not fit, or a custom LLM's passing error, is tried again as CrewAI has it."""
    fickle = ScriptedLLM([ValueError("not today"), "fine"])
    result = cnb.kickoff(crews.one(fickle), {"topic": "T"}, show=False).wait(60)
    assert result.raw == "fine"
    assert len(fickle.asked) == 2
    stubborn = ScriptedLLM([ValueError("never")])
    run = cnb.kickoff(crews.one(stubborn), {"topic": "T"}, show=False)
    with pytest.raises(cnb.RunFailedError, match="never"):
        run.wait(60)
    assert len(stubborn.asked) == 3, "CrewAI's max_retry_limit is 2"


@pytest.mark.parametrize("stock", [False, True], ids=["direct", "stock"])
def test_two_calls_of_one_tool_at_once_keep_their_own_results(stock: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that began first ends last: each row of the tool has what it was asked and what it answered."""
    if stock:
        monkeypatch.setattr("crew_nb._crewai.fast.why_not", lambda crew: "asked for by the test")
    second = threading.Event()

    @tool("look_up")
    def look_up(word: str) -> str:
        """Look a word up."""
        if word == "first":
            second.wait(60)
        else:
            second.set()
        return f"found {word}"

    calls = [tool_call("look_up", f'{{"word": "{word}"}}', word) for word in ("first", "second")]
    model = ScriptedLLM([calls, "both"], native_tools=True)
    run = cnb.kickoff(crews.one(model, tools=[look_up]), {"topic": "T"}, show=False)
    assert run.wait(60).raw == "both"
    told = {call.detail: call.output for call in run.state.all_calls if call.kind == "tool"}
    assert told == {'{"word": "first"}': "found first", '{"word": "second"}': "found second"}


def test_a_task_whose_condition_does_not_hold_is_skipped() -> None:
    """It is shown as skipped once the run has gone past it, and is not waited for."""
    worker = crews.agent(cnb.OfflineLLM())

    def task(name: str, kind: Any = Task, **more: Any) -> Any:
        return kind(description=f"{name} on topic={{topic}}", expected_output="A note", agent=worker, name=name, **more)

    maybe = task("maybe", ConditionalTask, condition=lambda output: False)
    last = task("perhaps", ConditionalTask, condition=lambda output: False)
    crew = Crew(agents=[worker], tasks=[task("first"), maybe, task("then"), last])
    run = cnb.kickoff(crew, {"topic": "T"}, show=False)
    run.wait(60)
    assert [t.status for t in run.tasks] == ["done", "skipped", "done", "skipped"]


def test_what_runs_beside_a_failing_task_is_stopped_not_failed(server: Server) -> None:
    """Only the task that failed bears the error; its sibling, and its call, were cancelled."""
    server.configure(faults=[{"kind": 401, "topic": "technology"}, {"kind": "hang", "topic": "market"}])
    run = cnb.kickoff(crews.fork_join(llm(server)), {"topic": "T"}, show=False)
    with pytest.raises(cnb.RunFailedError, match="401"):
        run.wait(60)
    assert [t.status for t in run.tasks] == ["failed", "cancelled", "cancelled"]
    assert [bool(t.error) for t in run.tasks] == [True, False, False]
    assert [c.status for c in run.tasks[1].calls] == ["cancelled"]


def test_what_a_tool_logs_is_in_its_row(server: Server) -> None:
    """Lines of CrewAI's and the root logger that a run causes are kept with it."""
    import logging

    @tool
    def search(query: str) -> str:
        """Search."""
        logging.warning("no index for %s", query)
        return "3 hits"

    run = cnb.kickoff(crews.one(cnb.OfflineLLM(), tools=[search]), {"topic": "T"}, show=False)
    run.wait(60)
    assert any("no index for" in line.text for line in run.state.log)
    assert len(run.state.log) == sum(isinstance(e, Logged) for e in run._batch.events)


def test_a_run_from_the_record_has_its_tasks(server: Server, tmp_path: Path) -> None:
    """What was run before is read with its tasks, calls and outputs; its times are not taken for this batch's."""

    def build(topic: str) -> Crew:
        return crews.chain(cnb.OfflineLLM(), 2)

    inputs = [{"topic": f"{tmp_path}"}]
    before = cnb.kickoff_for_each(build, inputs, show=False).wait(60)
    again = cnb.kickoff_for_each(build, inputs, show=False, resume=True)
    results = again.wait(60)
    assert results[0].state.from_record
    assert [t.output for t in again[0].tasks] == [t.output for t in before[0].state.tasks]
    assert len(results.to_frame("calls")) == len(before.to_frame("calls")) == 2
    assert results[0].saved == before[0].usage
    assert not results[0].usage.total_tokens
    assert cnb.load(again.key)[0].state.tasks == again[0].tasks
