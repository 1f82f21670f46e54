"""The tabs of a sweep in Chromium: its grid, and the means of its scores."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._board import sweep as _sweep
from crew_nb._scores import tables
from crew_nb._scores.sheet import Cell, Scored, Sheet
from crew_nb._scores.shown import Shown
from crew_nb._state.state import BatchState
from tests.browser.test_board_in_page import Still
from tests.support.batches import ZERO, failed_run, finished_run
from tests.support.lab import serious
from tests.support.page import board_page

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

INPUTS, VARIANTS, REPEATS = 200, 6, 3


class Swept(Still):
    """A sweep of 200 inputs, 6 variants and 3 repeats, that has ended; its scores are put as a test says."""

    def __init__(self) -> None:
        places = list(itertools.product(range(INPUTS), range(VARIANTS), range(REPEATS)))
        run = finished_run(0, "<b>x</b>", 0)
        states = [replace(run, index=n) for n in range(len(places))]
        states[0] = failed_run(0, "x", 0)
        super().__init__(BatchState(key="k", name="sweep", runs=tuple(states), created=ZERO, finished=ZERO + 9))
        cells = [Cell(n, n, {"topic": f"<b>T{n}</b>"}, {"llm": f"llm-{v}"}, r) for n, v, r in places]
        self.sheet = Sheet(cells)
        self.sweep: Any = Shown(self.sheet, lambda: self.held.runs, lambda: None)

    def score(self, runs: range) -> None:
        """Give these a number that grows with the variant, and a word."""
        for run in runs:
            cell, state = self.sheet.cells[run], self.held.runs[run]
            value = int(str(cell.variant["llm"])[4:]) + cell.repeat / 4 + (cell.input % 7) / 10
            self.sheet.put(run, "depth", Scored(state.attempt, {"depth": value}))
            self.sheet.put(run, "kind", Scored(state.attempt, {"kind": "odd" if run % 2 else "even"}))


def test_a_large_grid_scrolls_and_opens_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    """Cells have a figure and their spread; few of 1,200 are in the page; a cell opens its runs, two are compared."""
    batch = Swept()
    batch.score(range(INPUTS * VARIANTS * REPEATS))
    with board_page(browser, batch) as shown:
        page = shown.page
        shown.pump(12)
        assert max(shown.sizes) < 60_000
        assert page.locator("[role=tab]").all_inner_texts() == ["Runs", "Grid", "Scores", "Timeline", "Results", "Log"]
        shown.tab("grid")
        assert page.locator(".cnb-gridhead bdi").all_inner_texts() == [f"llm-{n}" for n in range(VARIANTS)]
        assert page.locator("[data-cell='1-2']").inner_text().split() == ["2.35", "2.1–2.6"]
        assert "<b>T1</b>" in page.locator(".cnb-gridrow .cnb-gridname").nth(1).inner_text()
        assert page.locator(".cnb-gridrow").count() < 40
        page.screenshot(path=str(tmp_path / "grid.png"))
        assert not serious(page, ".crew-nb")

        page.locator("[data-cell='0-0']").focus()
        for key in ("ArrowDown", "ArrowRight", "End", "PageDown"):
            page.keyboard.press(key)
            shown.pump(1)
        assert page.evaluate("() => document.activeElement.dataset.cell") == "11-5"
        page.evaluate("() => { document.querySelector('.cnb-grid').scrollTop = 1e6; }")
        shown.pump(3)
        assert page.locator(".cnb-gridrow .cnb-gridname").last.inner_text() == "<b>T199</b>"
        page.locator("[aria-label=score]").select_option("kind")
        shown.pump(2)
        assert "×" in page.locator("[data-cell='199-0']").inner_text()

        page.locator("[data-cell='199-1']").click(modifiers=["Shift"])
        page.locator("[data-cell='199-2']").click(modifiers=["Shift"])
        page.get_by_role("button", name="Compare two").click()
        shown.pump()
        assert page.locator(".cnb-tools b").inner_text() == f"Runs {199 * 18 + 3}, {199 * 18 + 6}"
        shown.tab("grid")
        page.locator("[data-cell='0-1']").focus()
        page.keyboard.press("Enter")
        shown.pump()
        assert page.locator("[role=tab][aria-selected=true]").inner_text() == "Runs"
        assert page.locator(".cnb-open").count() >= 1
        assert not shown.errors
        assert not shown.outside


def test_means_grow_as_scores_come(browser: Browser, tmp_path: Path) -> None:
    """The tab tells the means and intervals of `summary`, and those of more scores once these are there."""
    batch = Swept()
    with board_page(browser, batch) as shown:
        shown.tab("scores")
        assert "Nothing is scored yet" in shown.page.locator(".cnb-sheet").inner_text()
        for runs in (range(900), range(900, 3600)):
            batch.score(runs)
            shown.pump()
            (row, *_) = tables.summary(batch.sheet, batch.held.runs).rows
            wanted = f"{row['depth']:.3g} [{row['depth low']:.3g}, {row['depth high']:.3g}]"
            cell = shown.page.locator(".cnb-means").first.locator("tr").first
            for _ in range(600):  # they are worked out in a thread
                shown.pump(1)
                if cell.count() and wanted in cell.inner_text():
                    break
                shown.page.wait_for_timeout(100)
            assert wanted in cell.inner_text()
        assert shown.page.locator(".cnb-means caption").all_inner_texts() == ["depth", "kind=even", "kind=odd"]
        shown.page.screenshot(path=str(tmp_path / "scores.png"))
        assert not serious(shown.page, ".crew-nb")


def test_other_batches_have_no_grid(browser: Browser) -> None:
    """The two tabs are those of sweeps."""
    still = Still(BatchState(key="k", name="", runs=(finished_run(0, "x", 0),), created=ZERO, finished=ZERO + 9))
    with board_page(browser, still) as shown:
        assert shown.page.locator("[role=tab]").all_inner_texts() == ["Runs", "Timeline", "Results", "Log"]


def test_the_static_twin_says_the_same() -> None:
    """A saved notebook has the grid and the means as tables, with names as text."""
    batch = Swept()
    assert _sweep.static(batch.held, batch.sweep) is None
    batch.score(range(3600))
    html = str(_sweep.static(batch.held, batch.sweep))
    assert "2.35 (2.1 to 2.6)" in html
    assert "<b>T1" not in html
    (row, *_) = tables.summary(batch.sheet, batch.held.runs).rows
    assert f"{row['depth']:,.3g} [{row['depth low']:,.3g}, {row['depth high']:,.3g}]" in html
    assert len(html) < 400_000
