"""The board's Stop in JupyterLab in Chromium, over real crews that talk to a real server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.lab import Lab
    from tests.support.server import Server

SETUP = """
from crewai import LLM
import crew_nb as cnb
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build(topic):
    return crews.chain(llm, 4)
output = cnb.kickoff(build, {{"topic": "warm"}}, show=False).wait()
"""
LAUNCH = "batch = cnb.kickoff_for_each(build, [{'topic': f'T{i}'} for i in range(32)], max_concurrency=32)"
TELL = "print(sorted({run.status for run in batch}), max(run.finished for run in batch))"


def test_no_request_comes_after_stop_was_pressed(lab: Lab, browser: Browser, server: Server) -> None:
    """32 crews of 4 calls, stopped after 1.2 s: nothing is asked for later, and every row says so."""
    lab.write("stop.ipynb", [SETUP.format(url=server.base_url), LAUNCH, TELL])
    with lab.open("stop.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        server.reset()
        server.configure(latency=0.5)
        page.run(1)
        board = page.board()
        server.wait_for(lambda stats: stats.requests, timeout=60)
        page.page.wait_for_timeout(1200)
        stopped = time.time()
        board.get_by_role("button", name="Stop").click()
        clicked = time.time()
        board.locator(".cnb-chip", has_text="cancelled").wait_for()
        server.wait_for(lambda stats: stats.in_flight == 0)
        page.page.wait_for_timeout(1000)
        stats = server.stats()
        assert not [request for request in stats.requests if request.arrived > clicked + 0.5]
        assert len(stats.requests) < 32 * 4
        page.run(2)
        page.done(2)
        words, final = page.output(2).strip().rsplit(" ", 1)
        assert words in ("['cancelled']", "['cancelled', 'done']")
        late = [request for request in stats.requests if request.arrived > stopped]
        seconds = float(final) - stopped
        print(f"\n{len(stats.requests)} requests, {len(late)} after the click began, rows final after {seconds:.2f} s")
