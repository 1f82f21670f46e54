"""Flows as runs: a fresh instance each, steps and what they begin in the row, tokens as the server counted them."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from crewai.flow.flow import Flow, and_, listen, or_, router, start
from crewai.flow.human_feedback import human_feedback
from crewai.tools import tool
from pydantic import BaseModel

import crew_nb as cnb
from crew_nb._board import static
from crew_nb._engine.engine import engine
from tests.support import crews
from tests.support.scripted_llm import ScriptedLLM, tool_call
from tests.support.server import Server, llm


class Draft(BaseModel):
    topic: str = ""
    rounds: int = 0
    name: str = "a field of the state, not of the flow"


def make(shared: Any) -> type[Flow[Draft]]:
    """Two steps, a router that sends it round once, a crew of two tasks, and a step that is never reached."""

    class Write(Flow[Draft]):
        @start()
        def plan(self) -> str:
            return f"plan of {self.state.topic}"

        @listen(or_(plan, "again"))
        def research(self, plan: str) -> str:
            return crews.chain(shared, 2).kickoff(inputs={"topic": self.state.topic}).raw

        @router(research)
        def review(self, notes: str) -> str:
            self.state.rounds += 1
            return "again" if self.state.rounds < 2 else "good"

        @listen("good")
        async def finish(self) -> str:
            return (await crews.agent(shared, "Editor").kickoff_async(f"finish topic={self.state.topic}")).raw

        @listen("bad")
        def drop(self) -> str:
            return "dropped"

    return Write


def test_flows_are_in_flight_together_and_counted_exactly(server: Server) -> None:
    """16 flows: as many requests at once as asked for, results in order, tokens as the server counted them."""
    flow = make(llm(server))
    server.configure(hold=True)
    rows = [{"topic": f"T{i}"} for i in range(16)]
    batch = cnb.kickoff_for_each(flow, rows, max_concurrency=16, show=False)
    server.wait_for(lambda stats: stats.in_flight == 16)
    server.configure(hold=False)
    server.release()
    results = batch.wait(120)
    assert [r.status for r in results] == ["done"] * 16
    assert all(f"topic=T{i}:" in result.raw for i, result in enumerate(results))
    assert [r.flow_state.topic for r in results] == [row["topic"] for row in rows]
    requests = server.stats().requests
    assert len(requests) == 16 * 5
    assert all(request.topics == [request.topic] for request in requests)
    assert {r.token_usage.successful_requests for r in results} == {5}
    assert sum(r.token_usage.total_tokens for r in results) == server.stats().total_tokens


def test_the_row_shows_steps_rounds_and_what_runs_inside(server: Server) -> None:
    """Listeners and routers are edges, a loop's rounds are counted, a branch not taken is skipped."""
    run = cnb.kickoff(make(llm(server)), {"topic": "A"}, show=False)
    run.wait(60)
    steps = {t.spec.name: t for t in run.tasks if t.spec.parent is None}
    assert {name: (t.status, t.rounds) for name, t in steps.items()} == {
        "plan": ("done", 1),
        "research": ("done", 2),
        "review": ("done", 2),
        "finish": ("done", 1),
        "drop": ("skipped", 0),
    }
    names = list(steps)
    assert [names[j] for j in steps["review"].spec.joins] == ["research"]
    assert "review" in [names[j] for j in steps["finish"].spec.joins]
    inside = [
        (t.spec.name, names[t.spec.parent], t.status, len(t.calls)) for t in run.tasks if t.spec.parent is not None
    ]
    assert inside == [
        ("step 0", "research", "done", 1),
        ("step 1", "research", "done", 1),
        ("step 0", "research", "done", 1),
        ("step 1", "research", "done", 1),
        ("Editor", "finish", "done", 1),
    ]


async def test_a_flow_gives_what_it_gives_by_itself(server: Server) -> None:
    """The same value, state and prompts as `kickoff_async()`."""
    flow = make(llm(server))
    bare = flow()
    value = await bare.kickoff_async(inputs={"topic": "A"})
    before = [r.prompt for r in server.stats(prompts=True).requests]
    run = cnb.kickoff(flow, {"topic": "A"}, show=False, stream=False)
    assert _unnumbered(await run) == _unnumbered(value)
    after = [r.prompt for r in server.stats(prompts=True).requests][len(before) :]
    assert sorted(map(_unnumbered, after)) == sorted(map(_unnumbered, before))
    (result,) = run.batch.results
    assert _unnumbered(result.output) == _unnumbered(value)
    assert result.flow_state.model_dump(exclude={"id"}) == bare.state.model_dump(exclude={"id"})
    assert bare.usage_metrics.total_tokens == result.token_usage.total_tokens


