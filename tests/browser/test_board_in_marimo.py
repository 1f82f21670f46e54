"""The board in marimo's editor in Chromium, over real crews that talk to a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.marimo import Marimo, MarimoApp, notebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

    from tests.support.marimo import MarimoPage
    from tests.support.server import Server

SETUP = """
from crewai import LLM
import crew_nb as cnb
from tests.support.crews import one
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
print(cnb.environment())
"""
LAUNCH = "batch = cnb.kickoff_for_each(lambda: one(llm), [{'topic': f'T{i}'} for i in range(3)], name='topics')"
JOIN = """
results = await batch
print(f"joined: {len(results.outputs)} of {len(results)}")
"""


def book(server: Server) -> str:
    """A notebook that launches in one cell and joins in the next."""
    setup = SETUP.format(url=server.base_url)
    return notebook([(setup, "", "cnb, llm, one"), (LAUNCH, "cnb, llm, one", "batch"), (JOIN, "batch", "")])


@pytest.fixture(scope="module")
def marimo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marimo]:
    """A marimo."""
    with Marimo(tmp_path_factory.mktemp("marimo")) as found:
        yield found


def board(page: MarimoPage) -> Locator:
    """The board under the launching cell."""
    return page.cell(1).locator(".cnb-board")


@pytest.mark.timeout(600)
def test_the_board_lives_while_a_cell_awaits(marimo: Marimo, browser: Browser, server: Server) -> None:
    """All cells are run; the awaiting one holds the kernel, and yet rows open, move, and are stopped one and all."""
    server.reset()
    server.configure(hold=True)
    with marimo.open("live.py", book(server), browser) as page:
        page.run_all()
        server.wait_for(lambda stats: stats.in_flight == 3, timeout=180)
        board(page).locator(".cnb-chip", has_text="3 running").wait_for()
        board(page).locator('.cnb-row[data-run="0"]').click()
        board(page).get_by_role("button", name="Stop this run").click()
        board(page).locator(".cnb-chip", has_text="1 cancelled").wait_for()
        server.configure(hold=False)
        board(page).locator(".cnb-chip", has_text="2 done").wait_for()
        page.cell(2).get_by_text("joined: 2 of 3").wait_for()
        board(page).get_by_role("button", name="Retry this run").click()
        board(page).locator(".cnb-chip", has_text="3 done").wait_for()
        assert len(server.stats().requests) == 4, (
            "what was pressed while the cell awaited is not done once more after it"
        )
        assert "marimo" in page.cell(0).inner_text()
        exported = page.exported()
        page.page.goto(f"{page.url}/health")
        page.page.route("**/exported.html", lambda route: route.fulfill(body=exported, content_type="text/html"))
        page.page.goto(f"{page.url}/exported.html")
        page.page.locator(".cnb-board .cnb-chip", has_text="3 done").wait_for()
        assert page.errors == []


@pytest.mark.timeout(600)
def test_what_a_cell_launched_is_stopped_with_it(marimo: Marimo, browser: Browser, server: Server) -> None:
    """Marimo's Stop stops what the cell awaits; a cell that is run again stops its batch, and says so."""
    server.reset()
    server.configure(hold=True)
    with marimo.open("again.py", book(server), browser) as page:
        page.run_all()
        server.wait_for(lambda stats: stats.in_flight == 3, timeout=180)
        page.interrupt(2)
        page.cell(2).get_by_text("Stopped. 0 of 3 runs are done").wait_for()
        board(page).locator(".cnb-chip", has_text="3 cancelled").wait_for()
        server.wait_for(lambda stats: stats.in_flight == 0)
        page.run(1)
        server.wait_for(lambda stats: stats.in_flight == 3)
        page.interrupt(2)
        page.cell(2).get_by_text("Stopped. 0 of 3 runs are done").wait_for()
        board(page).get_by_role("button", name="Retry stopped").click()
        server.wait_for(lambda stats: stats.in_flight == 3)
        page.run(1)
        page.page.get_by_text("under way, which was stopped").first.wait_for()
        server.wait_for(lambda stats: len(stats.requests) == 12 and stats.in_flight == 3)
        server.release()
        page.cell(2).get_by_text("joined: 3 of 3").wait_for()
        board(page).locator(".cnb-chip", has_text="3 done").wait_for()
        assert board(page).count() == 1
        assert page.errors == []


@pytest.mark.timeout(600)
def test_an_app_has_a_board_for_each_visitor(browser: Browser, server: Server, tmp_path: Path) -> None:
    """The app view shows no code; its board lives while a cell awaits, is heard, and is not that of another visitor."""
    server.reset()
    server.configure(hold=True)
    setup = SETUP.format(url=server.base_url)
    join = 'results = await batch\nf"joined: {len(results.outputs)} of {len(results)}"'
    cells = [(setup, "", "cnb, llm, one"), (LAUNCH, "cnb, llm, one", "batch"), (join, "batch", "")]
    with MarimoApp(tmp_path, notebook(cells)) as app:
        visitors = [browser.new_page(), browser.new_page()]
        errors: list[str] = []
        for nth, page in enumerate(visitors, 1):
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(app.url)
            server.wait_for(lambda stats, nth=nth: stats.in_flight == 3 * nth, timeout=180)
            page.locator(".cnb-board .cnb-chip", has_text="3 running").wait_for()
        first, second = visitors
        first.locator('.cnb-row[data-run="0"]').click()
        first.get_by_role("button", name="Stop this run").click()
        first.locator(".cnb-chip", has_text="1 cancelled").wait_for()
        server.configure(hold=False)
        server.release()
        first.get_by_text("joined: 2 of 3").wait_for()
        second.get_by_text("joined: 3 of 3").wait_for()
        second.locator(".cnb-chip", has_text="3 done").wait_for()
        first.get_by_role("button", name="Retry this run").click()
        first.locator(".cnb-chip", has_text="3 done").wait_for()
        assert len(server.stats().requests) == 7
        assert first.get_by_text("kickoff_for_each").count() == 0
        for page in visitors:
            page.close()
    assert errors == []
