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
"""Seconds between two looks at who has the turn."""
HELD_UP = 50
"""Looks at which who has the turn must be found waiting, one after another, to be called held up."""

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
        and not _loads(sys._getframe(1))  # who waits while it loads a module holds up all that want that one
        and _take_turn()
    )
    if not waits:
        return _stock(name, globals, locals, fromlist, level)
    _owner = here.ident
    try:
        if here is not threading.main_thread():
            _let_main_finish()
        return _stock(name, globals, locals, fromlist, level)
    finally:
        _owner = None
        _turn.release()


def _take_turn() -> bool:
    """Whether it is ours; not where who has it cannot go on before us."""
    end = time.monotonic() + PATIENCE
    held_up = 0
    while not _turn.acquire(timeout=STEP):
        # Every import passes a lock for a moment: only who stays there is held up.
        held_up = held_up + 1 if _waits_for_others(sys._current_frames().get(_owner or 0)) else 0
        if held_up > HELD_UP or time.monotonic() > end:
            return False
    return True


def _let_main_finish() -> None:
    """Wait for what the main thread had begun to load before imports were taken in turn."""
    main, end = threading.main_thread().ident, time.monotonic() + PATIENCE
    held_up = 0
    while held_up <= HELD_UP and time.monotonic() < end:
        frame = sys._current_frames().get(main or 0)
        if not _loads(frame) or _waits_for_turn(frame):
            return
        held_up = held_up + 1 if _waits_for_others(frame) else 0
        time.sleep(STEP)


def _loads(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "_find_and_load":
        frame = frame.f_back
    return frame is not None


def _waits_for_turn(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename == __file__


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
