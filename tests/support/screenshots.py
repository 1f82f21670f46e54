"""`python -m tests.support.screenshots`: the pictures under docs/images, of real runs in a real JupyterLab.

`python -m tests.support.screenshots board three` makes those of the named sessions only.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import nh3
from PIL import Image

from tests.support.lab import Lab, LabPage, chromium

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Locator

    Act = Callable[["Studio", LabPage], None]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
WIDTH = 1120
GITHUB = {"light": ("#1f2328", "#ffffff", "#d1d9e0"), "dark": ("#f0f6fc", "#0d1117", "#3d444d")}
GITHUB_STYLE = """body {{ margin: 0; background: {paper} }}
main {{ padding: 12px 16px; color: {ink}; background: {paper}; font: 14px/1.5 system-ui, sans-serif }}
table {{ border-collapse: collapse }} td, th {{ padding: 4px 10px; border: 1px solid {line} }}
pre {{ font: 12px/1.3 monospace; overflow: auto }}"""
SETUP = "import crew_nb as cnb\nfrom tests.support.showcase import *\n"
EIGHT = SETUP + ("batch = cnb.kickoff_for_each(research, inputs=[{'topic': t} for t in TOPICS], name='research sweep')")
THREE = SETUP + (
    "batch = cnb.kickoff_for_each(research, inputs=[{'topic': t} for t in ('Batteries', 'Fusion', 'Robotics')],"
    " name='three reports')"
)
THOUSAND = SETUP + (
    "topics = [f'{field} in {place}, {year}' for year in range(2020, 2030) for place in PLACES for field in FIELDS]\n"
    "batch = cnb.kickoff_for_each(brief, inputs=[{'topic': t} for t in topics], name='a thousand briefs',"
    " max_concurrency=64)"
)
FORM = SETUP + (
    "form = cnb.launcher(notice, inputs={'topic': ['the office move', 'the canteen'], 'tone': ['plain', 'formal']})"
)
SWEEP = SETUP + (
    "llms = [clerk('small', 0.55, 0.4), clerk('medium', 0.8, 0.7), clerk('large', 0.95, 1.2)]\n"
    "batch = cnb.sweep(router, [{'ticket': t} for t in TICKETS],"
    " over={'llm': llms, 'prompt': ['plainly', 'by example']},"
    " repeats=3, scores=[right], max_concurrency=40, name='which model sorts best')"
)
VERDICTS = SETUP + "batch = cnb.kickoff_for_each(verdict, inputs=[{'topic': t} for t in TOPICS], name='verdicts')"


def save(name: str, png: bytes) -> None:
    """Write a picture with as many colours as a screen of text needs."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        IMAGES / f"{name}.png", optimize=True
    )
    print(f"  {name}.png  {image.width} x {image.height}  {(IMAGES / f'{name}.png').stat().st_size // 1024} kB")


class Studio:
    """A notebook that is photographed."""

    def __init__(self, lab: Lab, browser: Browser) -> None:
        self.lab, self.browser = lab, browser

    def take(self, page: LabPage, name: str, what: Locator | None = None) -> None:
        """The board, or what is named, as it is now, in each theme."""
        for theme, words in THEMES.items():
            page.theme(words)
            page.page.wait_for_function(
                "t => [...document.querySelectorAll('.jp-OutputArea [data-theme]')].every(e => e.dataset.theme === t)",
                arg=theme,
            )
            page.page.mouse.move(0, 0)
            save(f"{name}-{theme}", (what or page.board()).screenshot())
        page.theme(THEMES["light"])

    def session(self, name: str, code: str, act: Act, *, scale: float = 1.0) -> None:
        """Run the code in a notebook of its own, and do something with its board."""
        self.lab.write(f"{name}.ipynb", [code])
        with self.lab.open(f"{name}.ipynb", self.browser, width=WIDTH + 160, height=1100, scale=scale) as page:
            page.page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
            # JupyterLab shows it for a moment whenever the theme changes.
            page.page.add_style_tag(content="#jupyterlab-splash { display: none !important }")
            page.run(0)
            page.done(0)
            act(self, page)


def counted(page: LabPage, **least: int) -> None:
    """Wait until so many runs have these statuses."""
    page.page.wait_for_function(
        """least => Object.entries(least).every(([status, n]) => {
            const chip = document.querySelector(`.crew-nb .cnb-chip[data-s=${status}] b`);
            return Number(chip?.textContent.replaceAll(",", "") ?? 0) >= n; })""",
        arg=least,
        timeout=300_000,
    )


def tab(page: LabPage, board: Locator, name: str) -> None:
    """Go to a tab, and wait until it is filled."""
    board.locator(f"[role=tab][data-tab={name}]").click()
    page.page.mouse.move(0, 0)
    time.sleep(1.2)


def ended(page: LabPage) -> None:
    """Wait until the board says that all is over."""
    page.page.wait_for_selector(".crew-nb [data-act=stop]", state="detached", timeout=300_000)
    time.sleep(0.6)


def hero(studio: Studio, page: LabPage) -> None:
    """A batch in full swing: some done, some speaking, one waiting, one failed."""
    board = page.board()
    board.locator(".cnb-say:visible").first.wait_for()
    counted(page, done=2, waiting=1, failed=1, running=2)
    page.page.wait_for_function("() => document.querySelectorAll('.crew-nb .cnb-say').length >= 2")
    studio.take(page, "board")


