"""Which kernel, front end and loop this is, and how runs are joined from here.

Nothing here patches a loop, save `allow_nested_loops()`, and only when it is called.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._state import marimo
from crew_nb._state.errors import NestedLoopsError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["script", "terminal", "kernel", "marimo"]
FrontEnd = Literal["jupyterlab", "notebook", "vscode", "colab", "nbclient", "marimo", "terminal", "script", "unknown"]

SAFE_NEST_ASYNCIO2 = (1, 7, 3)
"""Before it, and with nest_asyncio itself, ipykernel >= 7.1 loses cells that are queued during a nested run."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the calling code runs."""

    kind: Kind
    headless: bool
    """A kernel whose cell nobody watches (nbclient, papermill, nbconvert): output that comes after the cell is lost."""
    front_end: FrontEnd
    loop_running: bool
    """Whether a loop runs in the calling thread."""
    loop_class: str
    nested: str
    """The active patch that lets loops nest, as `nest_asyncio2 1.7.4`; empty without one."""
    cell_id: str
    execution: str = field(compare=False)
    """Which execution of a cell, or of what was typed at a prompt, this is; empty in a script."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Environment:
    """What `cnb.environment()` found, as text in a terminal and as a table in a cell."""

    place: Place
    python: str
    crew_nb: str
    crewai: str
    ipython: str
    ipykernel: str
    subshells: bool
    """Whether the kernel can serve a second shell while a cell runs."""
    stop_works: str
    """Whether the board's Stop is heard while a cell awaits, in words."""
    joins: str
    """How runs are joined from here, and why."""
    nesting: str
    """What the active patch, if any, does to this kernel."""
    details: tuple[tuple[str, str], ...] = ()
    """Label and value of facts from other parts of crew_nb: the engine's path, where runs are kept."""

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Label and value of everything, in the order shown."""
        place = self.place
        kernels = {"kernel": f"ipykernel {self.ipykernel}", "marimo": f"marimo {_version('marimo')}"}
        kernel = kernels.get(place.kind, "none")
        loop = f"{place.loop_class}, running" if place.loop_running else "none running in this thread"
        return (
            ("versions", f"crew_nb {self.crew_nb}, CrewAI {self.crewai}, IPython {self.ipython}, Python {self.python}"),
            ("kernel", kernel + (", with subshells" if self.subshells else "")),
            ("front end", place.front_end + (", nobody watches (headless)" if place.headless else "")),
            ("loop", loop),
            ("nested loops", self.nesting),
            ("how to join", self.joins),
            ("Stop while a cell awaits", self.stop_works),
            *self.details,
        )

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from crew_nb._state.html import el, prose

        left = "text-align:left"
        rows = (
            el("tr", el("th", label, scope="row", style=left), el("td", prose(value), style=left))
            for label, value in self.rows()
        )
        return str(el("div", el("table", el("tbody", rows)), class_="crew-nb"))


def where() -> Place:
    """The kernel, front end and loop of the caller; cheap, and works in any thread."""
    shell = _shell()
    kernel = getattr(shell, "kernel", None)
    kind: Kind = "script" if shell is None else "terminal" if kernel is None else "kernel"
    request = _request(kernel)
    headless = request.get("content", {}).get("allow_stdin") is False
    cell_id = str(request.get("metadata", {}).get("cellId") or "")
    execution = str(request.get("header", {}).get("msg_id") or getattr(shell, "execution_count", ""))
    if (cell := marimo.cell()) is not None:
        kind, headless, cell_id = "marimo", marimo.is_export(), str(cell.cell_id)
        execution = f"{cell_id}-{id(cell)}"
    loop = asyncio._get_running_loop()
    return Place(
        kind=kind,
        headless=headless,
        front_end=_front_end(kind, headless, cell_id),
        loop_running=loop is not None,
        loop_class="" if loop is None else f"{type(loop).__module__}.{type(loop).__qualname__}",
        nested=_nested(),
        cell_id=cell_id,
        execution=execution,
    )


def environment(details: Mapping[str, str] | None = None) -> Environment:
    """Which kernel, front end and loop this is, whether it is patched, and how runs are joined from here.

    Args:
        details: Further rows, label to value.
    """
    place = where()
    kernel = getattr(_shell(), "kernel", None)
    return Environment(
        place=place,
        python=platform.python_version(),
        crew_nb=_version("crew-nb"),
        crewai=_version("crewai"),
        ipython=_version("ipython"),
        ipykernel=_version("ipykernel"),
        subshells=bool(getattr(kernel, "_supports_kernel_subshells", False)),
        stop_works=_stop_works(place),
        joins=_joins(place),
        nesting=_nesting(place),
        details=tuple((details or {}).items()),
    )


def allow_nested_loops() -> None:
    """Let old cells that call `asyncio.run(...)` work in this kernel, by nest_asyncio2; prints what that costs.

    crew_nb itself never needs it: `await batch` and `batch.wait()` join without a patch.

    Raises:
        NestedLoopsError: The patch would lose cells or cannot be applied here; nothing was changed.
    """
    place = where()
    if _loses_cells(place):
        raise NestedLoopsError(
            f"{place.nested} is already active, and on ipykernel {_version('ipykernel')} it loses queued cells. "
            "Restart the kernel and call cnb.allow_nested_loops() in its place."
        )
    if place.nested:
        return
    installed = _version("nest-asyncio2")
    if _numbers(installed) < SAFE_NEST_ASYNCIO2:
        raise NestedLoopsError(
            f"nest_asyncio2 is {installed}, and versions before 1.7.3 lose queued cells on ipykernel 7.1 and newer. "
            "Write `%pip install -U 'nest-asyncio2>=1.7.3'`, then restart the kernel."
        )
    loop = asyncio._get_running_loop()
    if loop is not None and not isinstance(loop, asyncio.BaseEventLoop):
        raise NestedLoopsError(
            f"the running loop is {place.loop_class}, which cannot be nested. "
            "Write `await main()` where the cell says `asyncio.run(main())`."
        )
    import nest_asyncio2

    nest_asyncio2.apply(loop)  # noqa: TID251 - the one place
    if loop is not None:
        _guard_pass_under_way(loop)
    print(
        f"Nested loops are on ({_nested()}) until this process ends: all asyncio code runs slower (1.5 to 3 times "
        "per switch), nested calls end last in, first out, and Interrupt does not stop them."
    )


class _Ready(deque[asyncio.Handle]):
    """A loop's ready queue that gives a cancelled handle, which a loop skips, where it is empty."""

    def __init__(self, loop: asyncio.BaseEventLoop) -> None:
        super().__init__()
        self._nothing = asyncio.Handle(_nothing, (), loop)
        self._nothing.cancel()

    def popleft(self) -> asyncio.Handle:
        return super().popleft() if self else self._nothing


