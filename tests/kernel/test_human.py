"""A person answers in the board's form, in real kernels of both generations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.kernel import Cell, Kernel
    from tests.support.server import Server

SETUP = """
from crewai import LLM
import crew_nb as cnb
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build(topic):
    return crews.one(llm, human_input=True)
def asked():
    return [[w.key for w in run.state.waits if w.reason == "person"] for run in batch]
inputs = [{{"topic": f"T{{i}}"}} for i in range(2)]
"""


def test_the_form_approves_and_sends_feedback(server: Server, kernel: Kernel) -> None:
    """Two runs wait at once, one is approved and one gets feedback by the board's messages, while other cells run."""
    kernel.run(SETUP.format(url=server.base_url))
    kernel.run("batch = cnb.kickoff_for_each(build, inputs)")
    board = kernel.comm(lambda comm: "_esm" in comm.state)

    def say(run: int, text: str, *, approve: bool) -> None:
        kernel.run(f"import time\nwhile not asked()[{run}]: time.sleep(0.02)")
        key = kernel.run(f"print(asked()[{run}][0])").stdout.strip()
        content: dict[str, Any] = {"t": "do", "name": "answer", "run": run, "key": key, "text": text}
        kernel.send_comm(board, {"method": "custom", "content": {**content, "approve": approve}})

    server.wait_for(lambda stats: len(stats.requests) == 2, timeout=60)
    say(1, "", approve=True)
    say(0, "Make it shorter, please", approve=False)
    server.wait_for(lambda stats: len(stats.requests) == 3)
    assert "Make it shorter, please" in server.stats(prompts=True).requests[2].prompt
    say(0, "", approve=True)
    assert kernel.run("[r.status for r in await batch]").result == "['done', 'done']"
    assert len(server.stats().requests) == 3


def hears(kernel: Kernel, join: str) -> bool:
    """Whether the board's messages reach this kernel while a cell joins."""
    return "await" in join and kernel.run("import ipykernel; ipykernel.version_info >= (7, 4)").result == "True"


def launch_and_join(kernel: Kernel, server: Server, join: str) -> tuple[Cell, bool]:
    """Two runs that wait for a person, in a cell that joins; and whether it asks for them itself."""
    kernel.run(SETUP.format(url=server.base_url))
    heard = hears(kernel, join)
    cell = kernel.execute(f"batch = cnb.kickoff_for_each(build, inputs)\nresults = {join}")
    server.wait_for(lambda stats: len(stats.requests) == 2, timeout=60)
    if heard:
        kernel.listen(1)
        assert not kernel.prompts
    else:
        kernel.wait(lambda: kernel.prompts)
    return cell, not heard


@pytest.mark.parametrize("join", ["batch.wait()", "await batch"])
def test_a_cell_that_joins_asks_where_the_form_is_not_heard(server: Server, kernel: Kernel, join: str) -> None:
    """Two runs are asked at the prompt of the cell that waits for them: one gets feedback, then both approval."""
    cell, asks = launch_and_join(kernel, server, join)
    if not asks:
        board = kernel.comm(lambda comm: "_esm" in comm.state)
        kernel.send_comm(board, {"method": "custom", "content": {"t": "do", "name": "cancel"}})
        kernel.join(cell)
        assert kernel.run("[r.status for r in results]").result == "['cancelled', 'cancelled']"
        return
    prompts = [kernel.answer("Make it shorter, please")]
    server.wait_for(lambda stats: len(stats.requests) == 3)
    prompts += [kernel.answer(""), kernel.answer("")]
    kernel.join(cell)
    assert kernel.run("[r.status for r in results]").result == "['done', 'done']"
    assert "Make it shorter, please" in server.stats(prompts=True).requests[2].prompt
    assert all("Feedback (empty: approve)" in prompt for prompt in prompts)
    assert {prompt.split("(")[0].strip() for prompt in prompts} == {"run 0", "run 1"}


@pytest.mark.parametrize("join", ["batch.wait()", "await batch"])
def test_interrupt_while_a_person_is_asked_stops_the_batch(server: Server, kernel: Kernel, join: str) -> None:
    """The cell is back, the runs are cancelled, and the kernel lives."""
    cell, _ = launch_and_join(kernel, server, join)
    kernel.interrupt()
    kernel.join(cell, check=False)
    assert cell.error.startswith(("KeyboardInterrupt", "CancelledError"))
    assert "0 of 2 runs are done" in cell.stdout
    kernel.run("batch.wait_quietly(60)")
    assert kernel.run("[r.status for r in batch]").result == "['cancelled', 'cancelled']"