def _unnumbered(answer: str) -> str:
    """Without the number that the server gives to each answer."""
    return re.sub(r"answer \d+", "answer", answer)


def test_an_instance_is_made_anew_with_what_was_set_on_it(server: Server) -> None:
    """Its state is carried, its id is not; the user's own flow is not run."""
    flow = make(llm(server))()
    flow.state.rounds = 1
    batch = cnb.kickoff_for_each(flow, [{"topic": "A"}, {"topic": "B"}], show=False)
    results = batch.wait(60)
    assert [r.flow_state.rounds for r in results] == [2, 2]
    assert len({flow.state.id, *(r.flow_state.id for r in results)}) == 3
    assert (flow.state.topic, flow.state.rounds, flow.method_outputs) == ("", 1, [])


def test_what_cannot_be_made_anew_is_refused_with_the_function_to_write() -> None:
    """A constructor that needs something, attributes that a fresh one would not have."""

    class Needs(Flow[dict[str, Any]]):
        def __init__(self, tone: str) -> None:
            super().__init__()
            self.tone = tone

        @start()
        def begin(self) -> str:
            return self.tone

    with pytest.raises(cnb.BlueprintError, match=r"lambda: Needs\(tone=\.\.\.\)"):
        cnb.kickoff(Needs, show=False)
    with pytest.raises(cnb.UnfaithfulCopyError, match="its constructor needs tone"):
        cnb.kickoff(Needs("dry"), show=False)
    assert cnb.kickoff(lambda tone: Needs(tone), {"tone": "dry"}, show=False).wait(60) == "dry"


def test_a_failing_step_fails_its_run_alone_and_a_retry_begins_a_fresh_flow() -> None:
    """The error is the user's; the row names the step."""
    tries: list[int] = []

    class Fails(Flow[dict[str, Any]]):
        @start()
        def begin(self) -> int:
            tries.append(self.state["n"])
            if self.state["n"] == 1 and tries.count(1) == 1:
                raise ValueError("no luck")
            return self.state["n"] * 2

        @listen(and_(begin))
        def after(self, n: int) -> int:
            return n

    batch = cnb.kickoff_for_each(Fails, [{"n": 0}, {"n": 1}, {"n": 2}], show=False)
    results = batch.wait(60)
    assert [r.status for r in results] == ["done", "failed", "done"]
    assert isinstance(results[1].error, ValueError)
    assert [t.status for t in results[1].state.tasks] == ["failed", "cancelled"]
    batch.retry()
    assert [r.output for r in batch.wait(60)] == [0, 2, 4]


def test_a_stop_reaches_the_calls_of_a_step(server: Server) -> None:
    """No request comes after, in threads of steps and in crews inside them."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(make(llm(server)), [{"topic": f"T{i}"} for i in range(4)], show=False)
    server.wait_for(lambda stats: stats.in_flight == 4)
    batch.cancel()
    server.release()
    batch.wait(30)
    assert [r.status for r in batch.runs] == ["cancelled"] * 4
    assert len(server.stats().requests) == 4


def test_a_flow_asks_in_its_row(server: Server) -> None:
    """`ask()` and `@human_feedback` wait in the row and go on with the person's words; where nobody is, it fails."""

    class Asks(Flow[dict]):
        @start()
        def begin(self) -> str | None:
            return self.ask("Which tone?")

        @listen(begin)
        @human_feedback(message="Is it right?")
        def show(self, tone: str) -> str:
            return f"a {tone} text"

        @listen(show)
        def end(self, review: Any) -> str:
            return f"{review.output}: {review.feedback}"

    nobody = cnb.kickoff(Asks, show=False)
    with pytest.raises(cnb.RunFailedError, match="nobody can answer here"):
        nobody.wait(60)
    from crew_nb._cells import verbs

    plans = verbs._blueprint.plans_for([Asks])
    batch = verbs.Batch(plans, verbs.options(show=False))
    batch._driver.asks_by = "form"
    batch.start()
    for words in ("dry", "more of it"):
        _answer(batch, words)
    assert batch.wait(60)[0].raw == "a dry text: more of it"


