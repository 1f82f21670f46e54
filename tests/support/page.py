"""The real board of Python and the real board.js in Chromium, with nothing of a kernel between them.

Messages cross when a test says so, so that it waits for nothing and sees each of them.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comm
from comm.base_comm import BaseComm

from crew_nb._board.widget import Board
from tests.support.script import files_written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from crew_nb._board.together import Source

STATIC = Path(__file__).parents[2] / "crew_nb" / "_board" / "static"
BLANK = "http://board.example/"
LOAD = """async ([js, css]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const url = URL.createObjectURL(new Blob([js], { type: "text/javascript" }));
  const board = (await import(url)).default;
  window.outbox = [];
  window.ears = [];
  const model = { get: () => ({}), send: c => outbox.push(c), on: (_, f) => ears.push(f), off() {} };
  board.render({ model, el: document.querySelector("main") });
}"""


class Wire(BaseComm):
    """A comm that keeps what it was asked to send."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        super().__init__(*args, **kwargs)

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        """Keep it."""
        del metadata, buffers, keys
        if msg_type == "comm_msg":
            self.sent.append(data)


class BoardPage:
    """A page that shows the board of a batch."""

    def __init__(self, page: Page, board: Board) -> None:
        self.page = page
        self.board = board
        self.errors: list[str] = []
        self.outside: list[str] = []
        """What the page asked for; there must be nothing."""
        self.sizes: list[int] = []
        """Bytes of each message to the page."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self._taken = 0

    def pump(self, rounds: int = 2) -> None:
        """Carry everything across in both ways; what is drawn may ask for more."""
        assert isinstance(self.board.comm, Wire)
        for _ in range(rounds):
            for content in self.page.evaluate("() => outbox.splice(0)"):
                message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
                self.board.comm.handle_msg(message)
            self.board.flush()
            files_written()
            while self.board.flush():
                pass
            new = [m["content"] for m in self.board.comm.sent[self._taken :] if m.get("method") == "custom"]
            self._taken = len(self.board.comm.sent)
            self.sizes += [len(json.dumps(m, ensure_ascii=False).encode()) for m in new]
            self.page.evaluate(
                """async messages => {
                    for (const m of messages) for (const f of ears) f(m);
                    for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame);
                }""",
                new,
            )

    def tab(self, name: str) -> None:
        """Go to a tab, and fill it."""
        self.page.locator(f"[role=tab][data-tab={name}]").click()
        self.pump()


@contextlib.contextmanager
def board_page(browser: Browser, source: Source, **context: Any) -> Iterator[BoardPage]:
    """A page with the board of the batch, filled.

    Args:
        browser: A Chromium.
        source: The batch.
        **context: What Playwright's `new_context` takes.
    """
    make, comm.create_comm = comm.create_comm, Wire  # the hook that the `comm` package has for kernels
    try:
        board = Board(source)
    finally:
        comm.create_comm = make
    page = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **context}).new_page()
    shown = BoardPage(page, board)
    page.route("**", lambda route: route.abort() if route.request.url != BLANK else route.fulfill(body=""))
    page.goto(BLANK)
    page.set_content("<!doctype html><html lang='en'><title>board</title><main></main></html>")
    page.on("request", lambda r: None if r.url.startswith(("data:", "blob:")) else shown.outside.append(r.url))
    page.evaluate(LOAD, [(STATIC / "board.js").read_text(), (STATIC / "board.css").read_text()])
    shown.pump()
    try:
        yield shown
    finally:
        page.context.close()
        board.close()
