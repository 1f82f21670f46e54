"""Launching and joining: ordered, isolated, one failing run leaves the others alone."""

from __future__ import annotations

import asyncio
import threading
import traceback

import pytest
from crewai import Agent, Crew, Task

import crew_nb as cnb
from crew_nb._record import record as _record
from tests.support import crews
from tests.support.server import Server, llm


def test_as_many_requests_are_in_flight_as_were_asked_for(server: Server) -> None:
    """32 crews, max_concurrency=32: the server holds all 32 at once, and each result has its own topic."""
    server.configure(hold=True)
    shared = llm(server)
    topics = [f"T{i}" for i in range(32)]
    batch = cnb.kickoff_for_each(
        lambda topic: crews.one(shared), [{"topic": t} for t in topics], max_concurrency=32, show=False
    )
    server.wait_for(lambda stats: stats.in_flight == 32)
    server.release()
    results = batch.wait(60)
    assert [run.status for run in batch] == ["done"] * 32
    assert all(f"topic={topic}:" in result.raw for topic, result in zip(topics, results, strict=True))
    assert all(request.topics == [request.topic] for request in server.stats().requests)


def test_max_concurrency_is_kept(server: Server) -> None:
    """12 runs with max_concurrency=4: the server never sees a fifth request."""
    server.configure(latency=0.05)
    shared = llm(server)
    batch = cnb.kickoff_for_each(
        lambda topic: crews.chain(shared, 2), [{"topic": f"T{i}"} for i in range(12)], max_concurrency=4, show=False
    )
    batch.wait(60)
    assert server.stats().peak == 4


async def test_a_batch_is_joined_from_any_loop(server: Server) -> None:
    """`await batch`, `await run` and `as_completed` work on the test's own loop, and in another thread's."""
    shared = llm(server)
    batch = cnb.gather((crews.one(shared), {"topic": "A"}), (crews.one(shared), {"topic": "B"}), show=False)
    results = await batch
    assert ["topic=A:" in results[0].raw, "topic=B:" in results[1].raw] == [True, True]
    run = cnb.kickoff(crews.one(shared), {"topic": "C"}, show=False)
    output = await run
    assert "topic=C:" in output.raw
    assert sorted([r.index async for r in batch.as_completed()]) == [0, 1]
    seen = []
    thread = threading.Thread(target=lambda: seen.append(asyncio.run(_join(batch))))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(seen[0]) == 2


async def _join(batch: cnb.Batch) -> cnb.Results:
    return await batch


async def test_each_run_comes_as_soon_as_it_has_ended(server: Server) -> None:
    """The quick run is handed out while the slow one is still in flight."""
    server.configure(topics={"topic=slow": {"hold": True}})
    shared = llm(server)
    batch = cnb.kickoff_for_each(crews.one(shared), [{"topic": "slow"}, {"topic": "quick"}], show=False)
    order = []
    async for run in batch.as_completed():
        order.append(run.index)
        if len(order) == 1:
            assert batch[0].status == "running"
            assert "topic=quick:" in batch.results[1].raw
            with pytest.raises(cnb.NotFinishedError, match="await"):
                _ = batch.results[0].raw
            server.configure(topics={})  # its request may not have come yet
            server.release()
    assert order == [1, 0]


def test_a_crew_with_shared_agents_and_the_same_crew_twice(server: Server) -> None:
    """Crews that share an agent, and one crew given twice, run side by side and are not mixed up."""
    worker = crews.agent(llm(server))
    made = [
        Crew(agents=[worker], tasks=[Task(description=f"About topic=S{i}", expected_output="x", agent=worker)])
        for i in range(3)
    ]
    results = cnb.gather(*made, made[0], show=False).wait(60)
    assert [f"topic=S{i}:" in r.raw for i, r in zip([0, 1, 2, 0], results, strict=True)] == [True] * 4


def test_a_factory_that_hands_out_one_crew_is_isolated(server: Server) -> None:
    """`lambda topic: crew` with one crew for all: every run still gets its own."""
    crew = crews.one(llm(server))
    batch = cnb.kickoff_for_each(lambda topic: crew, [{"topic": f"F{i}"} for i in range(4)], show=False)
    assert [f"topic=F{i}:" in r.raw for i, r in enumerate(batch.wait(60))] == [True] * 4


def test_agents_of_one_role_and_tasks_of_one_text_keep_their_places(server: Server) -> None:
    """Equal roles and equal texts are told apart by place, where `Crew.copy()` mixes them up."""
    shared = llm(server)
    first = Agent(role="Writer", goal="topic=GOAL-A", backstory="x", llm=shared)
    second = Agent(role="Writer", goal="topic=GOAL-B", backstory="x", llm=shared)
    tasks = [Task(description="Say it", expected_output="x", agent=a) for a in (first, second)]
    tasks.append(Task(description="Join", expected_output="x", agent=first, context=[tasks[0]]))
    crew = Crew(agents=[first, second], tasks=tasks)
    results = cnb.gather(crew, show=False).wait(60)
    topics = [r.topics for r in server.stats().requests]
    assert [t[0] for t in topics] == ["GOAL-A", "GOAL-B", "GOAL-A"]
    assert "GOAL-B" not in topics[2]
    assert len(results[0].tasks_output) == 3


