"""A page that draws outputs as VS Code does, with its own bundle of ipywidgets, in Chromium, over a real kernel.

VS Code itself is no part of the tests: what its webview and its Jupyter extension do with an output is in `vscode.mjs`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.lab import ROOT, WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page, Route

    from tests.support.lab import Lab

MODULES = ROOT / "node_modules"
FILES = {
    "require.js": MODULES / "requirejs" / "require.js",
    "ipywidgets.js": MODULES / "@vscode" / "jupyter-ipywidgets8" / "dist" / "ipywidgets.js",
    "anywidget.js": Path(sys.prefix) / "share" / "jupyter" / "nbextensions" / "anywidget" / "index.js",
}
THEMES = {
    "dark": ("#1f1f1f", "#cccccc"),
    "light": ("#ffffff", "#3b3b3b"),
}
"""Background and foreground of VS Code's own."""
# The rules are those of its renderer for widgets and of its webview for outputs.
HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>a.ipynb</title><style>
.cell-output-ipywidget-background {{ background: white !important; }}
body {{ background: var(--vscode-editor-background); color: var(--vscode-editor-foreground); margin: 0;
  font: 13px var(--vscode-font-family); }}
.output {{ margin-left: 40px; padding: 8px; box-sizing: border-box; }}
table {{ border-collapse: collapse; }}
</style></head><body class="vscode-{theme}"><main></main>
<script src="/vscode/require.js"></script><script type="module" src="/vscode/page.js"></script></body></html>"""
THEME = """([theme, background, foreground]) => {
  document.body.className = `vscode-${theme}`;
  const { style } = document.documentElement;
  style.setProperty("--vscode-editor-background", background);
  style.setProperty("--vscode-editor-foreground", foreground);
  style.setProperty("--vscode-font-family", "sans-serif");
}"""


class VSCodePage:
    """A notebook that is open in it."""

    def __init__(self, page: Page, url: str, theme: str) -> None:
        self.page = page
        self.errors: list[str] = []
        """What the page raised, and what its renderer logged of widgets that it could not draw."""
        page.on("pageerror", lambda error: self.errors.append(f"{error} {error.stack}"))
        page.on("console", lambda said: self.errors.append(said.text) if said.text.startswith("widget: ") else None)
        files = {name: file.read_text(encoding="utf-8") for name, file in FILES.items()}
        self._served = {**files, "page.js": _built(), "a.ipynb": HTML.format(theme=theme)}
        page.route("**/vscode/*", self._serve)
        page.goto(f"{url}/vscode/a.ipynb")
        self._ready()
        self.theme(theme)

    def _serve(self, route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        kind = "text/javascript" if name.endswith(".js") else "text/html"
        route.fulfill(body=self._served[name], content_type=kind)

    def _ready(self) -> None:
        self.page.wait_for_function("() => window.notebook !== undefined", timeout=WAIT * 1000)

    def reload(self) -> None:
        """The window is loaded again, and the kernel runs on."""
        self.page.reload()
        self._ready()

    def theme(self, name: str) -> None:
        """Choose `dark` or `light`."""
        self.page.evaluate(THEME, [name, *THEMES[name]])

    def run(self, cell: int, code: str) -> None:
        """Run a cell to its end."""
        status = self.page.evaluate("([cell, code]) => window.notebook.run(cell, code)", [cell, code])
        assert status == "ok", self.cell(cell).inner_text()

    def cell(self, number: int) -> Locator:
        """The outputs of a cell."""
        return self.page.locator(f"#cell-{number}")

    def board(self, number: int) -> Locator:
        """The live board under a cell."""
        return self.cell(number).locator(".cnb-board")

    def saved(self, number: int) -> list[dict[str, Any]]:
        """What the file would have of a cell, were it saved now."""
        outputs = self.page.evaluate("() => window.notebook.outputs")
        return [output["data"] for output in outputs if output["cell"] == number]

    def pressed(self, *keys: str) -> list[str]:
        """Press keys; those that VS Code heard of."""
        self.page.evaluate("() => void window.notebook.keys.splice(0)")
        for key in keys:
            self.page.keyboard.press(key)
        heard: list[str] = self.page.evaluate("() => window.notebook.keys")
        return heard


@contextlib.contextmanager
def opened(lab: Lab, browser: Browser, *, theme: str = "dark") -> Iterator[VSCodePage]:
    """An empty notebook with a kernel of that server's."""
    # A page that is fulfilled comes from nowhere, to Chromium, and may not speak to this machine by itself.
    permissions = ["local-network-access"]
    context = browser.new_context(viewport={"width": 1280, "height": 1200}, permissions=permissions)
    context.set_default_timeout(30_000)
    try:
        yield VSCodePage(context.new_page(), lab.url, theme)
    finally:
        context.close()
        lab.end_kernels()


def _built() -> str:
    """The page's script in one file."""
    esbuild = [str(MODULES / ".bin" / "esbuild"), str(Path(__file__).with_suffix(".mjs"))]
    flags = ["--bundle", "--format=esm", "--target=esnext", "--external:/vscode/*", "--log-level=error"]
    return subprocess.run([*esbuild, *flags], capture_output=True, text=True, check=True).stdout
