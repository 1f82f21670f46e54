"""Real kernels in which flows and agents run beside crews: all at once, told apart, killed and resumed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.store_kernel import FLOW, MIXED, SETUP
from tests.support.store_kernel import kernel as _kernel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kernel import Cell, Kernel
    from tests.support.server import Server


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sixty_four_flows_from_a_cell(server: Server, kernel: Kernel) -> None:
    """As many requests in flight as asked for, results in order, exact tokens, every row's steps, one board."""
    kernel.run(SETUP.format(url=server.base_url), timeout=300)
    kernel.run(FLOW)
    server.configure(hold=True)
    cell = kernel.run("batch = cnb.kickoff_for_each(Work, inputs('F', 64), max_concurrency=64, name='flows')")
    server.wait_for(lambda stats: stats.in_flight == 64, timeout=300)
    assert kernel.run("{r.status for r in batch}").result == "{'running'}"
    server.configure(hold=False, latency=0.5)
    server.release()
    kernel.run("results = await batch", timeout=300)
    assert kernel.run("right(results, 'F', 64)").result == "True"
    stats = server.stats()
    assert (stats.peak, len(stats.requests)) == (64, 128)
    assert kernel.run("results.usage.total_tokens").result == str(stats.total_tokens)
    assert kernel.run("{r.token_usage.successful_requests for r in results}").result == "{2}"
    steps = "[(t.spec.name, t.status, t.spec.parent) for t in r.state.tasks]"
    rows = eval(kernel.run(f"{{tuple({steps}) for r in results}}").result)
    assert len(rows) == 1
    assert {(name, status) for name, status, parent in next(iter(rows)) if parent is None} == {
        ("research", "done"),
        ("route", "done"),
        ("report", "done"),
        ("drop", "skipped"),
    }
    assert [(name, status) for name, status, parent in next(iter(rows)) if parent is not None] == [
        ("step 0", "done"),
        ("step 1", "done"),
    ]
    assert len(cell.displays) == 1, "one board"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kinds_are_told_apart(server: Server, kernel: Kernel) -> None:
    """Crews, flows and agents in one `gather`, 64 in flight: a marker of each run is in no other's answer or row."""
    kernel.run(SETUP.format(url=server.base_url), timeout=300)
    kernel.run(FLOW)
    kernel.run(MIXED)
    server.configure(hold=True)
    kernel.run("batch = cnb.gather(*mixed('M', 64), max_concurrency=64, show=False)")
    stats = server.wait_for(lambda stats: stats.in_flight == 64, timeout=300)
    assert {r.topic for r in stats.requests} == {f"Mx{i}" for i in range(64)}
    server.configure(hold=False, latency=(0.0, 0.2))
    server.release()
    kernel.run("results = await batch", timeout=300)
    assert kernel.run("[r.status for r in results].count('done')").result == "64"
    kernel.run("import re\ndef marks(what): return set(re.findall(r'Mx\\d+', str(what)))")
    assert kernel.run("[i for i, r in enumerate(results) if marks(r.raw) != {f'Mx{i}'}]").result == "[]"
    whole = "(r.state, r.output, r.state.log, [e for e in batch.events if e.run == i])"
    assert kernel.run(f"[i for i, r in enumerate(results) if marks({whole}) != {{f'Mx{{i}}'}}]").result == "[]"
    assert kernel.run("results.usage.total_tokens").result == str(server.stats().total_tokens)
    assert all(r.topics == [r.topic] for r in server.stats().requests)


def _told(cell: Cell) -> set[int]:
    """The runs of which the cell has printed that they are done."""
    return {int(line.split()[0]) for line in cell.stdout.splitlines() if line.endswith(" done")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_and_resumed(server: Server, tmp_path: Path) -> None:
    """Kill -9 among crews, flows and agents, a new kernel, the same cells: what was done is not asked for again."""
    launch = "batch = cnb.gather(*mixed('R', 24), resume=True, max_concurrency=4, show=False)"
    server.configure(latency=(0.02, 0.1))
    with _kernel(tmp_path) as kernel:
        for code in (SETUP.format(url=server.base_url), FLOW, MIXED, launch):
            kernel.run(code, timeout=300)
        cell = kernel.execute("async for run in batch.as_completed():\n    print(run.index, run.status, flush=True)")
        kernel.wait(lambda: {index % 3 for index in _told(cell)} == {0, 1, 2}, timeout=300)  # each kind
        kernel.kill()
    told = _told(cell)
    before = len(server.wait_for(lambda stats: stats.in_flight == 0).requests)
    with _kernel(tmp_path) as kernel:
        for code in (SETUP.format(url=server.base_url), FLOW, MIXED, launch):
            kernel.run(code, timeout=300)
        kernel.run("results = await batch", timeout=300)
        assert kernel.run("right(results, 'R', 24)").result == "True"
        kept = eval(kernel.run("{r.index for r in results if r.state.from_record}").result)
    asked = Counter(r.topic for r in server.stats().requests[before:])
    assert told <= kept
    assert not [index for index in kept if asked[f"Rx{index}"]]
    # Some were at their end: what they had done is on disk, too.
    assert set(asked) <= {f"Rx{index}" for index in range(24) if index not in kept}
