"""Flows, agents and definitions behind routes, as crews are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.engine.test_flows import make
from tests.support import crews
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.serve.conftest import Site
    from tests.support.server import Server

    Make = Callable[..., Site]

GREETING = {
    "schema": "crewai.flow/v1",
    "name": "greeting",
    "state": {"type": "dict", "default": {"topic": "the sea"}},
    "methods": {"greet": {"start": True, "do": {"call": "expression", "expr": "'On ' + state.topic"}}},
}


async def ask(client: httpx.AsyncClient, site: Site, *inputs: dict[str, Any]) -> tuple[int, Any]:
    answer = await client.post(site.research, json={"inputs": list(inputs)}, timeout=300)
    return answer.status_code, answer.json()


async def test_a_flow(site: Make, client: httpx.AsyncClient, server: Server):
    """Its inputs go into the state; the answer has the value, and the tokens of the crew and the agent in it."""
    code, answer = await ask(client, site(make(llm(server))), {"topic": "A"}, {"topic": "B"})
    assert code == 200
    assert [r["status"] for r in answer["results"]] == ["done", "done"]
    assert [f"topic={t}:" in r["raw"] for t, r in zip("AB", answer["results"], strict=True)] == [True, True]
    assert sum(r["usage"]["total_tokens"] for r in answer["results"]) == server.stats().total_tokens
    assert len(server.stats().requests) == 10


async def test_an_agent(site: Make, client: httpx.AsyncClient, server: Server):
    """The request and its placeholders are the fields, and required."""
    made = site(crews.agent(llm(server), "Editor of {kind}"))
    code, answer = await ask(client, made, {"messages": "topic=A please", "kind": "prose"})
    assert (code, answer["results"][0]["status"]) == (200, "done")
    assert "topic=A" in answer["results"][0]["raw"]
    code, answer = await ask(client, made, {"kind": "prose"})
    assert (code, answer["detail"][0]["loc"][-1]) == (422, "messages")
    assert len(server.stats().requests) == 1


async def test_a_definition(site: Make, client: httpx.AsyncClient):
    """A flow's declaration starts behind a route, too."""
    code, answer = await ask(client, site(GREETING), {"topic": "tides"})
    assert (code, answer["results"][0]["raw"]) == (200, "On tides")
