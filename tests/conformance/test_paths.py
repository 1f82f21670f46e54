"""The direct path does what CrewAI's own executor does, shape by shape; where it does not, a test says so."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import asdict
from typing import Any

import pytest

from crew_nb._crewai import names as _crewai
from crew_nb._crewai import offload as _offload
from crew_nb._state import attempt as _attempt
from crew_nb._state.attempt import Attempt
from tests.conformance import shapes
from tests.conformance.paths import OpenGate, Path, Stage, prepare, watch
from tests.conformance.shapes import SHAPES, Shape, agent, call, one, task
from tests.support.scripted_llm import ScriptedLLM
from tests.support.server import Server
from tests.support.server import llm as openai

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:function callbacks:UserWarning")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_both_paths_do_what_crewai_does(shape: Shape) -> None:
    """Outputs, prompts, events, tool calls, usage, callbacks and errors are those of CrewAI untouched."""
    crewai = watch(shape.build, "crewai")
    assert crewai.error.startswith(shape.error)
    assert bool(crewai.error) is bool(shape.error)
    if shape.raw:
        assert crewai.output[-3] == shape.raw
    assert sum(map(len, crewai.asked)) == shape.calls
    if shape.side_by_side:
        crewai = crewai.unordered()

    for path in ("stock", "direct"):
        seen = watch(shape.build, path)
        if path == "direct" and shape.calls:
            assert "acall" in seen.ways
        if shape.side_by_side:
            seen = seen.unordered()
        seen.ways = crewai.ways
        for part, value in vars(crewai).items():
            assert getattr(seen, part) == value, (path, part)


@pytest.mark.parametrize(
    ("build", "stock_says"),
    [
        (shapes.context_too_long_at_once, "Agent completed execution but produced no final output."),
        (shapes.context_too_long_for_the_provider_as_text, "<summary>short</summary>"),
    ],
)
def test_an_answer_after_a_shortened_context_is_kept(build: Any, stock_says: str) -> None:
    """CrewAI 1.15.30 drops it: its flow takes "context too long" for an answer as well. The direct path gives it."""
    assert watch(build, "crewai").output[-3] == stock_says
    assert watch(build, "stock").output[-3] == stock_says
    assert watch(build, "direct").output[-3] == "fits now"


def test_a_context_that_may_not_be_shortened_fails_its_run_alone() -> None:
    """CrewAI raises SystemExit, which would end the loop of every crew; the direct path fails this run, untried."""
    with pytest.raises(SystemExit):
        watch(shapes.context_too_long_and_not_to_be_shortened, "stock")
    seen = watch(shapes.context_too_long_and_not_to_be_shortened, "direct")
    assert seen.error.startswith("RunStopped: Context length exceeded and user opted not to summarize")
    assert len(seen.asked[0]) == 1
    assert [kind for kind, *_ in seen.events][-2:] == ["task_failed", "crew_kickoff_failed"]


def test_max_execution_time_ends_the_call() -> None:
    """Both paths raise at the time; the stock one leaves the call running, which is heard of afterwards."""
    stock, direct = watch(shapes.max_execution_time_passed, "stock"), watch(shapes.max_execution_time_passed, "direct")
    assert direct.error == stock.error
    assert direct.error.startswith("TimeoutError: Task 'Say something' execution timed out")
    assert "llm_call_completed" not in [kind for kind, *_ in direct.events]


async def test_a_crew_that_plans_runs() -> None:
    """CrewAI's `akickoff` fails for it: its planner is a plain function that may not run where a loop runs."""
    stage = Stage()
    plan = '{"list_of_plans_per_task": [{"task_number": 1, "task": "Say something", "plan": " by all means"}]}'

    def planning() -> Any:
        return one(stage.llm("done"), crew_more={"planning": True, "planning_llm": ScriptedLLM([plan])})

    with pytest.raises(RuntimeError, match="invoked synchronously from within a running event loop"):
        await planning().akickoff()
    crew = planning()
    _offload.offload(crew)
    assert (await crew.akickoff()).raw == "done"
    assert "Say something by all means" in stage.llms[-1].asked[0]["messages"][-1]["content"]


async def _start(stage: Stage, crew: Any, path: Path = "direct") -> asyncio.Task[Any]:
    prepare(crew, path)
    context = contextvars.Context()
    context.run(_attempt.current.set, Attempt(0, lambda event: None, OpenGate()))  # type: ignore[arg-type]
    context.run(_crewai.silence)
    return asyncio.create_task(crew.akickoff(inputs=stage.inputs), context=context)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_cancel_reaches_the_llm_call() -> None:
    """The call that is in flight is cancelled, and nothing is asked afterwards."""
    stage = Stage()
    llm = stage.llm("never", latency=60)
    run = await _start(stage, one(llm))
    await _until(lambda: llm.asked)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert len(llm.asked) == 1