def _guard_pass_under_way(loop: asyncio.BaseEventLoop) -> None:
    """Let the loop's own pass that called us end, after nested runs have taken callbacks that it had counted.

    ipykernel 6 runs all queued cells in one pass, so that Run All would at times end the kernel with
    `IndexError: pop from an empty deque` (ipykernel#1250).
    """
    inner: Any = loop
    before, inner._ready = inner._ready, _Ready(loop)

    def move() -> None:
        while before:
            inner._ready.append(before.popleft())

    move()
    loop.call_soon(move)  # what another thread was just adding to the queue that it had already looked up


def _nothing() -> None:
    """The callback that is never called."""


def _shell() -> Any:
    """IPython's shell, or None; IPython is not imported for the question."""
    module = sys.modules.get("IPython.core.interactiveshell")
    shell = getattr(module, "InteractiveShell", None)
    return shell.instance() if shell is not None and shell.initialized() else None


def _request(kernel: Any) -> Mapping[str, Any]:
    """The request that the kernel is answering; ipykernel before 6 keeps it in an attribute only."""
    if kernel is None:
        return {}
    ask = getattr(kernel, "get_parent", None)
    return (ask("shell") if ask is not None else getattr(kernel, "_parent_header", None)) or {}


def _front_end(kind: Kind, headless: bool, cell_id: str) -> FrontEnd:
    if kind != "kernel":
        return kind
    if "google.colab" in sys.modules:
        return "colab"
    if headless:
        return "nbclient"
    # VS Code sends its document's address as the cell id. Its environment variables alone say little: a JupyterLab
    # that was started from its terminal has them too, but gives plain ids.
    if cell_id.startswith("vscode-") or (not cell_id and "VSCODE_PID" in os.environ):
        return "vscode"
    return _jupyter_server()


