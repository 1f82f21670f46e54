"""The numbers of a batch: the same whether each summary starts from nothing or from what the last one counted."""

from __future__ import annotations

import dataclasses
import time

from crew_nb._board import timeline as _timeline
from crew_nb._board.summary import Summary, Tally, summarize
from crew_nb._state import events as ev
from crew_nb._state.state import advance
from tests.support.script import Script


def numbers(summary: Summary) -> dict[str, object]:
    """As plain values; sums of floats in another order differ in their last digits."""
    found = {f.name: getattr(summary, f.name) for f in dataclasses.fields(summary)}
    return {k: round(v, 9) if isinstance(v, float) else v for k, v in found.items()}


def test_a_tally_changes_no_number() -> None:
    """Through a whole batch, and when ended runs are tried again."""
    script = Script(60, width=8, failing=0.3, seed=5)
    tally = Tally()
    for at in (0.5, 3, 8, 20, 20, script.length):
        script.play(at)
        now = script.created + at
        assert numbers(summarize(script.state(), now, tally)) == numbers(summarize(script.state(), now))
    failed = next(r for r in script.runs if r.status == "failed")
    script.runs[failed.index] = advance(failed, ev.RunQueued(run=failed.index, at=now, attempt=2))
    again = summarize(script.state(), now + 1, tally)
    assert numbers(again) == numbers(summarize(script.state(), now + 1))
    assert again.counts["queued"] == 1


def test_the_clock_stands_still_between_an_end_and_a_retry() -> None:
    """What earlier tries took counts, the hour after them does not; in the timeline neither."""
    script = Script(8, width=4, failing=0.5, seed=5)
    script.play(script.length)
    before = summarize(script.state())
    hour = script.events[-1].at + 3600
    for run in [r for r in script.runs if r.status == "failed"]:
        again = advance(run, ev.RunQueued(run=run.index, at=hour, attempt=2))
        script.runs[run.index] = advance(again, ev.RunFinished(run=run.index, at=hour + 2, status="done", output="x"))
    after = summarize(script.state())
    assert [round(end - start) for start, end in after.idle] == [3600]
    assert round(after.elapsed - before.elapsed, 6) == 2
    assert round(_timeline.build(script.state()).length, 6) == round(after.elapsed, 6)


def test_ended_runs_are_counted_once() -> None:
    """A second summary of a thousand runs that have ended looks into none of them."""
    script = Script(1000, width=64)
    script.play(script.length)
    tally = Tally()
    summarize(script.state(), time.time(), tally)
    assert tally.take(script.state().runs) == []
    assert tally.counts.total() == 1000


def test_an_announced_wait_is_part_of_what_is_left() -> None:
    """A run that waits 30 more seconds for a 429 is not said to be over in 5."""
    script = Script(4, width=4)
    script.play(script.length)
    done = script.runs[0]
    assert done.started is not None
    begun = [
        ev.RunQueued(run=0, at=done.started),
        ev.RunStarted(run=0, at=done.started),
        ev.WaitStarted(run=0, at=done.started + 1, key="w", reason="retry", until=done.started + 31),
    ]
    run = done
    for event in begun:
        run = advance(run, event)
    script.runs[0] = run
    eta = summarize(script.state(), done.started + 1).eta
    assert eta is not None
    assert eta > 30
