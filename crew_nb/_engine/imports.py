"""Imports in turn: what the engine's threads load never meets a half-loaded module of the user's, nor the other way.

Python locks each module by itself. Two threads that enter one package at different ends wait for each other, and
Python ends that by handing out a module that is not finished: "cannot import name ... from partially initialized
module". So while crews are loaded and built in threads, the main thread and they import one at a time.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

PREFIX = "crew_nb"
"""How the names of the engine's threads begin."""
PATIENCE = 30.0
"""Seconds after which an import waits no longer: nobody's program may hang for the sake of order."""
STEP = 0.005

_PACKAGE = str(Path(__file__).parents[1])
_MACHINERY = "<frozen importlib._bootstrap>"

_count = threading.Lock()
_open = 0
_stock: Any = builtins.__import__
_turn = threading.Lock()
_owner: int | None = None


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """While this lasts, the main thread and the engine's load new modules one at a time."""
    global _open, _stock
    with _count:
        _open += 1
        if _open == 1 and builtins.__import__ is not _import:
            _stock, builtins.__import__ = builtins.__import__, _import
    try:
        yield
    finally:
        with _count:
            _open -= 1
            if _open == 0 and builtins.__import__ is _import:  # else somebody has put his own around ours
                builtins.__import__ = _stock


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002 - as Python calls them
    locals: Mapping[str, object] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    global _owner
    here = threading.current_thread()
    waits = (
        _open
        and _owner != here.ident
        and (here is threading.main_thread() or here.name.startswith(PREFIX))
        and not _is_whole(name, globals, fromlist or (), level)
        and _take_turn()
    )
    if not waits:
        return _stock(name, globals, locals, fromlist, level)
    _owner = here.ident
    try:
        return _stock(name, globals, locals, fromlist, level)
    finally:
        _owner = None
        _turn.release()


def _take_turn() -> bool:
    """Whether it is ours; not where who has it cannot go on before us."""
    end = time.monotonic() + PATIENCE
    while not _turn.acquire(timeout=STEP):
        if _waits_for_others(sys._current_frames().get(_owner or 0)) or time.monotonic() > end:
            return False
    return True


def _waits_for_others(frame: FrameType | None) -> bool:
    """Whether a thread that imports is held up: by a module that another one loads, or by a run that it joins."""
    if frame is not None and frame.f_code.co_filename == _MACHINERY and frame.f_code.co_name == "acquire":
        return True
    while frame is not None and frame.f_code.co_name != "_find_and_load":
        if frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_code.co_filename != __file__:
            return True
        frame = frame.f_back
    return False


def _is_whole(name: str, globals_: Mapping[str, object] | None, fromlist: Sequence[str], level: int) -> bool:
    """Whether nothing needs to be loaded."""
    if level:
        package = (globals_ or {}).get("__package__") or ""
        with contextlib.suppress(ImportError, ValueError):
            name = importlib.util.resolve_name("." * level + name, str(package))
    module = sys.modules.get(name)
    if module is None or getattr(getattr(module, "__spec__", None), "_initializing", False):
        return False
    # What a package lacks may be a module of its own; modules may make names as they are asked, so they are not asked.
    made = getattr(module, "__dict__", {})
    return "__path__" not in made or all(item == "*" or item in made for item in fromlist)
