"""The shapes of crews that both paths must run alike; each says what CrewAI makes of it, so that none is empty."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crewai import Agent, Crew, Process, Task
from crewai.hooks.dispatch import HookAborted, InterceptionPoint
from crewai.memory.unified_memory import Memory
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tasks.llm_guardrail import LLMGuardrail
from crewai.tools import BaseTool
from crewai.utilities.exceptions.context_window_exceeding_exception import LLMContextLengthExceededError
from pydantic import BaseModel

from tests.support.scripted_llm import ScriptedLLM, tool_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.paths import Stage

REACT = 'Thought: I should look\nAction: search\nAction Input: {{"query": "{}"}}'
FINAL = "Thought: I know\nFinal Answer: {}"


@dataclass
class Shape:
    """A way to build a crew, and what is to come of it."""

    build: Callable[[Stage], Crew]
    raw: str
    """The output; the empty string where it fails."""
    error: str
    """How the error begins; empty where it succeeds."""
    calls: int
    """LLM calls in all."""
    side_by_side: bool
    """Whether the order of events is left to threads."""

    @property
    def name(self) -> str:
        return self.build.__name__


SHAPES: list[Shape] = []


def shape(raw: str = "", *, error: str = "", calls: int = 1, side_by_side: bool = False) -> Any:
    def add(build: Callable[[Stage], Crew]) -> Callable[[Stage], Crew]:
        SHAPES.append(Shape(build, raw, error, calls, side_by_side))
        return build

    return add


class Search(BaseTool):
    name: str = "search"
    description: str = "Looks something up"
    notes: Any = None

    def _run(self, query: str) -> str:
        self.notes.append(("search", query))
        if query == "broken":
            raise ValueError("no network")
        return f"found {query}"


class Weigh(BaseTool):
    name: str = "weigh"
    description: str = "Weighs something"
    notes: Any = None

    def _run(self, thing: str) -> str:
        self.notes.append(("weigh", thing))
        return f"{thing} weighs 2 kg"


class AsyncSearch(BaseTool):
    name: str = "search"
    description: str = "Looks something up"
    notes: Any = None

    def _run(self, query: str) -> str:
        raise NotImplementedError

    async def _arun(self, query: str) -> str:
        await asyncio.sleep(0)
        self.notes.append(("async search", query))
        return f"found {query}"


class City(BaseModel):
    name: str
    people: int


def agent(llm: Any, role: str = "Researcher", **more: Any) -> Agent:
    return Agent(role=role, goal=f"Goal of {role}", backstory=f"Past of {role}", llm=llm, **more)


def task(who: Agent | None, text: str = "Say something", **more: Any) -> Task:
    return Task(description=text, expected_output="A word", agent=who, **more)


def one(
    llm: Any, agent_more: dict[str, Any] | None = None, crew_more: dict[str, Any] | None = None, **more: Any
) -> Crew:
    who = agent(llm, **(agent_more or {}))
    return Crew(agents=[who], tasks=[task(who, **more)], **(crew_more or {}))


# --- plain crews ---


@shape("hello")
def plain_answer(stage: Stage) -> Crew:
    return one(stage.llm("hello"))


@shape("42")
def final_answer_marker(stage: Stage) -> Crew:
    return one(stage.llm(FINAL.format("42")))


@shape("AI it is", calls=1)
def inputs_are_filled_in(stage: Stage) -> Crew:
    stage.inputs = {"topic": "AI"}
    who = Agent(role="{topic} expert", goal="Know {topic}", backstory="Lives {topic}", llm=stage.llm("AI it is"))
    return Crew(agents=[who], tasks=[task(who, "Tell of {topic}")])


@shape("third", calls=3)
def tasks_in_sequence_with_context(stage: Stage) -> Crew:
    who, other = agent(stage.llm("first", "third")), agent(stage.llm("second"), "Writer")
    tasks = [task(who, "One"), task(other, "Two")]
    return Crew(agents=[who, other], tasks=[*tasks, task(who, "Three", context=[tasks[0]])])


@shape("joined", calls=3, side_by_side=True)
def async_tasks_fork_and_join(stage: Stage) -> Crew:
    agents = [agent(stage.llm(word), role) for word, role in (("left", "L"), ("right", "R"), ("joined", "J"))]
    left, right = (task(a, f"Do {a.role}", async_execution=True) for a in agents[:2])
    return Crew(agents=agents, tasks=[left, right, task(agents[2], "Join", context=[left, right])])


@shape("right", calls=2)
def async_task_at_the_end(stage: Stage) -> Crew:
    agents = [agent(stage.llm(word), role) for word, role in (("left", "L"), ("right", "R"))]
    return Crew(agents=agents, tasks=[task(agents[0], "Do L"), task(agents[1], "Do R", async_execution=True)])


@shape("first", calls=1)
def conditional_task_is_skipped(stage: Stage) -> Crew:
    who = agent(stage.llm("first", "second"))
    later = ConditionalTask(description="Two", expected_output="B", agent=who, condition=lambda out: "x" in out.raw)
    return Crew(agents=[who], tasks=[task(who, "One"), later])


@shape("second", calls=2)
def conditional_task_is_done(stage: Stage) -> Crew:
    who = agent(stage.llm("first", "second"))
    later = ConditionalTask(description="Two", expected_output="B", agent=who, condition=lambda out: "f" in out.raw)
    return Crew(agents=[who], tasks=[task(who, "One"), later])


@shape("hello", calls=1)
def no_system_prompt(stage: Stage) -> Crew:
    return one(stage.llm("hello"), {"use_system_prompt": False})


@shape("hello", calls=1)
def templates_and_stop_words(stage: Stage) -> Crew:
    return one(
        stage.llm("hello"),
        {
            "system_template": "<s>{{ .System }}</s>",
            "prompt_template": "<p>{{ .Prompt }}</p>",
            "response_template": "<r>{{ .Response }}</r>",
        },
    )


@shape("one two three four", calls=1)
def streamed_answer(stage: Stage) -> Crew:
    return one(stage.llm("one two three four", chunks=4))


# --- tools as text (ReAct) ---


@shape("it is found", calls=2)
def react_tool(stage: Stage) -> Crew:
    return one(stage.llm(REACT.format("cats"), FINAL.format("it is found")), {"tools": [Search(notes=stage.notes)]})


@shape("two", calls=3)
def react_two_tools_with_context_of_another_task(stage: Stage) -> Crew:
    llm = stage.llm(REACT.format("a"), REACT.format("b"), FINAL.format("two"))
    return one(llm, {"tools": [Search(notes=stage.notes), Weigh(notes=stage.notes)]})


@shape("gave up", calls=2)
def react_tool_raises(stage: Stage) -> Crew:
    llm = stage.llm(REACT.format("broken"), FINAL.format("gave up"))
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("ok", calls=2)
def react_unknown_tool(stage: Stage) -> Crew:
    llm = stage.llm("Thought: hm\nAction: fly\nAction Input: {}", FINAL.format("ok"))
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("found cats", calls=1)
def react_result_as_answer(stage: Stage) -> Crew:
    return one(stage.llm(REACT.format("cats")), {"tools": [Search(notes=stage.notes, result_as_answer=True)]})


@shape("enough", calls=3)
def react_max_usage_count(stage: Stage) -> Crew:
    llm = stage.llm(REACT.format("a"), REACT.format("b"), FINAL.format("enough"))
    return one(llm, {"tools": [Search(notes=stage.notes, max_usage_count=1)]})


@shape("Thought: hm\nAction: search", calls=1)
def react_malformed_action(stage: Stage) -> Crew:
    llm = stage.llm("Thought: hm\nAction: search")
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("cached", calls=3)
def react_same_call_twice_with_cache(stage: Stage) -> Crew:
    llm = stage.llm(REACT.format("a"), REACT.format("a"), FINAL.format("cached"))
    return one(llm, {"tools": [Search(notes=stage.notes)], "cache": True}, {"cache": True})


@shape(error="ToolExecutionFailedError", calls=8)
def react_same_call_for_ever(stage: Stage) -> Crew:
    return one(stage.llm(REACT.format("a")), {"tools": [Search(notes=stage.notes)]})


@shape("async", calls=2)
def react_async_tool(stage: Stage) -> Crew:
    return one(stage.llm(REACT.format("a"), FINAL.format("async")), {"tools": [AsyncSearch(notes=stage.notes)]})


@shape("forced", calls=3)
def react_max_iter(stage: Stage) -> Crew:
    llm = stage.llm(REACT.format("a"), REACT.format("b"), FINAL.format("forced"))
    return one(llm, {"tools": [Search(notes=stage.notes)], "max_iter": 2})


@shape(error="ValueError: Invalid response", calls=9)
def max_iter_with_an_empty_forced_answer(stage: Stage) -> Crew:
    llm = stage.llm(*[REACT.format("a"), REACT.format("b"), ""] * 3)
    return one(llm, {"tools": [Search(notes=stage.notes)], "max_iter": 2})


@shape("made up", calls=1)
def react_without_stop_words(stage: Stage) -> Crew:
    wordy = REACT.format("a") + "\nObservation: I made this up\nThought: now I know\nFinal Answer: made up"
    llm = stage.llm(wordy, stops=False)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


# --- native tools ---


def call(query: str, number: int = 1) -> dict[str, Any]:
    return tool_call("search", f'{{"query": "{query}"}}', f"call_{number}")


@shape("done", calls=2)
def native_tool(stage: Stage) -> Crew:
    llm = stage.llm([call("cats")], "done", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("both", calls=2, side_by_side=True)
def native_tools_in_parallel(stage: Stage) -> Crew:
    calls = [call("cats"), tool_call("weigh", '{"thing": "cat"}', "call_2")]
    llm = stage.llm(calls, "both", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes), Weigh(notes=stage.notes)]})


@shape("one by one", calls=2)
def native_tools_that_may_not_be_parallel(stage: Stage) -> Crew:
    llm = stage.llm([call("cats"), call("dogs", 2)], "one by one", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes, max_usage_count=5)]})


@shape("sorry", calls=2)
def native_tool_raises(stage: Stage) -> Crew:
    llm = stage.llm([call("broken")], "sorry", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("sorry", calls=2, side_by_side=True)
def native_parallel_tool_raises(stage: Stage) -> Crew:
    llm = stage.llm([call("broken"), call("cats", 2)], "sorry", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("sorry", calls=2)
def native_unknown_tool(stage: Stage) -> Crew:
    llm = stage.llm([tool_call("fly")], "sorry", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("sorry", calls=2)
def native_arguments_that_are_no_json(stage: Stage) -> Crew:
    llm = stage.llm([tool_call("search", "{query:")], "sorry", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("found cats", calls=1)
def native_result_as_answer(stage: Stage) -> Crew:
    llm = stage.llm([call("cats")], "never said", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes, result_as_answer=True)]})


@shape("enough", calls=3)
def native_max_usage_count(stage: Stage) -> Crew:
    llm = stage.llm([call("a")], [call("b")], "enough", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes, max_usage_count=1)]})


@shape("forced", calls=3)
def native_max_iter(stage: Stage) -> Crew:
    llm = stage.llm([call("a")], [call("b")], "forced", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)], "max_iter": 2})


@shape("as text", calls=3)
def native_tools_unsupported_after_all(stage: Stage) -> Crew:
    refused = RuntimeError("this model does not support tools: tool use is not supported")
    llm = stage.llm(refused, REACT.format("cats"), FINAL.format("as text"), native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("done", calls=2)
def native_async_tool(stage: Stage) -> Crew:
    llm = stage.llm([call("cats")], "done", native_tools=True)
    return one(llm, {"tools": [AsyncSearch(notes=stage.notes)]})


@shape("read it", calls=2)
def native_result_too_large_for_the_context(stage: Stage) -> Crew:
    llm = stage.llm([call("x" * 5_000)], "read it", native_tools=True, window=4_000)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


# --- errors ---


@shape(error="RuntimeError: no route", calls=3)
def llm_fails_for_good(stage: Stage) -> Crew:
    return one(stage.llm(RuntimeError("no route")))


@shape("at last", calls=2)
def llm_fails_once(stage: Stage) -> Crew:
    return one(stage.llm(RuntimeError("no route"), "at last"))


@shape(error="ValueError: Invalid response", calls=3)
def llm_answers_nothing(stage: Stage) -> Crew:
    return one(stage.llm(""))


@shape(error="RuntimeError: no route", calls=2)
def an_async_task_fails(stage: Stage) -> Crew:
    good, bad = agent(stage.llm("joined"), "G"), agent(stage.llm(RuntimeError("no route")), "B", max_retry_limit=1)
    return Crew(agents=[good, bad], tasks=[task(bad, "Fork", async_execution=True), task(good, "Join")])


# --- hooks ---


def _note_before(stage: Stage) -> Callable[[Any], None]:
    def before(context: Any) -> None:
        stage.notes.append(("before", len(context.messages), context.iterations))
        context.messages.append({"role": "user", "content": "be brief"})

    return before


@shape("LOUD", calls=1)
def hooks_around_the_llm(stage: Stage) -> Crew:
    def after(context: Any) -> str:
        stage.notes.append(("after", context.response))
        return context.response.upper()

    def reduce(context: Any) -> None:
        context.response = after(context)

    stage.hooks = {InterceptionPoint.PRE_MODEL_CALL: [_note_before(stage)], InterceptionPoint.POST_MODEL_CALL: [reduce]}
    return one(stage.llm("loud"))


@shape(error="LLMCallBlockedError", calls=0)
def hook_blocks_the_llm(stage: Stage) -> Crew:
    stage.hooks = {InterceptionPoint.PRE_MODEL_CALL: [lambda context: False]}
    return one(stage.llm("never said"))


@shape(error="HookAborted: enough", calls=0)
def hook_aborts_before_the_llm(stage: Stage) -> Crew:
    def deny(context: Any) -> None:
        raise HookAborted("enough")

    stage.hooks = {InterceptionPoint.PRE_MODEL_CALL: [deny]}
    return one(stage.llm("never said"))


@shape("not allowed", calls=2)
def hook_blocks_a_native_tool(stage: Stage) -> Crew:
    stage.hooks = {InterceptionPoint.PRE_TOOL_CALL: [lambda context: False]}
    llm = stage.llm([call("cats")], "not allowed", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("not allowed", calls=2)
def hook_blocks_a_react_tool(stage: Stage) -> Crew:
    stage.hooks = {InterceptionPoint.PRE_TOOL_CALL: [lambda context: False]}
    llm = stage.llm(REACT.format("cats"), FINAL.format("not allowed"))
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("no tools then", calls=2)
def hook_aborts_a_tool(stage: Stage) -> Crew:
    def deny(context: Any) -> None:
        raise HookAborted("no tools")

    stage.hooks = {InterceptionPoint.PRE_TOOL_CALL: [deny]}
    llm = stage.llm([call("cats")], "no tools then", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


# --- callbacks and guardrails ---


@shape("found it", calls=2)
def callbacks_of_every_kind(stage: Stage) -> Crew:
    def note(name: str) -> Callable[[Any], Any]:
        def callback(what: Any) -> Any:
            stage.notes.append((name, type(what).__name__, getattr(what, "raw", None)))
            return what

        return callback

    stage.inputs = {"topic": "AI"}
    llm = stage.llm(REACT.format("a"), FINAL.format("found it"))
    more = {"tools": [Search(notes=stage.notes)], "step_callback": note("step")}
    around = {"before_kickoff_callbacks": [note("before")], "after_kickoff_callbacks": [note("after")]}
    return one(llm, more, {**around, "task_callback": note("crew's task")}, callback=note("task"))


@shape("done", calls=2)
def async_callbacks(stage: Stage) -> Crew:
    def note(name: str) -> Callable[[Any], Any]:
        async def callback(what: Any) -> None:
            await asyncio.sleep(0)
            stage.notes.append((name, type(what).__name__))

        return callback

    llm = stage.llm([call("cats")], "done", native_tools=True)
    more = {"tools": [Search(notes=stage.notes)], "step_callback": note("step")}
    return one(llm, more, {"task_callback": note("crew's task")}, callback=note("task"))


@shape("done", calls=1)
def one_function_as_both_task_callbacks(stage: Stage) -> Crew:
    def note(what: Any) -> None:
        stage.notes.append(what.raw)

    return one(stage.llm("done"), crew_more={"task_callback": note}, callback=note)


@shape(error="ValueError: not mine", calls=1)
def task_callback_raises(stage: Stage) -> Crew:
    def refuse(what: Any) -> None:
        raise ValueError("not mine")

    return one(stage.llm("done"), callback=refuse)


@shape("short", calls=2)
def guardrail_function_retries(stage: Stage) -> Crew:
    def brief(output):
        stage.notes.append(output.raw)
        return (len(output.raw) < 6, output.raw if len(output.raw) < 6 else "too long")

    return one(stage.llm("much too long", "short"), guardrail=brief)


@shape(error="Exception: Task failed guardrail", calls=3)
def guardrail_never_content(stage: Stage) -> Crew:
    return one(stage.llm("no"), guardrail=_refuse, guardrail_max_retries=2)


def _refuse(output):
    return False, "never"


@shape(error="RuntimeError: guard fell over", calls=1)
def guardrail_raises(stage: Stage) -> Crew:
    return one(stage.llm("no"), guardrail=_fall_over)


def _fall_over(output):
    raise RuntimeError("guard fell over")


@shape("kind", calls=4)
def guardrail_asks_an_llm(stage: Stage) -> Crew:
    judge = stage.llm('{"valid": false, "feedback": "be kind"}', '{"valid": true, "feedback": null}')
    return one(stage.llm("rude", "kind"), guardrail=LLMGuardrail("Be kind", judge))


@shape("kind", calls=4)
def guardrail_as_a_sentence(stage: Stage) -> Crew:
    verdicts = '{"valid": false, "feedback": "be kind"}', '{"valid": true, "feedback": null}'
    return one(stage.llm("rude", verdicts[0], "kind", verdicts[1]), guardrail="Be kind")


@shape("a-1-2", calls=1)
def several_guardrails(stage: Stage) -> Crew:
    def first(output):
        return True, output.raw + "-1"

    def second(output):
        return True, output.raw + "-2"

    return one(stage.llm("a"), guardrails=[first, second])


# --- structured outputs ---


@shape('{"name":"Bern","people":134000}', calls=1)
def output_pydantic(stage: Stage) -> Crew:
    return one(stage.llm('{"name": "Bern", "people": 134000}'), output_pydantic=City)


@shape('{"name":"Bern","people":134000}', calls=1)
def output_json(stage: Stage) -> Crew:
    return one(stage.llm('{"name": "Bern", "people": 134000}'), output_json=City)


@shape('{"name":"Bern","people":134000}', calls=1)
def response_model(stage: Stage) -> Crew:
    return one(stage.llm('{"name": "Bern", "people": 134000}'), response_model=City)


@shape('{"name": "Bern", "people": 134000}', calls=2)
def output_pydantic_after_tools(stage: Stage) -> Crew:
    llm = stage.llm([call("Bern")], '{"name": "Bern", "people": 134000}', native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]}, output_pydantic=City)


@shape("It is Bern, with 134000", calls=3)
def output_pydantic_by_the_converter(stage: Stage) -> Crew:
    llm = stage.llm([call("Bern")], "It is Bern, with 134000", '{"name": "Bern", "people": 134000}', native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]}, output_pydantic=City)


# --- context ---


@shape("fits", calls=5, side_by_side=True)
def summarized_before_it_overflows(stage: Stage) -> Crew:
    llm = stage.llm(
        [call("x" * 2_000)], [call("y" * 2_000)], "<summary>short</summary>", "fits", native_tools=True, window=1_000
    )
    return one(llm, {"tools": [Search(notes=stage.notes)], "use_better_compaction": False})


@shape("fits now", calls=4)
def context_too_long_for_the_provider(stage: Stage) -> Crew:
    too_long = LLMContextLengthExceededError("maximum context length is 10 tokens")
    llm = stage.llm([call("a")], too_long, "<summary>short</summary>", "fits now", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]})


@shape("second", calls=2, side_by_side=True)
def with_memory(stage: Stage) -> Crew:
    """Saving goes on in the background, so the order of events is free."""
    judge = ScriptedLLM(['{"memories": ["tea is hot"]}'])  # asked with ids of its own
    memory = Memory(llm=judge, embedder=embed, storage=tempfile.mkdtemp())
    stage.closing.append(memory.close)
    who = agent(stage.llm("first", "second"))
    return Crew(agents=[who], tasks=[task(who, "One"), task(who, "Two")], memory=memory)


def embed(texts: list[str]) -> list[list[float]]:
    return [[len(text) % 7, 1.0, 0.5, 0.2] for text in texts]


# --- several agents ---


@shape("boss says fine", calls=3)
def hierarchical_with_a_manager_llm(stage: Stage) -> Crew:
    order = tool_call(
        "delegate_work_to_coworker", '{"task": "dig", "context": "here", "coworker": "Researcher"}', "call_1"
    )
    manager = stage.llm([order], "boss says fine", native_tools=True)
    worker = agent(stage.llm("dug"))
    return Crew(agents=[worker], tasks=[task(None)], process=Process.hierarchical, manager_llm=manager)


@shape("boss says fine", calls=3)
def hierarchical_with_inputs_in_the_roles(stage: Stage) -> Crew:
    stage.inputs = {"topic": "AI"}
    order = tool_call("ask_question_to_coworker", '{"question": "how?", "context": "here", "coworker": "AI expert"}')
    manager = stage.llm([order], "boss says fine", native_tools=True)
    worker = Agent(role="{topic} expert", goal="Know {topic}", backstory="B", llm=stage.llm("so"))
    return Crew(agents=[worker], tasks=[task(None)], process=Process.hierarchical, manager_llm=manager)


@shape("boss says fine", calls=3)
def hierarchical_with_a_manager_agent(stage: Stage) -> Crew:
    order = (
        "Thought: t\nAction: delegate_work_to_coworker\n"
        'Action Input: {"task": "dig", "context": "c", "coworker": "Researcher"}'
    )
    boss = agent(stage.llm(order, FINAL.format("boss says fine")), "Boss")
    worker = agent(stage.llm("dug"))
    return Crew(agents=[worker], tasks=[task(worker)], process=Process.hierarchical, manager_agent=boss)


@shape("with help", calls=4)
def delegation_to_a_coworker_with_tools(stage: Stage) -> Crew:
    order = tool_call("delegate_work_to_coworker", '{"task": "dig", "context": "c", "coworker": "Digger"}')
    lead = agent(stage.llm([order], "with help", native_tools=True), "Lead", allow_delegation=True)
    digger = agent(stage.llm([call("gold")], "dug", native_tools=True), "Digger", tools=[Search(notes=stage.notes)])
    return Crew(agents=[lead, digger], tasks=[task(lead)])


@shape("alone", calls=5)
def a_coworker_fails(stage: Stage) -> Crew:
    order = tool_call("delegate_work_to_coworker", '{"task": "dig", "context": "c", "coworker": "Digger"}')
    lead = agent(stage.llm([order], "alone", native_tools=True), "Lead", allow_delegation=True)
    digger = agent(stage.llm(RuntimeError("no spade")), "Digger")
    return Crew(agents=[lead, digger], tasks=[task(lead)])


@shape("second", calls=2)
def an_agent_only_its_task_knows(stage: Stage) -> Crew:
    hidden = agent(stage.llm("second"), "Hidden")
    who = agent(stage.llm("first"))
    return Crew(agents=[who], tasks=[task(who), task(hidden, "Two")])


# --- where the paths are meant to differ (not in SHAPES) ---


def context_too_long_for_the_provider_as_text(stage: Stage) -> Crew:
    too_long = LLMContextLengthExceededError("maximum context length is 10 tokens")
    llm = stage.llm(REACT.format("a"), too_long, "<summary>short</summary>", FINAL.format("fits now"))
    return one(llm, {"tools": [Search(notes=stage.notes)]})


def context_too_long_at_once(stage: Stage) -> Crew:
    too_long = LLMContextLengthExceededError("maximum context length is 10 tokens")
    return one(stage.llm(too_long, "<summary>short</summary>", "fits now"))


def context_too_long_and_not_to_be_shortened(stage: Stage) -> Crew:
    too_long = LLMContextLengthExceededError("maximum context length is 10 tokens")
    return one(stage.llm(too_long), {"respect_context_window": False})


def max_execution_time_passed(stage: Stage) -> Crew:
    return one(stage.llm("late", latency=1.2), {"max_execution_time": 1, "max_retry_limit": 0})


# --- people, limits, files ---


class Person:
    """Gives one piece of feedback, then is content."""

    def __init__(self, stage: Stage, *feedback: str) -> None:
        self.stage, self.feedback = stage, list(feedback)

    def setup_messages(self, context: Any) -> bool:
        return False

    def post_setup_messages(self, context: Any) -> None:
        pass

    async def handle_feedback_async(self, answer: Any, context: Any) -> Any:
        for words in self.feedback:
            self.stage.notes.append(("draft", answer.output, words))
            context.messages.append(context._format_feedback_message(words))
            answer = await context._ainvoke_loop()
        context.ask_for_human_input = False
        return answer


@shape("better", calls=2)
def human_feedback(stage: Stage) -> Crew:
    stage.provider = Person(stage, "make it better")
    return one(stage.llm("draft", "better"), human_input=True)


@shape("best", calls=4)
def human_feedback_twice_with_a_tool(stage: Stage) -> Crew:
    stage.provider = Person(stage, "look it up", "shorter")
    llm = stage.llm("draft", [call("a")], "better", "best", native_tools=True)
    return one(llm, {"tools": [Search(notes=stage.notes)]}, human_input=True)


@shape("hello", calls=1)
def requests_per_minute_not_reached(stage: Stage) -> Crew:
    return one(stage.llm("hello"), {"max_rpm": 100}, {"max_rpm": 100})


@shape("hello", calls=1)
def max_execution_time_not_reached(stage: Stage) -> Crew:
    return one(stage.llm("hello"), {"max_execution_time": 60})
