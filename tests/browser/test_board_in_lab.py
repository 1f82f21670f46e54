"""The board in a real JupyterLab in a real Chromium."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.lab import WAIT, serious

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

    from tests.support.lab import Lab, LabPage

SETUP = "from tests.support.script import Script, Stage\n"
TABS = {"runs": ".cnb-row[data-run]", "timeline": ".cnb-band", "results": ".cnb-card", "log": ".cnb-line"}
"""What is in each tab, once something is."""


def statuses(board: Locator) -> list[str]:
    """The status words of the rows in sight, without their signs."""
    return [text[1:] for text in board.locator(".cnb-item .cnb-status").all_inner_texts()]


def tab(page: LabPage, board: Locator, name: str) -> None:
    """Go to a tab, and wait until its view is there."""
    board.locator(f"[data-tab={name}][role=tab]").click()
    page.page.wait_for_function(
        "n => document.querySelector('.crew-nb .cnb-body').dataset.tab === n",
        arg="cards" if name == "results" else name,
    )
    board.locator(TABS[name]).first.wait_for()


def in_time(page: LabPage, held: Callable[[], object]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + WAIT
    while not held():
        assert time.monotonic() < end, "not so in time"
        page.page.wait_for_timeout(20)


def text_of(page: LabPage, selector: str, text: str) -> None:
    """Wait until an element says the text."""
    page.page.locator(selector).filter(has_text=text).first.wait_for()


def test_a_batch_is_watched_to_its_end_reloaded_and_seen_twice(lab: Lab, browser: Browser) -> None:
    """Live rows, a reload in the middle, a second browser: the same final state in both, and no request outside."""
    play = "stage = Stage(Script(8, width=8, seed=2, failing=0.5)); stage.jump(2)\nstage.board"
    lab.write("live.ipynb", [SETUP + play, "stage.play(speed=4)"])
    with lab.open("live.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        board.locator(".cnb-say:visible").first.wait_for()
        assert "running" in statuses(board)
        page.save()
        page.load()
        board = page.board()
        board.locator(".cnb-say:visible").first.wait_for()
        with lab.view("live.ipynb", browser) as second:
            other = second.board()
            page.run(1)
            for view in (page, second):
                view.page.locator(".crew-nb [data-act=stop]").wait_for(state="detached")
            for view in (board, other):
                in_time(page, lambda view=view: set(statuses(view)) == {"done", "failed"})
            assert statuses(board) == statuses(other)
            assert second.errors == []
        assert page.errors == []
        assert page.outside == []


def test_an_open_row_its_scroll_and_a_selection_survive_updates(lab: Lab, browser: Browser) -> None:
    """While rows change five times a second, what a person opened, scrolled to and selected stays."""
    play = "stage = Stage(Script(40, width=40, seed=3)); stage.jump(1)\nstage.board"
    lab.write("keep.ipynb", [SETUP + play, "stage.play()"])
    with lab.open("keep.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        board.locator('[data-run="20"]').wait_for(state="detached")
        board.locator(".cnb-scroll").evaluate("e => { e.scrollTop = 20 * 34 }")
        row = board.locator('.cnb-row[data-run="22"]')
        row.click()
        board.locator('[data-item="22"] .cnb-label').wait_for()
        before = board.locator(".cnb-scroll").evaluate("e => e.scrollTop")
        # Select the words of the row that is open, by the page's own selection.
        board.locator('[data-item="22"] .cnb-label').evaluate("e => getSelection().selectAllChildren(e)")
        page.run(1)
        counts: set[str] = set()
        in_time(page, lambda: counts.add(board.locator(".cnb-chips").inner_text()) or len(counts) > 3)
        assert board.locator(".cnb-scroll").evaluate("e => e.scrollTop") == before
        assert row.get_attribute("aria-expanded") == "true"
        assert page.page.evaluate("() => String(getSelection())") == "topic=Vertical farms"
        assert page.errors == []


def test_a_thousand_rows_scroll_smoothly_while_64_stream(
    lab: Lab, browser: Browser, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only rows in sight are in the document, at most five messages a second come, and frames keep coming."""
    play = "stage = Stage(Script(1000, width=64, seed=3)); stage.jump(10)\nstage.board"
    lab.write("many.ipynb", [SETUP + play, "stage.play()"])
    with lab.open("many.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        before = board.locator(".cnb-chips").inner_text()
        page.run(1)
        in_time(page, lambda: board.locator(".cnb-chips").inner_text() != before)
        measured = page.page.evaluate(
            """async () => {
                const view = document.querySelector('.crew-nb .cnb-scroll');
                let most = 0, frames = [], last = performance.now();
                const end = last + 2000;
                while (last < end) {
                    await new Promise(requestAnimationFrame);
                    const now = performance.now();
                    frames.push(now - last); last = now;
                    view.scrollTop = (view.scrollTop + 97) % (view.scrollHeight - view.clientHeight);
                    most = Math.max(most, view.querySelectorAll('.cnb-item').length);
                }
                frames.sort((a, b) => a - b);
                return { most, fps: 1000 * frames.length / frames.reduce((a, b) => a + b), slow: frames.at(-1),
                         p95: frames[Math.floor(frames.length * 0.95)] };
            }"""
        )
        record_property("frames", json.dumps(measured))
        with capsys.disabled():
            print(f"\n  scrolling 1,000 rows: {measured}")
        assert measured["most"] < 60
        assert int(board.locator("[role=treegrid]").get_attribute("aria-rowcount") or 0) == 1001
        assert page.errors == []


def test_everything_is_done_by_keyboard_alone(lab: Lab, browser: Browser) -> None:
    """Tab into the board, move, open, close, change the view, stop: without the mouse."""
    play = "stage = Stage(Script(6, width=6, seed=2)); stage.jump(2)\nstage.board"
    lab.write("keys.ipynb", [SETUP + play, "print(stage.script.commands)"])
    with lab.open("keys.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        keys = page.page.keyboard
        focused = "() => document.activeElement.dataset.act || document.activeElement.dataset.in || ''"
        board.locator("[data-act=pause]").focus()
        keys.press("Tab")
        assert page.page.evaluate(focused) == "stop"
        keys.press("Tab")
        assert page.page.evaluate(focused) == "tab"
        keys.press("ArrowRight")
        keys.press("ArrowRight")
        keys.press("ArrowRight")
        text_of(page, ".crew-nb .cnb-line", "started")
        keys.press("Home")
        for _ in range(8):
            keys.press("Tab")
            if page.page.evaluate(focused) == "toggle":
                break
        keys.press("ArrowDown")
        keys.press("ArrowDown")
        keys.press("Enter")
        board.locator('[data-item="2"] .cnb-taskcard').first.wait_for()
        keys.press("Escape")
        board.locator('[data-item="2"] .cnb-taskcard').first.wait_for(state="detached")
        for _ in range(20):
            keys.press("Shift+Tab")
            if page.page.evaluate(focused) == "stop":
                break
        keys.press("Enter")
        text_of(page, ".crew-nb .cnb-chip", "6 cancelled")
        page.run(1)
        page.done(1)
        assert page.output(1).strip() == "[('cancel', {})]"


def test_a_person_answers_in_the_row(lab: Lab, browser: Browser) -> None:
    """The form shows the draft, takes feedback, and the answer reaches the batch."""
    play = "stage = Stage(Script(4, width=4, seed=2, person=1)); stage.jump(14)\nstage.board"
    told = "import asyncio\nwhile not stage.script.commands: await asyncio.sleep(0.01)\nprint(stage.script.commands)"
    lab.write("ask.ipynb", [SETUP + play, told])
    with lab.open("ask.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        form = page.board().locator(".cnb-form")
        form.wait_for()
        assert "synthesis asks for your view" in form.inner_text()
        form.locator("textarea").fill("shorter")
        form.get_by_role("button", name="Send feedback").click()
        page.run(1)
        page.done(1)
        assert page.output(1).strip() == "[('answer', {'run': 1, 'key': '1-p', 'text': 'shorter', 'approve': False})]"


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_nothing_serious(lab: Lab, browser: Browser, theme: str) -> None:
    """Roles and names are right in every view of a batch with every status; contrast is measured on a plain page."""
    play = "stage = Stage(Script(30, width=6, seed=2, failing=0.2, person=3)); stage.jump(14)\nstage.board"
    lab.write("axe.ipynb", [SETUP + play])
    with lab.open("axe.ipynb", browser) as page:
        page.theme(theme)
        page.run(0)
        page.done(0)
        board = page.board()
        assert board.get_attribute("data-theme") == ("light" if "Light" in theme else "dark")
        found: list[str] = []
        board.locator(".cnb-row[data-run]").first.click()
        board.locator(".cnb-taskcard").first.wait_for()
        for name in TABS:
            tab(page, board, name)
            found += [f"{name}: {v}" for v in serious(page.page, ".crew-nb")]
        assert found == []


HELD = """
import os, sys, time

class Held:
    def find_spec(self, name, path=None, target=None):
        while name == "crewai" and not os.path.exists("go"):
            time.sleep(0.02)

sys.meta_path.insert(0, Held())
import crew_nb as cnb

def build(topic):
    from tests.support import crews
    return crews.one(cnb.OfflineLLM(latency=(0, 0), tokens_per_second=10_000))
"""
"""CrewAI is not loaded before there is a file `go`."""


def test_a_cold_kernel_shows_the_board_before_crewai_is_loaded(lab: Lab, browser: Browser) -> None:
    """Its rows, and what is being loaded; the cell has come back."""
    launch = "batch = cnb.kickoff_for_each(build, [{'topic': t} for t in 'abc'])"
    lab.write("cold.ipynb", [HELD, launch])
    with lab.open("cold.ipynb", browser) as page:
        page.run(0)
        page.run(1)
        page.done(1)
        board = page.board()
        text_of(page, ".crew-nb .cnb-note", "loading CrewAI…")
        in_time(page, lambda: statuses(board) == ["queued"] * 3)
        (lab.notebooks / "go").touch()


def test_a_kernel_that_goes_while_runs_are_under_way_is_said_to_have_gone(lab: Lab, browser: Browser) -> None:
    """After a restart, and after a kernel was killed, no run is said to run, and the way back is named."""
    play = "stage = Stage(Script(8, width=8, seed=2)); stage.jump(5)\nstage.board"
    lab.write("gone.ipynb", [SETUP + play, "import os; print(os.getpid())", "import os; os._exit(1)"])
    restart = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    for way in ("restarted", "killed"):
        with lab.open("gone.ipynb", browser) as page:
            page.run(0)
            page.done(0)
            board = page.board()
            board.locator(".cnb-say:visible").first.wait_for()
            if way == "restarted":
                page.page.evaluate(restart)
            else:
                page.run(2)
            text_of(page, ".crew-nb .cnb-note", "The kernel has gone; what finished is in the record: cnb.load(")
            assert set(statuses(board)) <= {"unknown", "done"}
            assert "unknown" in statuses(board)
            assert board.locator(".cnb-say, [data-act=stop]").count() == 0
            page.page.wait_for_timeout(6_000)
            assert "The kernel has gone" in board.locator(".cnb-note").inner_text()


def test_static_output_beside_a_board_is_not_styled_as_one(lab: Lab, browser: Browser) -> None:
    """Static HTML of the same class keeps the notebook's look; a theme of high contrast is the board's, too."""
    play = "stage = Stage(Script(3, width=3, seed=2)); stage.jump(30)\nstage.board"
    show = "HTML(str(static.board(stage.script.state())))"
    static = f"from IPython.display import HTML\nfrom crew_nb._board import static\n{show}"
    lab.write("static.ipynb", [SETUP + play, static])
    with lab.open("static.ipynb", browser) as page:
        for cell in (0, 1):
            page.run(cell)
            page.done(cell)
        page.theme("JupyterLab Dark")
        found = page.page.locator("div.crew-nb").last
        assert found.evaluate("e => [getComputedStyle(e).borderTopWidth, getComputedStyle(e).containerType]") == [
            "0px",
            "normal",
        ]
        muted = "e => getComputedStyle(e).getPropertyValue('--muted')"
        plain = page.board().evaluate(muted)
        page.theme("JupyterLab Dark High Contrast")
        strong = page.board().evaluate(muted)
        assert plain != strong
        quiet = page.board().locator(".cnb-figure span").first
        assert quiet.evaluate("e => getComputedStyle(e).color") == page.board().evaluate(
            "e => getComputedStyle(e).color"
        )


def test_words_of_an_llm_never_run(lab: Lab, browser: Browser) -> None:
    """Script, handlers and javascript: links in outputs are shown in every view, and nothing of them happens."""
    corpus = [
        "<script>top.hit = 1</script>",
        "<img src=x onerror=top.hit=1>",
        "[link](javascript:top.hit=1)",
        "<svg onload=top.hit=1>",
        "<a href='jav&#x09;ascript:top.hit=1'>x</a>",
        "<iframe srcdoc='<script>top.hit=1</script>'>",
        '![x](x"onerror="top.hit=1)',
        "<style>.crew-nb{display:none}</style>",
        "\x1b[31mred\x1b[0m",
        "half \ud83d emoji",
        "\u202eright to left",
        "x" * 1_000_000,
    ]
    words = "\n\n".join(corpus)
    play = f"words = {words!r}\nstage = Stage(Script(3, width=3, seed=2, output=words)); stage.jump(30)\nstage.board"
    lab.write("xss.ipynb", [SETUP + play])
    with lab.open("xss.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        board.locator(".cnb-row[data-run]").first.click()
        board.locator(".cnb-output .cnb-md").wait_for()
        assert "more characters are not shown here" in board.locator(".cnb-output").inner_text()
        for name in TABS:
            tab(page, board, name)
            assert board.is_visible()
            assert board.locator("script, img, iframe, style, svg [onload]").count() == 0
            assert board.locator("a[href^=javascript i]").count() == 0
        assert page.page.evaluate("() => top.hit") is None
        assert page.errors == []
        assert page.outside == []


def test_results_are_compared_and_downloaded(lab: Lab, browser: Browser, tmp_path: Path) -> None:
    """Two cards side by side with their differences marked, and all results in one file."""
    play = "stage = Stage(Script(6, width=6, seed=2)); stage.jump(30)\nstage.board"
    lab.write("results.ipynb", [SETUP + play])
    with lab.open("results.ipynb", browser) as page:
        page.run(0)
        page.done(0)
        board = page.board()
        tab(page, board, "results")
        board.locator(".cnb-card .cnb-md").first.wait_for()
        whole = board.locator(".cnb-card .cnb-md").first.text_content() or ""
        with page.page.expect_download() as download:
            board.get_by_role("button", name="Download as JSON").click()
        saved = tmp_path / "results.json"
        download.value.save_as(saved)
        rows = json.loads(saved.read_text())
        assert [r["status"] for r in rows] == ["done"] * 6
        for n in (0, 1):
            board.get_by_role("checkbox", name=f"Compare run {n}", exact=True).check()
        board.get_by_role("button", name="Compare 2").click()
        board.locator(".cnb-column ins").first.wait_for()
        assert board.locator(".cnb-column").count() == 2
        assert board.locator(".cnb-column del").count() > 0
        assert board.locator(".cnb-words").nth(0).text_content() == whole
        board.get_by_role("checkbox", name="only differences").check()
        board.get_by_text("passage of").or_(board.get_by_text("passages of")).first.wait_for()
        assert page.errors == []
