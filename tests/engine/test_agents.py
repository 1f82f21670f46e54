"""Single agents as runs: one request each, with an agent of the run's own."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm


class Fact(BaseModel):
    title: str
    score: int


def test_one_agent_over_many_requests(server: Server) -> None:
    """As many at once as asked for, in order, each with the request and the texts of its own input."""
    agent = crews.agent(llm(server), "Poet of {place}")
    server.configure(hold=True)
    rows = [{"messages": f"Write topic=T{i}", "place": f"P{i}"} for i in range(8)]
    batch = cnb.kickoff_for_each(agent, rows, max_concurrency=8, show=False)
    server.wait_for(lambda stats: stats.in_flight == 8)
    server.release()
    results = batch.wait(60)
    assert all(f"topic=T{i}:" in result.raw for i, result in enumerate(results))
    assert [type(r.output).__name__ for r in results] == ["LiteAgentOutput"] * 8
    prompts = {r.topic: r.prompt for r in server.stats(prompts=True).requests}
    assert all(f"Poet of P{i}" in prompts[f"T{i}"] for i in range(8))
    assert agent.role == "Poet of {place}"
    assert [[(t.status, len(t.calls)) for t in r.state.tasks] for r in results] == [[("done", 1)]] * 8
    assert results.usage.total_tokens == server.stats().total_tokens
    assert [r.output.usage_metrics["successful_requests"] for r in results] == [1] * 8


async def test_an_agent_asks_what_it_asks_by_itself(server: Server) -> None:
    """The same request as `kickoff_async()`."""
    agent = crews.agent(llm(server))
    await crews.agent(llm(server)).kickoff_async("Write topic=A")
    await cnb.kickoff(agent, {"messages": "Write topic=A"}, show=False, stream=False)
    first, second = (r.prompt for r in server.stats(prompts=True).requests)
    assert first == second


def test_messages_are_required() -> None:
    """And placeholders are; nothing is started."""
    agent = crews.agent(cnb.OfflineLLM(), "Poet of {place}")
    with pytest.raises(cnb.BlueprintError, match="needs messages, place"):
        cnb.kickoff(agent, show=False)


def test_an_agent_fills_a_model(server: Server) -> None:
    """`response_format` is an option of the verbs."""
    llm_ = cnb.OfflineLLM()
    run = cnb.kickoff(crews.agent(llm_), {"messages": "Write"}, response_format=Fact, show=False)
    run.wait(60)
    (result,) = run.batch.results
    assert isinstance(result.pydantic, Fact)


def test_crews_flows_and_agents_in_one_gather(server: Server) -> None:
    """Each in its place."""
    from tests.engine.test_flows import make

    shared = llm(server)
    batch = cnb.gather(
        (crews.one(shared), {"topic": "A"}),
        (make(shared), {"topic": "B"}),
        (crews.agent(shared), {"messages": "Write topic=C"}),
        show=False,
    )
    assert [f"topic={t}:" in r.raw for t, r in zip("ABC", batch.wait(60), strict=True)] == [True] * 3
