"""Real kernels that are interrupted and restarted at random moments, and two of them on one store."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.support.store_kernel import FLOW, MIXED, SETUP
from tests.support.store_kernel import kernel as _kernel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kernel import Kernel
    from tests.support.server import Server


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("launch", "join"),
    [
        ("kickoff_for_each(build, inputs('I{n}')", "await batch"),
        ("kickoff_for_each(build, inputs('I{n}')", "batch.wait()"),
        ("gather(*mixed('I{n}', 40)", "await batch"),
    ],
    ids=["crews, awaited", "crews, waited for", "crews, flows and agents"],
)
def test_interrupts_at_random_moments(server: Server, kernel: Kernel, launch: str, join: str, rounds: int) -> None:
    """Whenever Interrupt comes, and however often: nothing is asked after it, and retry does what is missing."""
    rng = random.Random(launch + join)
    server.configure(latency=(0.02, 0.15))
    for code in (SETUP.format(url=server.base_url), FLOW, MIXED):
        kernel.run(code)
    kernel.run("cnb.kickoff(build, inputs('warm')[0], show=False).wait().raw")
    for n in range(rounds):
        server.reset()
        server.configure(latency=(0.02, 0.15))
        kernel.run("batch = None")
        code = f"batch = cnb.{launch.format(n=n)}, max_concurrency=8)\n{join}"
        cell = kernel.execute(code, stop_on_error=False)  # else ipykernel 6 drops the cell that comes next
        kernel.listen(rng.uniform(0.0, 1.5))
        for _ in range(rng.choice((1, 1, 2, 3))):
            kernel.interrupt()
            kernel.listen(rng.uniform(0.0, 0.2))
        kernel.join(cell, check=False)
        server.wait_for(lambda stats: stats.in_flight == 0)
        asked = len(server.stats().requests)
        kernel.listen(0.3)
        assert len(server.stats().requests) == asked, "a call began after the stop"
        if kernel.run("batch is None").result == "True":
            continue
        assert kernel.run("{r.status for r in batch} <= {'done', 'cancelled'}").result == "True"
        kernel.run("results = await batch.retry()")
        assert kernel.run(f"right(results, 'I{n}')").result == "True"
    kernel.run("import asyncio, time\nfrom crew_nb._engine.engine import engine")
    kernel.run("while asyncio.all_tasks(engine._loop): time.sleep(0.01)")


def test_two_kernels_resume_on_one_store(server: Server, tmp_path: Path) -> None:
    """The same cell in two kernels at once: each has all results, a third asks for nothing."""
    server.configure(latency=(0.02, 0.1))
    launch = "batch = cnb.kickoff_for_each(build, inputs('S'), resume=True, max_concurrency=8, show=False)"
    with _kernel(tmp_path) as first, _kernel(tmp_path) as second:
        for kernel in (first, second):
            kernel.run(SETUP.format(url=server.base_url))
        cells = [kernel.execute(f"{launch}\nresults = await batch") for kernel in (first, second)]
        for kernel, cell in zip((first, second), cells, strict=True):
            kernel.join(cell, timeout=120)
            assert kernel.run("right(results, 'S')").result == "True"
        asked = len(server.stats().requests)
        second.run(f"{launch}\nresults = await batch")
        assert second.run("sum(r.state.from_record for r in results)").result == "40"
        assert len(server.stats().requests) == asked
        first.run("stored = cnb.runs()")
        assert first.run("len(stored)").result == "3"


def test_restart_in_the_middle_and_resume(server: Server, tmp_path: Path) -> None:
    """Restart ends what is in flight; the same cells, run again, do only what is missing."""
    launch = "batch = cnb.kickoff_for_each(build, inputs('T', 16), resume=True, max_concurrency=4)"
    server.configure(latency=0.05)
    with _kernel(tmp_path) as kernel:
        kernel.run(SETUP.format(url=server.base_url))
        kernel.run(launch)
        server.wait_for(lambda stats: len(stats.requests) >= 12, timeout=60)
        kernel.restart()
        server.wait_for(lambda stats: stats.in_flight == 0)
        asked = len(server.stats().requests)
        kernel.run(SETUP.format(url=server.base_url))
        kernel.run(launch)
        kernel.run("results = await batch")
        assert kernel.run("right(results, 'T', 16)").result == "True"
        kept = int(kernel.run("sum(r.state.from_record for r in results)").result)
        tasks = "sum(t.taken_over for r in results if not r.state.from_record for t in r.state.tasks)"
        taken = int(kernel.run(tasks).result)
    assert kept > 0
    assert len(server.stats().requests) - asked == 2 * (16 - kept) - taken


def test_a_store_that_cannot_be_made_or_is_taken_away(server: Server, tmp_path: Path) -> None:
    """The batch goes on in memory and says so on its board."""
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    with _kernel(blocked) as kernel:
        kernel.run(SETUP.format(url=server.base_url))
        kernel.run("results = await cnb.kickoff_for_each(build, inputs('U', 4), name='kept nowhere')")
        assert kernel.run("right(results, 'U', 4)").result == "True"
        notes = kernel.run("print(results.state.notes)").stdout
        assert str(blocked) in notes
        kernel.run(f"import shutil\ncnb.set_record({str(tmp_path / 'home')!r})")
        server.configure(hold=True)
        kernel.run("batch = cnb.kickoff_for_each(build, inputs('V', 4))")
        server.wait_for(lambda stats: stats.in_flight == 4)
        kernel.run(f"shutil.rmtree({str(tmp_path / 'home')!r}, ignore_errors=True)")
        server.configure(hold=False)
        server.release()
        kernel.run("results = await batch")
        assert kernel.run("right(results, 'V', 4)").result == "True"
        assert kernel.run("[len(cnb.load(b.key)) for b in cnb.runs()]").result == "[4]"


@pytest.mark.parametrize(
    ("way", "launch"),
    [
        ("batch.cancel()", "kickoff_for_each(four, inputs('W', 32)"),
        ("Interrupt", "kickoff_for_each(four, inputs('W', 32)"),
        ("the board's Stop", "kickoff_for_each(four, inputs('W', 32)"),
        ("Interrupt", "gather(*mixed('W', 32)"),
        ("the board's Stop", "gather(*mixed('W', 32)"),
    ],
)
def test_stop_of_32_runs_of_some_calls(server: Server, kernel: Kernel, way: str, launch: str) -> None:
    """Stopped in their first calls, crews, flows and agents: no request comes after that, and all rows are final."""
    for code in (SETUP.format(url=server.base_url), FLOW, MIXED):
        kernel.run(code)
    kernel.run("cnb.kickoff(build, inputs('warm')[0], show=False).wait().raw")
    server.reset()
    server.configure(hold=True)
    kernel.run("four = lambda topic: crews.chain(llm, 4)")
    kernel.run(f"batch = cnb.{launch}, max_concurrency=32)")
    server.wait_for(lambda stats: stats.in_flight == 32)
    if way == "Interrupt":
        # The loop tells of it once the cell awaits.
        tell = "__import__('asyncio').get_running_loop().call_soon(print, 'joins')"
        joining = kernel.execute(f"{tell}\nawait batch", stop_on_error=False)
        kernel.wait(lambda: "joins" in joining.stdout)
        kernel.interrupt()
        kernel.join(joining, check=False)
        assert "Stopped. " in joining.stdout
    elif way == "batch.cancel()":
        kernel.run("batch.cancel()")
    else:
        board = kernel.comm(lambda comm: "_esm" in comm.state)
        kernel.send_comm(board, {"method": "custom", "content": {"t": "do", "name": "cancel"}})
    server.wait_for(lambda stats: stats.in_flight == 0)
    kernel.run("batch.wait_quietly(60)")
    assert kernel.run("{r.status for r in batch}").result == "{'cancelled'}"
    assert len(server.stats().requests) == 32
