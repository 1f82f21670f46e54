"""Real kernels that are killed at random moments of a batch, and what the next one asks for."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.store_kernel import SETUP
from tests.support.store_kernel import kernel as _kernel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kernel import Cell, Kernel
    from tests.support.server import Request, Server


def _answered(requests: list[Request]) -> Counter[str]:
    return Counter(r.topic for r in requests if r.status == 200 and r.ended and not r.disconnected)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_at_random_moments_and_resume(server: Server, tmp_path: Path, rounds: int) -> None:
    """Kill -9 in the middle of a batch of 40, a new kernel, the same cell: nothing that was done is asked for again.

    Each kernel resumes what the one before left, then begins the batch in which it is killed.
    """
    rng = random.Random(20)
    launch = "batch = cnb.kickoff_for_each(build, inputs('R{n}'), resume=True, max_concurrency=8, show=False)"
    tell = "async for run in batch.as_completed():\n    print(run.index, run.status, flush=True)"
    server.configure(latency=(0.02, 0.15))
    told: set[int] = set()
    kept_in_all = 0
    for n in range(rounds + 1):
        with _kernel(tmp_path) as kernel:
            kernel.run(SETUP.format(url=server.base_url))
            if n:
                before = server.stats().requests
                kernel.run(launch.format(n=n - 1))
                kernel.run("results = await batch", timeout=120)
                kept = eval(kernel.run("{r.index for r in results if r.state.from_record}").result or "set()") or set()
                assert kernel.run(f"right(results, 'R{n - 1}')").result == "True"
                assert told <= kept, "what a cell said to be done is on disk"
                asked = Counter(r.topic for r in server.stats().requests[len(before) :])
                left = {f"R{n - 1}x{i}" for i in range(40) if i not in kept}
                answered = _answered(before)  # of a run's two tasks, those on disk are not asked again
                assert set(asked) <= left
                assert all(asked[topic] <= 2 <= asked[topic] + answered[topic] for topic in left)
                assert all(answered[f"R{n - 1}x{i}"] == 2 for i in kept)
                kept_in_all += len(kept)
            if n == rounds:
                break
            start = len(server.stats().requests)
            kernel.run(launch.format(n=n))
            cell = kernel.execute(tell)
            stop_at = start + rng.randint(4, 76)
            server.wait_for(lambda stats, at=stop_at: len(stats.requests) >= at, timeout=60)  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.1))
            kernel.kill()
            told = _told(kernel, cell)
        server.wait_for(lambda stats: stats.in_flight == 0)
    print(f"\n{rounds} rounds: {kept_in_all} of {rounds * 40} runs were kept, none was lost or asked for again")


def _told(kernel: Kernel, cell: Cell) -> set[int]:
    """The runs that a killed kernel's cell had said to be done."""
    kernel.listen(0.2)
    return {int(line.split()[0]) for line in cell.stdout.splitlines() if line.endswith(" done")}


JUDGED = """
def toned(topic, tone):
    return crews.chain(llm, 1)
judge = cnb.judge("Is it {name}?", llm=LLM(model="openai/gpt-4.1", base_url="{url}", api_key="test-key"))
sweep = lambda: cnb.sweep(toned, inputs("J", 10), {{"tone": ["dry", "warm"]}}, scores=[judge], name="judged",
                          resume=True, max_concurrency=2, show=False)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_while_judging(server: Server, tmp_path: Path) -> None:
    """Kill -9 while a judge scores what has ended: the next kernel asks it only of what is not on disk, once each."""
    setup = SETUP.format(url=server.base_url) + JUDGED.format(url=server.base_url, name="sound")
    count = "sum('judge' in row for row in {}.scores)"

    def judged() -> list[Request]:
        return [request for request in server.stats().requests if request.model == "gpt-4.1"]

    with _kernel(tmp_path) as kernel:
        kernel.run(setup, timeout=240)
        kernel.execute("results = await sweep()")
        server.wait_for(lambda _: sum(request.ended is not None for request in judged()) >= 6, timeout=120)
        kernel.kill()
    server.wait_for(lambda stats: stats.in_flight == 0)
    before = judged()
    assert len(before) < 20, "runs are scored as they end, and some had not ended"
    with _kernel(tmp_path) as kernel:
        kernel.run(setup, timeout=240)
        kernel.run("loaded = cnb.load('judged')")
        kept = int(kernel.run(count.format("loaded")).result or 0)
        assert 0 < kept <= len(before)
        kernel.run("results = await sweep()", timeout=120)
        assert kernel.run(count.format("results")).result == "20"
        assert len(judged()) - len(before) == 20 - kept
        # Another rubric is another judge.
        kernel.run(JUDGED.format(url=server.base_url, name="short"))
        kernel.run("results = await sweep()", timeout=120)
        assert len(judged()) - len(before) == 40 - kept
