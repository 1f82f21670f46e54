"""The board's Stop in JupyterLab in Chromium, over real crews that talk to a real server."""

from __future__ import annotations

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
TELL = "print(sorted({run.status for run in batch}))"


def test_no_request_comes_after_stop_was_pressed(lab: Lab, browser: Browser, server: Server) -> None:
    """32 crews of 4 calls, stopped in their first: nothing is asked for later, and every row says so."""
    lab.write("stop.ipynb", [SETUP.format(url=server.base_url), LAUNCH, TELL])
    with lab.open("stop.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        server.reset()
        server.configure(hold=True)
        page.run(1)
        board = page.board()
        server.wait_for(lambda stats: stats.in_flight == 32)
        board.get_by_role("button", name="Stop").click()
        board.locator(".cnb-chip", has_text="32 cancelled").wait_for()
        server.wait_for(lambda stats: stats.in_flight == 0)
        page.run(2)
        page.done(2)
        assert page.output(2).strip() == "['cancelled']"
        assert len(server.stats().requests) == 32
