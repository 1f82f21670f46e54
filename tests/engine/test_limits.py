"""Limits as the server sees them: adaptive concurrency, a ceiling that is changed under way, tokens a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    import pytest


def _inputs(n: int) -> list[dict[str, str]]:
    return [{"topic": f"T{i}"} for i in range(n)]


def test_auto_finds_its_way_down_and_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_concurrency="auto"` begins with 20, is cut by a 429, and says why."""
    monkeypatch.setattr("crew_nb._limits._kernel", {})
    server.configure(latency=0.02, faults=[{"kind": 429, "times": 1, "topic": "T3", "retry_after": 0.01}])
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(60), max_concurrency="auto", show=False)
    reasons = set()
    batch.taps.append(lambda event: reasons.add(batch.state().limit_reason))
    results = batch.wait(60)
    assert {r.status for r in results} == {"done"}
    assert server.stats().peak <= 40
    assert any("429" in reason for reason in reasons), reasons


def test_the_ceiling_is_changed_while_it_runs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """`batch.limit(n)` lets more runs begin at once."""
    monkeypatch.setattr("crew_nb._limits._kernel", {})
    server.configure(hold=True)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(8), max_concurrency=2, show=False)
    server.wait_for(lambda stats: stats.in_flight == 2)
    batch.limit(6)
    server.wait_for(lambda stats: stats.in_flight == 6)
    server.configure(hold=False)
    server.release()
    assert {r.status for r in batch.wait(30)} == {"done"}


def test_tokens_a_minute_hold_calls_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under `max_tpm` a second call waits until the first one's tokens have left the window; its row says so."""
    monkeypatch.setattr("crew_nb._limits._kernel", {})

    class Short(cnb._limits.TokenLimit):  # type: ignore[name-defined,misc]
        def __init__(self, per_minute: int) -> None:
            super().__init__(per_minute, window=0.3, guard=0.1)

    monkeypatch.setattr("crew_nb._limits.TokenLimit", Short)
    batch = cnb.kickoff_for_each(crews.one(llm(server)), _inputs(3), max_tpm=1000, show=False)
    assert {r.status for r in batch.wait(30)} == {"done"}
    waits = [event.detail for event in batch.events if type(event).__name__ == "WaitStarted"]
    assert "max_tpm=1000" in waits
