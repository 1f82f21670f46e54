"""A real JupyterLab on loopback and a real headless Chromium in it, each with nothing of the user's in it.

    with Lab(tmp_path) as lab, lab.open({"a.ipynb": [code, code]}) as page:
        page.run(0)
        page.done(0)
        page.shot("board.png")

Whether a cell has ended is read off its prompt, as a person does: a kernel's status also goes idle for comms.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import nbformat
from playwright.sync_api import Browser, ElementHandle, Locator, Page, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
WAIT = 120

ROOT = Path(__file__).parents[2]
FIND_CHROMIUM = ROOT / ".ci" / "chromium"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"


def serious(page: Page, where: str) -> list[str]:
    """What axe finds under the selector that is serious or critical."""
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=str(AXE))
    found = page.evaluate("async where => (await axe.run(where)).violations", where)
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:200]} {v['nodes'][0]['failureSummary'][:300]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that makes no request of its own."""
    found = subprocess.run([FIND_CHROMIUM], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class WebServer:
    """A program that serves pages on loopback, with its logs and the kernel's HOME in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, module: str, *options: str, env: dict[str, str], answers: str) -> None:
        """Returns when it answers at that path.

        Raises:
            RuntimeError: When it has ended, or takes too long; with its log.
        """
        around = {**os.environ, "HOME": str(self.root), "PYTHONPATH": str(ROOT), **env}
        with (self.root / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *options],
                cwd=self.root,
                env=around,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + WAIT
        while True:
            try:
                urllib.request.urlopen(f"{self.url}{answers}", timeout=5).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.__exit__()
                    raise RuntimeError((self.root / "server.log").read_text()[-4000:]) from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        # The group, so that its kernels end with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Lab(WebServer):
    """A JupyterLab server in a directory of its own; started and stopped as a context manager."""

    def __init__(
        self,
        root: Path,
        *,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        app: Literal["lab", "notebook"] = "lab",
    ) -> None:
        """Prepare a server.

        Args:
            root: An empty directory for notebooks, configuration and the kernel's HOME.
            settings: JupyterLab's user settings by plugin, such as `@jupyterlab/apputils-extension:themes`.
            app: JupyterLab, or Notebook 7.
        """
        super().__init__(root)
        self.app = app
        self.notebooks = root / "notebooks"
        self.settings = {
            "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
            **(settings or {}),
        }

    def __enter__(self) -> Lab:
        self.notebooks.mkdir(parents=True)
        for plugin, values in self.settings.items():
            extension, name = plugin.split(":")
            place = self.root / "config" / "lab" / "user-settings" / extension
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
        self.start(
            {"lab": "jupyterlab", "notebook": "notebook"}[self.app],
            *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}"),
            *("--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),
            *("--LabApp.news_url=None", "--expose-app-in-browser", f"--ServerApp.root_dir={self.notebooks}"),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            env={
                "JUPYTER_CONFIG_DIR": str(self.root / "config"),
                "JUPYTER_DATA_DIR": str(self.root / "data"),
                "JUPYTER_RUNTIME_DIR": str(self.root / "runtime"),
                "JUPYTERLAB_SETTINGS_DIR": str(self.root / "config" / "lab" / "user-settings"),
                "IPYTHONDIR": str(self.root / "ipython"),
            },
            answers="/api/status",
        )
        return self

    def write(self, name: str, cells: Sequence[str]) -> None:
        """Write a notebook of code cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        # Without it JupyterLab asks which kernel to start.
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.notebooks / name)

    @contextlib.contextmanager
    def open(
        self, name: str, browser: Browser, *, width: int = 1280, height: int = 900, scale: float = 1.0
    ) -> Iterator[LabPage]:
        """Open a notebook in a fresh page, with its kernel started."""
        context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
        context.set_default_timeout(WAIT * 1000)
        page = context.new_page()
        try:
            lab = LabPage(page, self.url, name, self.app)
            lab.load()
            yield lab
        finally:
            context.close()
            self.end_kernels()

    @contextlib.contextmanager
    def view(self, name: str, browser: Browser) -> Iterator[LabPage]:
        """Open, in a second browser, a notebook whose kernel runs already; the kernel is left running."""
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(WAIT * 1000)
        try:
            lab = LabPage(context.new_page(), self.url, name, self.app)
            lab.load()
            yield lab
        finally:
            context.close()

    def end_kernels(self) -> None:
        """End every kernel that a notebook has started."""
        with urllib.request.urlopen(f"{self.url}/api/kernels", timeout=WAIT) as answer:
            kernels = json.load(answer)
        for kernel in kernels:
            request = urllib.request.Request(f"{self.url}/api/kernels/{kernel['id']}", method="DELETE")
            urllib.request.urlopen(request, timeout=WAIT).close()


class LabPage:
    """A notebook that is open in the browser."""

    def __init__(self, page: Page, url: str, name: str, app: Literal["lab", "notebook"] = "lab") -> None:
        self.page = page
        self.errors: list[str] = []
        self.outside: list[str] = []
        """Requests that went elsewhere than to the server; there must be none."""
        places = {"lab": f"lab/workspaces/w{time.monotonic_ns()}/tree/{name}", "notebook": f"notebooks/{name}"}
        self._url = f"{url}/{places[app]}"
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else self.outside.append(r.url))

    def load(self) -> None:
        """Load the page, or load it again."""
        self.page.goto(self._url)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=WAIT * 1000)
        self.page.wait_for_function(
            """() => { const nb = window.jupyterapp?.shell.currentWidget;
                       return nb?.sessionContext?.session?.kernel?.connectionStatus === 'connected'; }""",
            timeout=WAIT * 1000,
        )

    def cell(self, number: int) -> Locator:
        """A cell, by its place."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def run(self, number: int) -> None:
        """Run a cell, and come back at once."""
        self.page.evaluate(
            """n => { const nb = window.jupyterapp.shell.currentWidget.content; nb.activeCellIndex = n;
                      nb.deselectAll(); window.jupyterapp.commands.execute('notebook:run-cell'); }""",
            number,
        )

    def done(self, number: int, *, timeout: float = WAIT) -> None:
        """Wait until the cell has a number at its prompt."""
        self.page.wait_for_function(
            r"""n => /\[\d+\]/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[n]
                     ?.querySelector('.jp-InputPrompt')?.textContent ?? '')""",
            arg=number,
            timeout=timeout * 1000,
        )

    def output(self, number: int) -> str:
        """The text under a cell."""
        return self.cell(number).locator(".jp-Cell-outputArea").inner_text()

    def board(self, number: int = 0) -> Locator:
        """The board, once it has its first rows."""
        board = self.page.locator(".crew-nb").nth(number)
        board.locator(".cnb-tabs").wait_for(timeout=WAIT * 1000)
        return board

    def theme(self, name: str) -> None:
        """Switch JupyterLab's theme: `JupyterLab Dark`, `JupyterLab Light`, `JupyterLab Dark High Contrast`."""
        self.page.evaluate("t => window.jupyterapp.commands.execute('apputils:change-theme', { theme: t })", name)
        light = "false" if "Dark" in name else "true"
        body = f'body[data-jp-theme-light="{light}"][data-jp-theme-name="{name}"]'
        self.page.wait_for_selector(body, state="attached")

    def save(self) -> None:
        """Save the notebook, and wait until it is saved."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def shot(self, path: Path | str, of: Locator | ElementHandle | None = None) -> None:
        """Write a screenshot of the page, or of one thing in it."""
        (of or self.page).screenshot(path=str(path))


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
