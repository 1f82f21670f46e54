"""The board in the ipywidgets HTML manager, which VS Code, Colab and saved pages render with: offline, no kernel."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ipywidgets import Button
from ipywidgets.embed import dependency_state, embed_data

from crew_nb._board.widget import Board
from tests.support.lab import serious
from tests.support.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

MODULES = Path(__file__).parents[2] / "node_modules"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>board</title>
<style>:root {{ {host} }}</style>
<script src="require.js"></script>
<script>requirejs.config({{ paths: {{ anywidget: "anywidget" }} }})</script>
<script src="embed-amd.js"></script>
<script type="application/vnd.jupyter.widget-state+json">{state}</script></head>
<body>{views}</body></html>"""
VIEW = '<script type="application/vnd.jupyter.widget-view+json">{}</script>'

HOSTS = {
    "": "",
    "vscode": "--vscode-editor-background: #1f1f1f; --vscode-editor-foreground: #cccccc",
    "colab": "--colab-primary-surface-color: #383838; --colab-primary-text-color: #e3e3e3",
}
"""Colours that the dark theme of a front end defines for its outputs."""


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """The directory on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("scheme", "host"), [("light", ""), ("dark", ""), ("dark", "vscode"), ("dark", "colab")])
def test_a_saved_widget_shows_its_final_board(browser: Browser, tmp_path: Path, scheme: str, host: str) -> None:
    """Every tab of a frozen board is there, in either colour scheme, with contrast enough and no request outside.

    In VS Code and Colab the style of ipywidgets' own controls is in the page too, which says that all is light.
    """
    script = Script(20, width=8, seed=2, failing=0.5, person=3)
    script.play(14)
    board = Board(script)
    board.freeze()
    views = [board, Button(description="a control of ipywidgets")] if host else [board]
    # The default drops `_esm`, and the widget with it; and it takes in what other tests have made.
    data = embed_data(views=views, state=dependency_state(views, drop_defaults=False))
    page_text = PAGE.format(
        host=HOSTS[host],
        state=json.dumps(data["manager_state"]).replace("</", "<\\/"),
        views="".join(VIEW.format(json.dumps(spec).replace("</", "<\\/")) for spec in data["view_specs"]),
    )
    (tmp_path / "index.html").write_text(page_text, encoding="utf-8")
    shutil.copy(MODULES / "requirejs" / "require.js", tmp_path)
    shutil.copy(MODULES / "@jupyter-widgets" / "html-manager" / "dist" / "embed-amd.js", tmp_path)
    nbextension = Path(sys.prefix) / "share" / "jupyter" / "nbextensions" / "anywidget" / "index.js"
    shutil.copy(nbextension, tmp_path / "anywidget.js")
    outside: list[str] = []
    errors: list[str] = []
    with served(tmp_path) as url:
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 800})  # type: ignore[arg-type]
        page = context.new_page()
        page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else outside.append(r.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        root = page.locator(".crew-nb")
        root.locator(".cnb-item").first.wait_for()
        words = {text[1:] for text in root.locator(".cnb-item .cnb-status").all_inner_texts()}
        assert {"done", "failed", "waiting", "running"} <= words
        if host:
            page.locator(".jupyter-button").wait_for()
            assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--jp-layout-color0')") == "white"
        page.wait_for_function("s => document.querySelector('.crew-nb').dataset.theme === s", arg=scheme)
        root.locator(".cnb-row[data-run]").first.click()
        root.locator(".cnb-taskcard").first.wait_for()
        found = serious(page, ".crew-nb")
        for name, shown in (("timeline", ".cnb-band"), ("results", ".cnb-card .cnb-md"), ("log", ".cnb-line")):
            root.locator(f"[role=tab][data-tab={name}]").click()
            root.locator(shown).first.wait_for()
            found += serious(page, ".crew-nb")
        context.close()
    assert found == []
    assert errors == []
    assert outside == []
    board.close()