def test_a_crew_that_ran_before_forgets_its_inputs(server: Server) -> None:
    """A Crew whose own kickoff had other inputs is run with the new ones."""
    crew = crews.one(llm(server))
    crew.kickoff(inputs={"topic": "OLD"})
    server.reset()
    result = cnb.kickoff(crew, {"topic": "NEW"}, show=False).wait(60)
    assert "topic=NEW:" in result.raw
    assert [r.topics for r in server.stats().requests] == [["NEW"]]


def test_one_failing_run_leaves_the_others_alone(server: Server) -> None:
    """One factory raises, one LLM answers 500: six results and two errors, each in its place, with its traceback."""
    server.configure(faults=[{"kind": 500, "topic": "T5"}])
    shared = llm(server)

    def build(topic: str) -> Crew:
        if topic == "T2":
            raise KeyError("no recipe for T2")
        return crews.one(shared)

    batch = cnb.kickoff_for_each(build, [{"topic": f"T{i}"} for i in range(8)], max_retries=0, show=False)
    results = batch.wait(60)
    assert [r.status for r in results] == ["done", "done", "failed", "done", "done", "failed", "done", "done"]
    assert len(results.outputs) == 6
    assert [e.index for e in results.errors] == [2, 5]
    assert isinstance(batch[2].error, KeyError)
    assert "no recipe for T2" in "".join(traceback.format_exception(batch[2].error))
    assert "in build" in batch[2].state.error.traceback
    assert "500" in batch[5].state.error.message or "Error" in batch[5].state.error.type
    with pytest.raises(cnb.RunFailedError, match="no recipe") as caught:
        _ = results[2].raw
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ExceptionGroup) as group:
        results.raise_for_errors()
    assert len(group.value.exceptions) == 2
    assert server.stats().by_topic["T5"] == 1


def test_tokens_are_exact_where_runs_share_an_llm(server: Server) -> None:
    """8 crews of three agents on one LLM object: the sum of the runs' usage is what the server handed out."""
    server.configure(tokens=17)
    shared = llm(server)
    batch = cnb.kickoff_for_each(crews.chain(shared), [{"topic": f"U{i}"} for i in range(8)], show=False)
    results = batch.wait(60)
    requests = server.stats().requests
    assert len(requests) == 24
    assert results.usage.completion_tokens == sum(r.completion_tokens for r in requests)
    assert results.usage.total_tokens == sum(r.prompt_tokens + r.completion_tokens for r in requests)
    assert sum(run.usage.total_tokens for run in batch) == results.usage.total_tokens
    assert all(run.usage.successful_requests == 3 for run in batch)
    assert all(r.output.token_usage.total_tokens == r.token_usage.total_tokens for r in results)


