"""marimo's kernel: which cell this is, what its page has said meanwhile, and when a cell is left.

marimo is imported where one of its cells runs, and not before. All of its private names that are used stand here.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

early: set[str] = set()
"""The widgets, by their models' ids, that know what they have heard already."""


def cell() -> Any:
    """The execution of a marimo cell that this is, or None."""
    module = sys.modules.get("marimo")
    if module is None or not module.running_in_notebook():
        return None
    from marimo._runtime.context import get_context

    return get_context().execution_context


@cache
def is_export() -> bool:
    """Whether this kernel was started by `marimo export`, which runs a notebook once, with nobody to watch."""
    try:
        return b"\0export\0" in Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        return False


def listener() -> Callable[[], None] | None:
    """Hears, each time it is called, what `early` widgets have said in the page; None where no marimo cell runs.

    marimo itself hears them when the cell has ended, so that a board would stay empty, and its Stop unheard, while the
    cell awaits. Each message is in two queues of marimo's, and comes once more from the other one then.
    """
    if cell() is None:
        return None
    import marimo
    from marimo._plugins.ui._impl.anywidget.init import WIDGET_COMM_MANAGER
    from marimo._runtime.commands import ModelCommand
    from marimo._runtime.context import get_context

    if isinstance(threading.current_thread(), marimo.Thread):  # the kernel's own may be reading
        return None
    context: Any = get_context()
    queue = inspect.getclosurevars(context._kernel.enqueue_control_request).nonlocals.get("set_ui_element_queue")
    if queue is None:
        return None

    def hear() -> None:
        others = []
        while not queue.empty():
            said = queue.get_nowait()
            if isinstance(said, ModelCommand) and said.model_id in early:
                WIDGET_COMM_MANAGER.receive_comm_message(said)
            else:
                others.append(said)
        for said in others:
            queue.put_nowait(said)

    return hear


def when_left(function: Callable[[], object]) -> None:
    """Call the function once the cell that runs is run again, or deleted."""
    from marimo._runtime.cell_lifecycle_item import CellLifecycleItem
    from marimo._runtime.context import get_context

    class Left(CellLifecycleItem):
        def create(self, context: Any) -> None:
            """Nothing."""

        def dispose(self, context: Any, deletion: bool) -> bool:
            function()
            return True

    get_context().cell_lifecycle_registry.add(Left())
