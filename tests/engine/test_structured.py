"""Structured outputs over HTTP: a board changes neither what an LLM is asked nor what comes back."""

from __future__ import annotations

from typing import Any

import pytest

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm


def _report(result: Any) -> crews.Report:
    return result.pydantic or crews.Report(**result.json_dict)


@pytest.mark.parametrize("streams", ["by the board", "by the LLM", "not"])
@pytest.mark.parametrize("kind", ["output_pydantic", "output_json"])
@pytest.mark.parametrize("tools", [[], [crews.search]], ids=["no tools", "tools"])
def test_what_is_asked_has_the_schema(server: Server, streams: str, kind: str, tools: list[Any]) -> None:
    """As under bare CrewAI: as many requests, as many with the schema, and every token is counted."""
    model = llm(server, stream=streams == "by the LLM")
    crews.one(model, tools=tools, **{kind: crews.Report}).kickoff({"topic": "Mars"})
    bare = server.stats()
    server.reset()
    run = cnb.kickoff(
        crews.one(model, tools=tools, **{kind: crews.Report}),
        {"topic": "Mars"},
        show=False,
        stream=streams == "by the board" or None,
    )
    assert _report(run.wait(60)).tags
    seen = server.stats()
    assert [r.structured for r in seen.requests] == [r.structured for r in bare.requests]
    assert run.usage.total_tokens == seen.total_tokens


@pytest.mark.parametrize("streams", [False, True])
def test_a_conversion_passes_the_gate(server: Server, streams: bool) -> None:
    """An answer that is no JSON is converted by a call that is counted, limited and shown like any other."""
    server.configure(topics={"topic=": {"answer": "Mars is red, its score is 7."}})
    crew = crews.one(llm(server), tools=[crews.search], output_json=crews.Report)
    run = cnb.kickoff(crew, {"topic": "Mars"}, show=False, stream=streams)
    assert crews.Report(**(run.wait(60).json_dict or {})).tags
    seen = server.stats()
    assert [r.structured for r in seen.requests] == [False, True]
    assert run.usage.total_tokens == seen.total_tokens
    assert [call.kind for call in run.state.all_calls] == ["llm", "llm"]