@cache
def _jupyter_server() -> FrontEnd:
    """The Jupyter server that started this kernel: Lab and Notebook 7 send the same messages, only its name differs."""
    if "JPY_SESSION_NAME" not in os.environ:
        return "unknown"
    try:
        command = Path(f"/proc/{int(os.environ['JPY_PARENT_PID'])}/cmdline").read_bytes()
    except (KeyError, ValueError, OSError):
        return "jupyterlab"
    return "notebook" if b"jupyter-notebook" in command else "jupyterlab"


def _nested() -> str:
    if not hasattr(asyncio, "_nest_patched"):
        return ""
    name = asyncio.run.__module__
    return f"{name} {_version(name)}"


def _loses_cells(place: Place) -> bool:
    if place.kind != "kernel" or not place.nested or _numbers(_version("ipykernel")) < (7, 1):
        return False
    name, _, version = place.nested.partition(" ")
    return name != "nest_asyncio2" or _numbers(version) < SAFE_NEST_ASYNCIO2


def _nesting(place: Place) -> str:
    if not place.nested:
        return "not patched"
    if _loses_cells(place):
        return (
            f"patched by {place.nested}, which loses queued cells on ipykernel 7.1 and newer "
            "(nest_asyncio, and nest_asyncio2 before 1.7.3): restart the kernel, then cnb.allow_nested_loops()"
        )
    return f"patched by {place.nested}"


def _stop_works(place: Place) -> str:
    if place.kind == "marimo":
        return "nobody to press it" if place.headless else "yes"
    if place.kind != "kernel":
        return "no board with a button here: Ctrl-C stops"
    if place.headless:
        return "nobody to press it"
    if hears(place, awaits=False):
        return "yes (over a subshell)"
    if hears(place, awaits=True):
        return "yes, where it awaits; while it blocks in `wait()`, use the notebook's Interrupt"
    return "no, it is heard after the cell: use the notebook's Interrupt; or launch in one cell, and Stop works at once"


def hears(place: Place, *, awaits: bool) -> bool:
    """Whether what is pressed in a board reaches the kernel while a cell joins there, by `await` or by blocking."""
    if place.kind != "kernel" or threading.current_thread() is not threading.main_thread():
        return True
    version = _numbers(_version("ipykernel"))
    return (awaits and version >= (7, 4)) or (version >= (7, 0) and place.front_end in ("jupyterlab", "notebook"))


def _joins(place: Place) -> str:
    if place.kind in ("kernel", "marimo") and place.headless:
        return (
            "the launching cell waits by itself, as output that comes after a cell is not kept here; "
            "`await batch` and `batch.wait()` then return at once"
        )
    if place.kind in ("kernel", "marimo"):
        return (
            "`results = await batch`, in this cell or a later one, as the kernel's loop runs; `batch.wait()` in plain "
            "functions: crews run on crew_nb's own loop, so neither needs a patch"
        )
    if place.loop_running:
        return "`results = await batch`, as a loop runs here; `batch.wait()` would block that loop"
    if place.kind == "terminal":
        return "`batch.wait()`, or `await batch` at the prompt; crews run on while the prompt waits for you"
    return "`batch.wait()`, as no loop runs here; inside an `async def`, `await batch`"


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _numbers(version: str) -> tuple[int, ...]:
    """`1.7.4` as (1, 7, 4); a version that is none as (), which is before all others."""
    return tuple(int(part) for part in _DIGITS.findall(version)[:3])
