"""The board in a page with VS Code's own widget bundle, style and keys, over real crews that talk to a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.vscode import THEMES, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

    from tests.support.lab import Lab
    from tests.support.server import Server
    from tests.support.vscode import VSCodePage

SETUP = """
from crewai import LLM
import crew_nb as cnb
from crew_nb._cells import display as _display
from tests.support.crews import one
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
rows = [{{"topic": topic}} for topic in ("Mars", "Venus")]
def build(topic):
    return one(llm)
print(cnb.environment())
"""
LAUNCH = "batch = cnb.kickoff_for_each(build, rows, name='planets')"
NEAREST = "e => getComputedStyle(e).backgroundColor"
CLEAR = "rgba(0, 0, 0, 0)"
WIDGET = "application/vnd.jupyter.widget-view+json"


def start(page: VSCodePage, server: Server) -> Locator:
    """Launch two runs whose calls are held; their board, once both are at work."""
    server.reset()
    server.configure(hold=True)
    page.run(0, SETUP.format(url=server.base_url))
    assert "vscode" in page.cell(0).inner_text()
    page.run(1, LAUNCH)
    chip(page, 1, "2 running")
    return page.board(1)


def chip(page: VSCodePage, cell: int, words: str) -> None:
    """Wait until the board under a cell counts so."""
    page.board(cell).locator(".cnb-chip", has_text=words).wait_for()


def painted(color: str) -> str:
    """A colour as a computed style names it."""
    return f"rgb({', '.join(str(int(color[n : n + 2], 16)) for n in (1, 3, 5))})"


def test_a_dark_theme_has_no_white_frame_around_what_is_ours(lab: Lab, browser: Browser, server: Server) -> None:
    """Board and launcher stand on the editor's own colour, in either theme, switched live; others' widgets on white."""
    with opened(lab, browser) as page:
        board = start(page, server)
        page.run(2, "cnb.launcher(build)")
        page.cell(2).locator(".cnb-launch tbody tr").first.wait_for()
        page.run(3, "import ipywidgets; ipywidgets.Button(description='theirs')")
        page.cell(3).get_by_text("theirs").wait_for()
        for theme, (color, _) in THEMES.items():
            page.theme(theme)
            page.page.wait_for_function("t => document.querySelector('.cnb-board').dataset.theme === t", arg=theme)
            for ours in (board, page.cell(2).locator(".cnb-launch")):
                assert ours.evaluate(NEAREST) == painted(color)
            frames = page.page.locator(":is(#cell-1, #cell-2) .cell-output-ipywidget-background")
            assert {frame.evaluate(NEAREST) for frame in frames.all()} == {CLEAR}
            assert page.cell(3).locator(".output").evaluate(NEAREST) == painted("#ffffff")
        server.release()
        assert page.errors == []


def test_shortcuts_reach_vscode_and_plain_keys_do_not(lab: Lab, browser: Browser, server: Server) -> None:
    """From a row, a button, a field: it saves and opens its palette; `d d` deletes no cell, Ctrl+Z edits the field."""
    with opened(lab, browser) as page:
        board = start(page, server)
        theirs = ["Control+s", "Control+Shift+P", "Control+b", "F8"]
        row, field = board.locator('.cnb-row[data-run="0"]'), board.locator("input[type=search]")
        for focused in (row, board.get_by_role("button", name="Pause").first, field):
            focused.focus()
            assert page.pressed(*theirs) == theirs
            assert page.pressed("d", "d", "a", "Enter", "ArrowDown") == []
            board.locator("input[type=search]").fill("")
        field.focus()
        page.page.keyboard.type("Venus")
        assert page.pressed("Control+a", "Control+z") == []
        field.fill("")
        field.focus()
        assert page.pressed("Escape", "Control+s") == ["Escape", "Control+s"]
        assert not field.evaluate("e => e === document.activeElement")
        server.release()
        assert page.errors == []


def test_a_file_that_is_saved_says_what_is_true_and_the_page_is_not_drawn_again(
    lab: Lab, browser: Browser, server: Server
) -> None:
    """The words beside the widget change at the end; the board in the page is the same element, open row and all."""
    with opened(lab, browser) as page:
        board = start(page, server)
        (before,) = page.saved(1)
        assert "under way" in before["text/html"]
        board.locator('.cnb-row[data-run="1"]').click()
        board.locator(".cnb-taskcard").first.wait_for()
        board.evaluate("e => { e.mark = 1; }")
        server.configure(hold=False)
        server.release()
        page.run(2, "results = await batch")
        page.page.wait_for_function(
            "() => window.notebook.outputs.some((o) => o.cell === 1 && o.data['text/plain'].includes('2 done'))"
        )
        (after,) = page.saved(1)
        assert after[WIDGET] == before[WIDGET]
        assert "under way" not in after["text/html"]
        assert board.evaluate("e => e.mark") == 1
        board.locator(".cnb-taskcard").first.wait_for()
        page.run(3, "_display.LINGER_SECONDS = 1.0; batch.board")
        page.cell(3).get_by_text("Static by now").wait_for()
        (static,) = page.saved(3)
        assert WIDGET not in static
        gap = """cell => { const table = cell.querySelector("table").getBoundingClientRect();
                           return cell.querySelector("details").getBoundingClientRect().top - table.bottom; }"""
        assert page.cell(3).evaluate(gap) >= 8
        assert page.errors == []


def test_a_board_is_there_again_after_the_window_was_loaded_again(lab: Lab, browser: Browser, server: Server) -> None:
    """The launching cell keeps its words, as VS Code has forgotten its widget; `batch.board` is live, and is heard."""
    with opened(lab, browser) as page:
        start(page, server)
        page.reload()
        page.cell(1).get_by_text("under way").wait_for()
        assert page.board(1).count() == 0
        page.run(2, "batch.board")
        chip(page, 2, "2 running")
        page.run(3, "batch.board")
        chip(page, 3, "2 running")
        page.board(2).get_by_role("button", name="Stop").first.click()
        chip(page, 2, "2 cancelled")
        chip(page, 3, "2 cancelled")
        server.wait_for(lambda stats: stats.in_flight == 0)
        assert page.errors == []