def _answer(batch: cnb.Batch, words: str) -> None:
    """Say it to the question that the run waits for, once it asks."""
    while not (waits := batch.runs[0].state.waits):
        time.sleep(0.01)
    engine.call(batch._driver.answer, 0, waits[0].key, words, False)
    while any(w.key == waits[0].key for w in batch.runs[0].state.waits):
        time.sleep(0.01)


def test_a_finished_flow_is_kept_and_resumed(server: Server) -> None:
    """With its value and its state; nothing is asked again."""
    flow = make(llm(server))
    first = cnb.kickoff_for_each(flow, [{"topic": "A"}, {"topic": "B"}], show=False).wait(60)
    asked = len(server.stats().requests)
    again = cnb.kickoff_for_each(flow, [{"topic": "A"}, {"topic": "B"}], show=False, resume=True).wait(60)
    assert len(server.stats().requests) == asked
    assert [r.raw for r in again] == [r.raw for r in first]
    assert [dict(r.flow_state)["topic"] for r in again] == ["A", "B"]


def test_a_batch_that_a_step_launches_is_the_runs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """No board of its own; its rows open inside the step, its calls and tokens are as the server counted them."""
    shared = llm(server)

    class Outer(Flow[dict[str, Any]]):
        @start()
        def begin(self) -> str:
            rows = [{"topic": "A"}, {"topic": "B"}]
            return str(len(cnb.kickoff_for_each(lambda topic: crews.chain(shared, 2), rows).wait(240)))

    (result,) = cnb.kickoff(Outer, show=False).batch.wait(240)
    assert result.raw == "2"
    assert capsys.readouterr().out == ""
    stats = server.stats()
    assert (result.token_usage.successful_requests, len(stats.requests)) == (4, 4)
    assert result.token_usage.total_tokens == stats.total_tokens
    assert sum(call.kind == "llm" for call in result.state.all_calls) == 4
    (outer, *inside) = result.state.tasks
    assert (outer.spec.name, outer.status, len(outer.calls)) == ("begin", "done", 0)
    assert sorted((t.spec.name, t.spec.parent, t.status, len(t.calls)) for t in inside) == [
        (f"topic={topic}: step {n}", 0, "done", 1) for topic in "AB" for n in range(2)
    ]
    assert len({t.spec.crew for t in inside}) == 2


def test_batches_within_batches_open_within_each_other(server: Server) -> None:
    """A tool gathers flows, a step of which gathers crews: all stand in the one row, and are told apart."""
    shared = llm(server)

    class Middle(Flow[dict[str, Any]]):
        @start()
        def split(self) -> str:
            rows = [{"topic": f"{self.state['topic']}{n}"} for n in range(2)]
            return str(len(cnb.kickoff_for_each(lambda topic: crews.chain(shared, 2), rows).wait(240)))

        @listen(split)
        def end(self) -> str:
            if self.state["topic"] == "B":
                raise ValueError("it fails")
            return "ended"

    @tool
    def work() -> str:
        """Work."""
        results = cnb.gather((Middle, {"topic": "A"}), (Middle, {"topic": "B"})).wait(240)
        return str([r.status for r in results])

    asks = ScriptedLLM([[tool_call("work")], "worked"], native_tools=True)
    run = cnb.kickoff(crews.one(asks, tools=[work]), show=False)
    run.wait(240)
    tasks = run.state.tasks
    assert run.state.own_tasks == tasks[:1]
    flows = {t.spec.name: (t.status, t.spec.parent) for t in tasks if t.spec.is_step}
    assert flows == {
        "topic=A: split": ("done", 0),
        "topic=A: end": ("done", 0),
        "topic=B: split": ("done", 0),
        "topic=B: end": ("failed", 0),
    }
    crews_ = [t for t in tasks[1:] if not t.spec.is_step]
    assert {t.spec.name for t in crews_} == {
        f"topic={x}{n}: step {m}" for x in "AB" for n in range(2) for m in range(2)
    }
    assert all(tasks[t.spec.parent].spec.name == f"{t.spec.name[:7]}: split" for t in crews_ if t.spec.parent)
    assert {(t.status, len(t.calls)) for t in crews_} == {("done", 1)}
    assert len({t.spec.crew for t in crews_}) == 4
    assert all(tasks[j].spec.crew == t.spec.crew for t in crews_ for j in t.spec.joins)
    assert run.usage.successful_requests == len(server.stats().requests) + 2 == 10
    assert run.state.waits == ()
    drawn = str(static.board(run.batch.state()))
    assert f"{len(tasks) - 1} inside" in drawn
    assert "research › topic=B1: step 0" in drawn