def running(studio: Studio, page: LabPage) -> None:
    """The other views of the same batch while it runs, and all of them at its end."""
    board = page.board()
    counted(page, done=1, running=2)
    board.locator('.cnb-row[data-run="6"]').click()
    time.sleep(1.0)
    studio.take(page, "row-running")
    board.locator('.cnb-row[data-run="6"]').click()
    tab(page, board, "timeline")
    studio.take(page, "timeline-running")
    ended(page)
    tab(page, board, "runs")
    studio.take(page, "runs-finished")
    board.locator('.cnb-row[data-run="0"]').click()
    time.sleep(1.0)
    studio.take(page, "row-finished")
    board.locator('.cnb-row[data-run="0"]').click()
    tab(page, board, "timeline")
    studio.take(page, "timeline-finished")
    tab(page, board, "results")
    studio.take(page, "results")
    for run in (0, 1):
        board.get_by_role("checkbox", name=f"Compare run {run}", exact=True).check()
    board.get_by_role("button", name="Compare 2").click()
    time.sleep(0.5)
    studio.take(page, "compare")
    tab(page, board, "log")
    studio.take(page, "log")
    page.page.evaluate(
        """() => { const cell = window.jupyterapp.shell.currentWidget.content.model.cells.get(0);
                   const board = "from crew_nb._board import static\\nprint(static.board(batch.state()))";
                   cell.sharedModel.source = board; }"""
    )
    page.run(0)
    page.page.locator(".jp-OutputArea-output pre").first.wait_for()
    time.sleep(1.0)
    on_github(studio.browser, page.page.locator(".jp-OutputArea-output pre").first.inner_text())


def on_github(browser: Browser, html: str) -> None:
    """The static board as GitHub shows a notebook: its tags and attributes, and its style of a table."""
    rules = json.loads((Path(__file__).parents[1] / "data" / "github.json").read_text())
    attributes = {tag: set(names) for tag, names in rules["attributes"].items()}
    left = nh3.clean(html, tags=set(rules["tags"]), attributes=attributes, link_rel=None)
    for theme, (ink, paper, line) in GITHUB.items():
        style = GITHUB_STYLE.format(ink=ink, paper=paper, line=line)
        page = browser.new_page(viewport={"width": 980, "height": 900})
        page.set_content(f"<!doctype html><meta charset='utf-8'><style>{style}</style><main>{left}</main>")
        save(f"static-on-github-{theme}", page.locator("main").screenshot())
        page.close()


def three(studio: Studio, page: LabPage) -> None:
    """A small batch, running and finished."""
    board = page.board()
    board.locator(".cnb-say:visible").first.wait_for()
    studio.take(page, "three-running")
    ended(page)
    studio.take(page, "three-finished")


def thousand(studio: Studio, page: LabPage) -> None:
    """A large batch, running and finished."""
    board = page.board()
    counted(page, done=200)
    board.locator("[data-act=sort][data-sort=status]").click()
    board.locator(".cnb-scroll").evaluate("e => { e.scrollTop = 56 * 34 }")  # to where running ones end
    time.sleep(0.6)
    studio.take(page, "thousand-running")
    tab(page, board, "timeline")
    studio.take(page, "thousand-timeline-running")
    tab(page, board, "runs")
    ended(page)
    studio.take(page, "thousand-finished")


def table(studio: Studio, page: LabPage) -> None:
    """Structured outputs as a table."""
    board = page.board()
    ended(page)
    tab(page, board, "results")
    board.get_by_role("button", name="Table").click()
    time.sleep(0.5)
    studio.take(page, "table")


def sweep(studio: Studio, page: LabPage) -> None:
    """The grid of a sweep and what its scores come to."""
    board = page.board()
    ended(page)
    tab(page, board, "grid")
    studio.take(page, "grid")
    tab(page, board, "scores")
    board.locator(".cnb-means").first.wait_for()
    studio.take(page, "scores")


def form(studio: Studio, page: LabPage) -> None:
    """The launcher: filled, and with its batch at work."""
    page.page.locator(".cnb-launch tbody tr").nth(3).wait_for()
    page.page.get_by_role("button", name="Run", exact=True).click()
    board = page.board(1)
    page.page.add_style_tag(content=".jp-OutputPrompt { display: none !important }")
    board.locator(".cnb-say:visible").first.wait_for()
    studio.take(page, "launcher", page.page.locator(".jp-Cell-outputArea").first)


SESSIONS: dict[str, tuple[str, Act, float]] = {
    "board": (EIGHT, hero, 2.0),
    "views": (EIGHT, running, 1.0),
    "three": (THREE, three, 1.0),
    "thousand": (THOUSAND, thousand, 1.0),
    "table": (VERDICTS, table, 1.0),
    "sweep": (SWEEP, sweep, 1.0),
    "launcher": (FORM, form, 1.0),
}
"""What is run, what is done with its board, and the scale of the pictures."""


def main() -> None:
    """Make the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="crew_nb-shots-") as folder,
        chromium() as browser,
        Lab(Path(folder) / "lab") as lab,
    ):
        studio = Studio(lab, browser)
        for name, (code, act, scale) in SESSIONS.items():
            if name in (sys.argv[1:] or SESSIONS):
                studio.session(name, code, act, scale=scale)


if __name__ == "__main__":
    main()
