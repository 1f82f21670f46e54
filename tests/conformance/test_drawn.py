"""Crews, flows and agents drawn at random give in crew_nb what they give by themselves, asked of the same server.

`--rounds=400` draws a thousand of each.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.conformance import drawn, drawn_flows

if TYPE_CHECKING:
    from tests.conformance.drawn import Seen
    from tests.support.server import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(0),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]
KINDS = {
    "crews": (drawn.crews(), drawn.watch, "akickoff", 2),
    "flows": (drawn_flows.flows(), drawn_flows.watch, "kickoff_async", 3),
    "agents": (drawn_flows.requests, drawn_flows.watch_agent, "kickoff_async", 3),
}
"""How each is drawn and run, and how many a round."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_at_random(server: Server, rounds: int, kind: str) -> None:
    """Outputs, states, request bodies, tool calls and callbacks of the better of the two ways; exact usage."""
    drawn_ones, watch, twin, number = KINDS[kind]
    figures: Counter[str] = Counter()

    @seed(rounds)
    @settings(
        max_examples=number * rounds,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what fails is told as it was drawn: to make it smaller takes hours
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn_ones)
    def check(one: Any) -> None:
        sync, other, ours = (watch(one, way, server) for way in ("kickoff", twin, "crew_nb"))
        better = the_better(sync, other)
        if ours.parts() not in [seen.parts() for seen in better]:
            assert ours.parts() == better[0].parts()
        assert ours.told == ours.tokens
        figures[kind] += 1
        figures["requests"] += len(ours.bodies)
        figures["failed"] += ours.failed
        figures[f"kickoff and {twin} differ"] += sync.parts() != other.parts()

    check()
    print(f"\n{dict(figures)}")
    assert figures["failed"] < figures[kind], "errors alone say little"


def the_better(*seen: Seen) -> list[Seen]:
    """The ways that came to an end, where one did."""
    return [one for one in seen if not one.failed] or list(seen)