def test_a_fork_overlaps_and_its_join_gets_both(server: Server) -> None:
    """Two async tasks are in flight together; the third one's prompt has both their outputs."""
    server.configure(hold=True)
    batch = cnb.gather((crews.fork_join(llm(server)), {"topic": "FJ"}), show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    tasks = batch[0].tasks
    assert [t.status for t in tasks] == ["running", "running", "queued"]
    assert tasks[2].spec.joins == (0, 1)
    server.configure(hold=False)
    server.release()
    result = batch.wait(60)[0]
    assert [t.status for t in batch[0].tasks] == ["done"] * 3
    joined = server.stats(prompts=True).requests[2].prompt
    assert all(output.raw in joined for output in result.tasks_output[:2])


def drawn(server: Server, *tasks: tuple[bool, list[int] | str | None]) -> list[tuple[int, ...]]:
    """The joins of a crew of such tasks (async or not; its context) that was run; each reached its prompt."""
    shared, made = llm(server), []
    for n, (is_async, context) in enumerate(tasks):
        given = {} if isinstance(context, str) else {"context": context and [made[p] for p in context]}
        worker = crews.agent(shared, f"Worker {n}")
        text = f"Step {n} about topic=J"
        made.append(Task(description=text, expected_output="A note", agent=worker, async_execution=is_async, **given))
    run = cnb.kickoff(Crew(agents=[task.agent for task in made], tasks=made), show=False)
    said = [output.raw for output in run.batch.wait(60)[0].tasks_output]
    prompts = {
        n: r.prompt for n in range(len(made)) for r in server.stats(prompts=True).requests if f"Step {n} " in r.prompt
    }
    reached = [{p for p in range(n) if said[p] in prompts[n]} for n in range(len(made))]
    joins = [task.spec.joins for task in run.tasks]
    assert all(set(of) <= got for of, got in zip(joins, reached, strict=True))
    assert set().union(*joins) == set().union(*reached)
    return joins


def test_only_joins_that_reach_the_prompt_are_drawn(server: Server) -> None:
    """An async task gets what its context names, and no more; what nobody has taken reaches the next that takes all."""
    server.configure(tokens=7)
    new = "not said"
    assert drawn(server, (False, new), (True, new), (True, new), (False, new)) == [(), (), (), (0, 1, 2)]
    server.reset()
    assert drawn(server, (False, new), (False, None), (False, []), (False, [0]), (False, new)) == [
        (),
        (),
        (),
        (0,),
        (1, 2, 3),
    ]
    server.reset()
    assert drawn(server, (False, new), (True, [0]), (False, new), (False, new)) == [(), (0,), (1,), (2,)]


async def test_a_wait_that_is_given_up_takes_the_outcome_from_nobody(server: Server) -> None:
    """Whoever gives up `ended()` stops nothing; giving up one run stops that run, and others hear how it ended."""
    server.configure(hold=True)
    shared = llm(server)
    batch = cnb.kickoff_for_each(lambda topic: crews.one(shared), [{"topic": "A"}, {"topic": "B"}], show=False)
    await asyncio.to_thread(server.wait_for, lambda stats: stats.in_flight == 2)
    all_ended, first = asyncio.ensure_future(batch.ended()), asyncio.ensure_future(_output(batch[0]))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(batch.ended(), 0.01)
    assert [run.status for run in batch] == ["running", "running"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_output(batch[0]), 0.01)
    with pytest.raises(cnb.RunCancelledError):
        await first
    assert not all_ended.done()
    server.release()
    await all_ended
    assert [run.status for run in batch] == ["cancelled", "done"]


async def _output(run: cnb.Run) -> object:
    return await run


def test_ten_thousand_inputs_are_taken(server: Server) -> None:
    """10,000 runs are queued at once, and cancelled at once."""
    server.configure(hold=True)
    shared = llm(server)
    batch = cnb.kickoff_for_each(
        lambda topic: crews.one(shared), [{"topic": f"K{i}"} for i in range(10_000)], max_concurrency=4, show=False
    )
    server.wait_for(lambda stats: stats.in_flight == 4)
    batch.cancel()
    results = batch.wait(120)
    assert len(results) == 10_000
    assert {r.status for r in results} == {"cancelled"}
    _record.get().flush()


def test_one_agent_at_two_async_tasks(server: Server) -> None:
    """Tasks that run at once and share an agent, in a Crew and out of a factory: each is done by one of its own."""
    worker = crews.agent(llm(server))

    def build() -> Crew:
        branches = [
            Task(description=f"topic=P{n}", expected_output="x", agent=worker, async_execution=True) for n in range(2)
        ]
        join = Task(description="topic=JOIN", expected_output="x", agent=worker, context=branches)
        return Crew(agents=[worker], tasks=[*branches, join])

    results = cnb.gather(build(), build, show=False).wait(60)
    assert [r.status for r in results] == ["done", "done"]
    assert server.stats().by_topic == {"P0": 2, "P1": 2, "JOIN": 2}


def test_an_agent_that_only_a_task_names(server: Server) -> None:
    """A task's agent that is missing from `crew.agents` comes along."""
    shared = llm(server)
    listed, unlisted = crews.agent(shared, "Listed"), crews.agent(shared, "Unlisted")
    tasks = [Task(description=f"topic={a.role}", expected_output="x", agent=a) for a in (listed, unlisted)]
    crew = Crew(agents=[listed], tasks=tasks)
    assert [t.agent for t in cnb.gather(crew, show=False).wait(60)[0].tasks_output] == ["Listed", "Unlisted"]


def test_a_callback_that_gives_back_something_else(server: Server) -> None:
    """An `after_kickoff` callback with another result fails its run, with what to write, and hangs nobody."""
    crew = crews.one(llm(server))
    crew.after_kickoff_callbacks.append(lambda result: result.raw)
    result = cnb.kickoff(crew, {"topic": "x"}, show=False)
    with pytest.raises(cnb.RunFailedError, match="return the result"):
        result.wait(60)


def test_a_batch_as_the_last_line_of_a_cell_is_one_line(server: Server) -> None:
    """Its board is under the cell already; the line says how far it is, and how to see and join it."""
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), [{"topic": "A"}, {"topic": "B"}], show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    assert "2 running" in batch._repr_html_()
    assert "await batch" in batch._repr_html_()
    server.configure(hold=False)
    server.release()
    batch.wait(60)
    assert "2 done" in batch._repr_html_()
    assert "<table" not in batch._repr_html_()


def test_completion_shows_what_users_are_to_use() -> None:
    """Of the package, a batch and its results; each of these names is there."""
    batch = cnb.kickoff(crews.one(cnb.OfflineLLM(latency=0)), {"topic": "A"}, show=False).batch
    seen = {name for name in dir(batch) if not name.startswith("__")}
    assert seen == {
        "as_completed", "board", "cancel", "events", "limit", "name", "pause", "results", "resume", "retry", "runs",
        "status", "wait",
    }  # fmt: skip
    results = batch.wait(60)
    for thing in (batch, results, cnb):
        assert all(hasattr(thing, name) for name in dir(thing))
        assert not {"Any", "TYPE_CHECKING", "import_module", "loaded", "score_given"} & set(dir(thing))
    assert {"outputs", "errors", "to_frame", "compare", "save", "score"} <= set(dir(results))
    assert {name for name in dir(cnb) if not name.startswith("__")} == set(cnb.__all__)
