"""What runs will take, in words."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from crew_nb._cells import estimate as _estimate
from crew_nb._cells.estimate import Measured
from crew_nb._cells.form import Shape
from crew_nb._state import events as ev
from crew_nb._state import state as _state
from crew_nb._state.usage import Usage

SEEN = Measured(runs=2, seconds=3.2, each=3.0, calls=(4.0, 4.0), tokens=(2_000.0, 2_100.0), cost=(0.004, 0.006))


@pytest.mark.parametrize(
    ("runs", "calls", "options", "said"),
    [
        (1, 1, {}, "1 run, about 1 call."),
        (24, 4, {}, "24 runs, about 96 calls. Try the first 2 to see what they take."),
        (24, None, {}, "24 runs. Try the first 2 to see what they take."),
        (
            24,
            4,
            {"seen": SEEN, "tried": 2, "concurrency": 2},
            "24 runs, about 96 calls; the first 2 took 3 s: about 33 s, 45,000 tokens and $0.11 for the other 22.",
        ),
        (24, 4, {"seen": SEEN, "tried": 2, "max_rpm": 44}, None),
        (2, 4, {"seen": SEEN, "tried": 2}, "2 runs, about 8 calls; the first 2 took 3 s and are kept."),
        (24, None, {"seen": SEEN}, "24 runs, about 96 calls; the last 2 took 3 s: about 3 s, 49,000 tokens and $0.12."),
    ],
)
def test_what_runs_will_take(runs: int, calls: int | None, options: dict[str, Any], said: str | None) -> None:
    """From the crew before anything ran; from what the first runs took after that."""
    shape = Shape(title="t", fields=(), calls=calls)
    words = _estimate.estimate(runs, shape, **{"concurrency": 32, **options})
    if said is None:  # 88 calls at 44 a minute
        assert "about 2 min" in words or "about 120 s" in words
    else:
        assert words == said


def test_three_runs_give_a_range() -> None:
    """Two do not: what they would tell is too wide to be of use."""
    seen = replace(SEEN, runs=3, tokens=(1_000.0, 2_000.0, 3_000.0), calls=(4.0, 4.0, 4.0), cost=None)
    words = _estimate.estimate(13, Shape(title="t", fields=(), calls=4), concurrency=32, seen=seen, tried=3)
    assert "20,000 tokens (" in words
    low, high = (int(n.replace(",", "")) for n in words.partition("(")[2].partition(")")[0].split(" to "))
    assert (low, high) == (0, 48_000)


@pytest.mark.parametrize("seen", [3, 8, 30])
def test_the_range_holds_the_sum_in_nineteen_cases_of_twenty(seen: int) -> None:
    """Of what is left of two kinds of runs that differ, from a few of each."""
    rnd = random.Random(seen)
    held = 0
    for _ in range(2_000):
        kinds = [[rnd.gauss(mean, 30) for _ in range(seen + 40)] for mean in (100, 900)]
        found = _estimate.amount([(kind[:seen], 40) for kind in kinds])
        assert found.low is not None
        assert found.high is not None
        held += found.low <= sum(sum(kind[seen:]) for kind in kinds) <= found.high
    assert 0.935 < held / 2_000 < 0.965


def test_more_calls_are_to_be_expected_from_tools() -> None:
    """Then the figure is the least."""
    assert _estimate.estimate(2, Shape(title="t", fields=(), calls=1, exactly=False), concurrency=1) == (
        "2 runs, at least 2 calls."
    )


def test_only_runs_that_were_run_and_are_done_are_measured() -> None:
    """Failed ones and those from the record say nothing about time."""

    def run(index: int, status: Any, start: float, **more: Any) -> _state.RunState:
        state = _state.advance(_state.new_run(index, "", 0.0), ev.RunStarted(run=index, at=start))
        end = ev.RunFinished(run=index, at=start + 2, status=status, **more)
        return replace(_state.advance(state, end), usage=Usage(total_tokens=10), cost=0.5)

    def batch(*runs: _state.RunState) -> _state.BatchState:
        return _state.BatchState(key="k", name="", runs=runs, created=0.0)

    both = batch(run(0, "done", 1.0), run(1, "done", 2.0), run(2, "failed", 3.0), run(3, "done", 9.0, from_record=True))
    assert _estimate.measured(both) == Measured(
        runs=2, seconds=3.0, each=2.0, calls=(0.0, 0.0), tokens=(10.0, 10.0), cost=(0.5, 0.5)
    )
    assert _estimate.measured(batch(run(0, "failed", 1.0))) is None
