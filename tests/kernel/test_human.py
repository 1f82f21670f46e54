"""A person answers in the board's form, in real kernels of both generations."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@pytest.fixture(params=["this ipykernel", "ipykernel 6.29"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kernel]:
    """A live kernel of each generation, with a record of its own."""
    python = sys.executable if request.param == "this ipykernel" else request.getfixturevalue("ipykernel_6")
    with Kernel(python, env={"CREW_NB_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}) as started:
        yield started


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
