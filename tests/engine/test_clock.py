"""What time it is may jump; how long something took does not, and who holds a handle does not matter."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import crew_nb as cnb
from crew_nb._engine.engine import engine
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    import pytest

HOUR = 3_600.0


def test_a_clock_that_is_set_changes_no_duration_and_no_timeout(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock goes forward by hours at every look; the run is done, in seconds, and its events are in order."""
    real, looks = time.time, iter(range(10**9))
    shared = llm(server)
    cnb.kickoff(crews.one(shared), {"topic": "warm"}, show=False).wait()
    monkeypatch.setattr(time, "time", lambda: real() + HOUR * next(looks))
    batch = cnb.kickoff(crews.chain(shared, 3), {"topic": "x"}, idle_timeout=60, timeout=120, show=False).batch
    (result,) = batch.wait(60)
    assert result.status == "done"
    assert result.seconds is not None
    assert 0 <= result.seconds < 60
    times = [event.at for event in batch.events]
    assert times == sorted(times)
    assert all(0 <= call.finished - call.started < 60 for call in result.state.all_calls if call.finished)


def test_the_engine_holds_a_batch_that_nobody_holds_until_it_has_ended(server: Server) -> None:
    """Its runs are stopped at the process's end, as those of any other; once they have ended, it is let go of."""
    shared = llm(server)
    server.configure(hold=True)
    cnb.kickoff_for_each(crews.one(shared), [{"topic": "a"}, {"topic": "b"}], show=False)
    gc.collect()
    (held,) = engine.stoppers
    assert held.open_runs == 2
    server.configure(hold=False)
    server.release()
    held.wait(30)
    assert not engine.stoppers
