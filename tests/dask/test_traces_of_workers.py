"""Spans of runs on a Dask cluster, which are made where the batch is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import crew_nb as cnb
from tests.support.collector import Collector, attributes, paths, tokens

if TYPE_CHECKING:
    import pytest
    from distributed import Client


def asking(topic: str) -> Any:
    """A crew whose tool asks a crew of its own."""
    from crewai.tools import tool

    import crew_nb as cnb
    from tests.support import crews

    quick: dict[str, Any] = {"latency": 0, "tokens_per_second": None}

    @tool
    def ask(query: str) -> str:
        """Ask another crew."""
        inner = crews.one(cnb.OfflineLLM(responses=lambda messages: f"inner {topic}", **quick))
        return cnb.kickoff(inner, {"topic": topic}, show=False).batch.wait()[0].raw

    return crews.one(cnb.OfflineLLM(**quick), tools=[ask])


async def test_runs_on_workers_are_traces_as_those_here(client: Client, monkeypatch: pytest.MonkeyPatch):
    """Each is whole and its own, with the worker's name; what a tool launches there is below the tool."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    collector = Collector()
    try:
        cnb.set_traces(collector.url, content=True)
        inputs = [{"topic": f"marker{n}x"} for n in range(8)]
        batch = cnb.kickoff_for_each(asking, inputs, on=client, show=False)
        (await batch).raise_for_errors()
    finally:
        cnb.set_traces(None)
        collector.close()
    assert collector.orphans() == []
    assert sorted(collector.runs()) == list(range(8))
    for run, spans in collector.runs().items():
        assert tokens(spans) == batch[run].usage.total_tokens
        words = b"".join(span.SerializeToString() for span in spans)
        assert f"marker{run}x".encode() in words
        assert all(f"marker{n}x".encode() not in words for n in range(8) if n != run)
        at = "invoke_workflow asking > task research > invoke_agent Researcher"
        found = list(paths(spans))
        assert found.count(f"{at} > chat offline") == 2
        assert found.count(f"{at} > execute_tool ask > chat offline") == 1
        assert {attributes(span).get("crew_nb.worker") for span in spans} - {None} <= {"0", "1"}