async def test_cancel_reaches_a_coworker() -> None:
    """Delegated work runs on the run's loop, in the same way; its cancel is not taken for a failure to try again."""
    stage = Stage()
    worker_llm = stage.llm("never", latency=60)
    crew = shapes.delegation_to_a_coworker_with_tools(stage)
    crew.agents[1].llm = worker_llm
    loops: list[Any] = []
    ask = type(worker_llm).acall

    class Watched(type(worker_llm)):  # type: ignore[misc]
        async def acall(self, *args: Any, **kwargs: Any) -> Any:
            loops.append(asyncio.get_running_loop())
            return await ask(self, *args, **kwargs)

    worker_llm.__class__ = Watched
    run = await _start(stage, crew)
    await _until(lambda: worker_llm.asked)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    # The tool's thread ends by itself: it was waiting for the coworker.
    await _until(lambda: not [t for t in threading.enumerate() if "coworker" in t.name])
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    assert loops == [asyncio.get_running_loop()]
    assert len(worker_llm.asked) == 1


async def test_a_slow_tool_leaves_the_loop_free() -> None:
    """The loop turns while a tool holds its thread, and the tool's run goes on when it is let go."""
    stage = Stage()
    held = threading.Event()

    class Slow(shapes.Search):
        def _run(self, query: str) -> str:
            stage.notes.append("held")
            assert held.wait(60)
            return "free"

    run = await _start(stage, one(stage.llm([call("a")], "done", native_tools=True), {"tools": [Slow()]}))
    await _until(lambda: stage.notes)
    other = await _start(Stage(), one(Stage().llm("quick")))
    assert (await other).raw == "quick"
    assert not run.done()
    held.set()
    assert (await run).raw == "done"


@pytest.mark.parametrize(
    "where", ["before", "after", "task", "crew", "guardrail", "llm guardrail", "condition", "memory", "timed memory"]
)
@pytest.mark.parametrize("path", ["stock", "direct"])
async def test_a_slow_function_of_the_user_leaves_the_loop_free(
    where: str, path: Path, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """Callbacks, guardrails, conditions and memory wait in a thread while other crews go on; order and result stay."""
    stage = Stage()
    held, entered = threading.Event(), threading.Event()

    def hold(what: Any) -> Any:
        entered.set()
        assert held.wait(60)
        return what

    def guard(output):
        hold(output)
        return True, output.raw

    def judge(messages: Any) -> str:
        hold(messages)
        return '{"valid": true, "feedback": null}'

    who = agent(stage.llm("done"))
    more = {"task": {"callback": hold}, "guardrail": {"guardrail": guard}}.get(where, {})
    if where == "llm guardrail":
        more = {"guardrail": shapes.LLMGuardrail("Be kind", stage.llm(judge))}
    tasks = [task(who, **more)]
    if where == "condition":
        tasks.append(shapes.ConditionalTask(description="2", expected_output="b", agent=who, condition=hold))
    memory: Any = None
    if "memory" in where:
        if where == "timed memory":
            who.max_execution_time = 60
        memory = shapes.Memory(llm=ScriptedLLM([judge]), embedder=shapes.embed, storage=str(tmp_path))
        request.addfinalizer(memory.close)
    around = {
        "memory": {"memory": memory},
        "timed memory": {"memory": memory},
        "before": {"before_kickoff_callbacks": [hold]},
        "after": {"after_kickoff_callbacks": [hold]},
        "crew": {"task_callback": hold},
    }.get(where, {})
    stage.inputs = {"topic": "AI"}
    crew = shapes.Crew(agents=[who], tasks=tasks, **around)
    run = await _start(stage, crew, path)
    await _until(entered.is_set)
    other = await _start(Stage(), one(Stage().llm("quick")))
    assert (await other).raw == "quick"
    assert not run.done()
    held.set()
    assert (await run).raw == "done"


async def test_cancel_closes_the_connection(server: Server) -> None:
    """The provider sees its client go away while it still works on the answer."""
    server.configure(hold=True)
    run = await _start(Stage(), one(openai(server)))
    await asyncio.to_thread(server.wait_for, lambda seen: seen.in_flight)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    seen = await asyncio.to_thread(server.wait_for, lambda seen: not seen.in_flight)
    assert [request.disconnected for request in seen.requests] == [True]


@pytest.mark.parametrize("stream", [False, True])
def test_a_real_client_is_told_and_tells_the_same(server: Server, stream: bool) -> None:
    """Through the OpenAI SDK and HTTP: the same requests, answers, usage and events, streamed and not."""

    def shape(stage: Stage) -> Any:
        who = agent(openai(server, stream=stream), tools=[shapes.Weigh(notes=stage.notes)])
        return shapes.Crew(agents=[who], tasks=[task(who, "Tell of topic: tea"), task(who, "Tell of topic: milk")])

    server.configure(answer="It weighs 2 kg", tokens_per_second=1_000)
    seen = {}
    for path in ("crewai", "stock", "direct"):
        seen[path] = watch(shape, path)
        seen[path].asked = [[asdict(r) for r in server.stats(prompts=True).requests]]
        for request in seen[path].asked[0]:
            for name in ("id", "arrived", "ended", "attempt"):
                del request[name]
        server.reset()
        server.configure(answer="It weighs 2 kg", tokens_per_second=1_000)
    assert seen["crewai"].output[-3] == "It weighs 2 kg"
    assert len(seen["crewai"].asked[0]) == 2
    assert seen["stock"] == seen["crewai"]
    assert seen["direct"] == seen["crewai"]
