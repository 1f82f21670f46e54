"""A real marimo server on loopback, and its editor in Chromium."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from tests.support.lab import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

CELL = """
@app.cell
{keyword} {name}({given}):
{code}
    return {gives}
"""

EXPORT = """async session => {
  const token = document.querySelector("marimo-server-token").dataset.token;
  const answer = await fetch("/api/export/html", {
    method: "POST",
    headers: { "content-type": "application/json", "Marimo-Server-Token": token, "Marimo-Session-Id": session },
    body: JSON.stringify({ download: false, files: [], includeCode: true, assetUrl: location.origin }),
  });
  return await answer.text();
}"""


def notebook(cells: Sequence[tuple[str, str, str]]) -> str:
    """A marimo notebook of these cells: code, the names that it takes, and those that it gives, with commas between."""
    parts = ["import marimo\n\napp = marimo.App()\n"]
    for code, given, gives in cells:
        lines = "\n".join(f"    {line}" for line in code.strip().splitlines())
        keyword = "async def" if "await " in code else "def"
        parts.append(
            CELL.format(keyword=keyword, name="_", given=given, code=lines, gives=f"({gives},)" if gives else "")
        )
    return "\n".join(parts)


class Marimo(WebServer):
    """`marimo edit` in a directory of its own; started and stopped as a context manager."""

    def __enter__(self) -> Marimo:
        self.start(
            "marimo",
            *("-y", "edit", str(self.root), "--headless", "--no-token", "--skip-update-check"),
            *("--host=127.0.0.1", f"--port={self.port}"),
            env={"XDG_CONFIG_HOME": str(self.root)},
            answers="/health",
        )
        return self

    @contextlib.contextmanager
    def open(self, name: str, text: str, browser: Browser) -> Iterator[MarimoPage]:
        """Write a notebook and open it; nothing runs by itself."""
        (self.root / name).write_text(text)
        context = browser.new_context(viewport={"width": 1280, "height": 1400})
        context.set_default_timeout(20_000)
        try:
            yield MarimoPage(context.new_page(), self.url, name)
        finally:
            context.close()


class MarimoApp(WebServer):
    """`marimo run` of a notebook: the app view, with a session for each page."""

    def __init__(self, root: Path, text: str) -> None:
        super().__init__(root)
        self._notebook = root / "app.py"
        self._notebook.write_text(text)

    def __enter__(self) -> MarimoApp:
        self.start(
            "marimo",
            *("-y", "run", str(self._notebook), "--headless", "--no-token"),
            *("--host=127.0.0.1", f"--port={self.port}"),
            env={"XDG_CONFIG_HOME": str(self.root)},
            answers="/health",
        )
        return self


class MarimoPage:
    """A notebook that is open in the browser."""

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self._sockets: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("websocket", lambda socket: self._sockets.append(socket.url))
        page.goto(f"{url}/?file={name}")
        self.cell(0).wait_for()

    def cell(self, number: int) -> Locator:
        """A cell, by its place."""
        return self.page.locator(".marimo-cell").nth(number)

    def run_all(self) -> None:
        """Run what has not been run since it was changed."""
        self.page.get_by_test_id("run-button").last.click()

    def run(self, number: int) -> None:
        """Run a cell, and what depends on it."""
        self.cell(number).hover()
        self.cell(number).get_by_test_id("run-button").locator("visible=true").first.click()

    def interrupt(self, number: int) -> None:
        """Press marimo's own Stop while this cell runs: what was launched is heard of before the next cell begins."""
        self.cell(number).locator('[data-testid="cell-status"][data-status="running"]').wait_for()
        self.page.get_by_test_id("interrupt-button").last.click()

    def exported(self) -> str:
        """What "Download as HTML" gives, with the scripts of this server in the place of those of a CDN."""
        (session,) = {found for socket in self._sockets for found in re.findall(r"session_id=([\w-]+)", socket)}
        return str(self.page.evaluate(EXPORT, session))