@pytest.mark.parametrize("kind", ["flow", "agent"])
def test_a_stop_and_a_timeout_reach_flows_and_agents(kind: str, server: Server) -> None:
    """No request comes after them and none stays open, as the server sees it; tried again, all come to their end."""
    subject: Any = make(llm(server)) if kind == "flow" else crews.agent(llm(server), "Editor of {topic}")
    rows = [{"topic": f"T{i}", **({"messages": f"topic=T{i}"} if kind == "agent" else {})} for i in range(4)]
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(subject, rows, show=False)
    server.wait_for(lambda stats: stats.in_flight == 4)
    batch.cancel()
    assert {r.status for r in batch.wait(120)} == {"cancelled"}
    stats = server.wait_for(lambda stats: stats.in_flight == 0)
    assert [r.disconnected for r in stats.requests] == [True] * 4
    assert {r.state.dropped_calls for r in batch} == {0}
    server.configure(hold=False)
    assert {r.status for r in batch.retry().wait(240)} == {"done"}
    server.reset()
    server.configure(hold=True)
    late = cnb.kickoff_for_each(subject, rows, show=False, idle_timeout=1.0)
    assert {type(r.error).__name__ for r in late.wait(120)} == {"RunTimeoutError"}
    asked = len(server.stats().requests)
    server.wait_for(lambda stats: stats.in_flight == 0)
    assert len(server.stats().requests) == asked <= 4


@pytest.mark.parametrize("way", ["call", "streamed", "kickoff", "loop"])
def test_a_stop_closes_what_a_plain_step_waits_for(way: str, server: Server) -> None:
    """A step that asks an LLM itself, has a crew do it, or runs a loop of its own: no request of it stays open."""
    shared: Any = llm(server, stream=way == "streamed")
    ways: dict[str, Any] = {
        "kickoff": lambda topic: crews.one(shared).kickoff(inputs={"topic": topic}),
        "loop": lambda topic: asyncio.run(crews.one(shared).akickoff(inputs={"topic": topic})),
    }

    class Plain(Flow[Draft]):
        @start()
        def ask(self) -> str:
            return str(ways.get(way, lambda topic: shared.call(f"topic={topic}"))(self.state.topic))

    server.configure(hold=True)
    batch = cnb.kickoff_for_each(Plain, [{"topic": f"T{i}"} for i in range(3)], show=False)
    server.wait_for(lambda stats: stats.in_flight == 3)
    batch.cancel()
    assert {r.status for r in batch.wait(60)} == {"cancelled"}
    stats = server.wait_for(lambda stats: stats.in_flight == 0)
    assert [r.disconnected for r in stats.requests] == [True] * 3
    assert {r.state.dropped_calls for r in batch} == {0}


@pytest.mark.parametrize("begun", ["agent", "crew", "crew in the background", "flow", "agent alone"])
def test_what_crewai_holds_a_loop_for_waits_in_a_thread(begun: str) -> None:
    """An LLM's guardrail, and a flow in a step, ask on another loop while CrewAI holds this one: both would hang."""
    shared = cnb.OfflineLLM(responses=['{"valid": true, "feedback": null}'])
    guard: Any = {"guardrail": "Be kind"}

    class Inner(Flow[dict]):  # type: ignore[type-arg]
        @start()
        async def work(self) -> str:
            return (await crews.one(shared).akickoff({"topic": "A"})).raw

    class Outer(Flow[dict]):  # type: ignore[type-arg]
        @start()
        async def work(self) -> str:
            if begun == "flow":
                return str(Inner().kickoff())
            if begun == "agent":
                return (await crews.agent(shared, **guard).kickoff_async("Write")).raw
            more = {**guard, "async_execution": "background" in begun}
            return (await crews.one(shared, **more).akickoff({"topic": "A"})).raw

    if begun == "agent alone":
        run = cnb.kickoff(crews.agent(shared, **guard), {"messages": "Write"}, show=False)
    else:
        run = cnb.kickoff(Outer, show=False)
    run.wait(60)
    assert run.status == "done"
    assert run.usage.successful_requests == (1 if begun == "flow" else 2)
