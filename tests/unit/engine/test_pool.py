"""The pool of threads for sync work: as many as are needed at once, all of them gone when idle."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import wait

import pytest

from crew_nb._engine import pool as _pool
from crew_nb._engine.pool import DaemonPool


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> DaemonPool:
    """A pool whose threads soon lose patience."""
    monkeypatch.setattr(_pool, "IDLE_SECONDS", 0.002)
    return DaemonPool("crew_nb-test")


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("crew_nb-test")]


def test_all_that_is_handed_in_runs_at_once(pool: DaemonPool) -> None:
    """64 calls that wait for each other: none waits for a free thread."""
    meeting = threading.Barrier(64)
    futures = [pool.submit(meeting.wait, 60) for _ in range(64)]
    assert sorted(f.result(60) for f in futures) == list(range(64))


def test_no_thread_stays_and_no_work_is_lost(pool: DaemonPool) -> None:
    """Work from many threads, in the very moments in which idle ones leave: each call is done, then all are gone."""
    rnd = random.Random(3)
    pauses = [rnd.uniform(0, 0.004) for _ in range(400)]

    def hand_in(part: list[float]) -> None:
        for pause in part:
            done.append(pool.submit(lambda value: value, pause))
            time.sleep(pause)

    done: list = []
    givers = [threading.Thread(target=hand_in, args=(pauses[n::4],)) for n in range(4)]
    for giver in givers:
        giver.start()
    for giver in givers:
        giver.join()
    assert not wait(done, 10).not_done
    assert sorted(f.result() for f in done) == sorted(pauses)
    end = time.monotonic() + 60
    while _threads():
        assert time.monotonic() < end, _threads()
        time.sleep(0.01)


def test_a_closed_pool_takes_no_more(pool: DaemonPool) -> None:
    """What it has is done; what comes later is refused."""
    assert pool.submit(int, "7").result(60) == 7
    pool.shutdown()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(int, "7")
