"""What the form holds, and how it gets to browsers and back; it decides nothing."""

from __future__ import annotations

import contextlib
import contextvars
import time
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from crew_nb._board.keeper import Pinned

if TYPE_CHECKING:
    from collections.abc import Callable


_STATIC = Path(__file__).parents[1] / "_board" / "static"


class Sheet(traitlets.HasTraits):
    """What a form holds; it decides nothing."""

    title = traitlets.Unicode()
    controls: Any = traitlets.List()
    """The options that can be set."""
    fields: Any = traitlets.List()
    rows: Any = traitlets.List()
    """A dict of words for each row."""
    options = traitlets.Dict()
    """Words for each option that is not empty."""
    problems = traitlets.Dict()
    """What keeps it from starting: `alert`, `rows` (row, then field), `options`."""
    estimate = traitlets.Unicode()
    code = traitlets.Unicode()
    shows_code = traitlets.Bool(False)
    status = traitlets.Dict()
    """Counts of the newest batch: `word`, `total`, `open`, `done`, `failed`, `stopped`; empty before the first."""
    names: Any = traitlets.List()
    """Variables that hold inputs."""
    taken = traitlets.Unicode()
    """The newest request of a browser that was carried out, as the browser called it."""

    def __init__(self, **given: Any) -> None:
        self.wake: Callable[[], None] = lambda: None
        """To be called, on any thread, when the status may have changed; a pacer sets it."""
        self.touched = time.monotonic()
        self.heard: Callable[[dict[str, Any]], None] = lambda _: None
        """Called with each request of a browser, on any thread."""
        self.counts: Callable[[], dict[str, Any]] = dict
        """The status as it is now."""
        super().__init__(**given)

    def flush(self) -> bool:
        """Take the status over, if it is another one; on the engine's thread."""
        status = self.counts()
        if status == self.status:
            return False
        self.put(status=status)
        return True

    def put(self, **values: Any) -> None:
        """Set traits, from any thread."""
        for name, value in values.items():
            setattr(self, name, value)


_WORDS = ("fields", "rows", "options", "problems", "estimate", "code", "shows_code", "status", "names", "taken")


_TYPED = ("rows", "options", "problems", "shows_code")
"""What a browser may set."""


_typing: ContextVar[tuple[str, str]] = ContextVar("typing", default=("", ""))
"""The view that sets a trait, and which: it has the words already, and may have newer ones."""


class Form(Sheet, Pinned):
    """The form in the browser.

    What it holds goes there in messages and is no state of the widget: Colab, and JupyterLab where it is told to, save
    the state of widgets with the notebook, and a key that somebody types would be in it.
    """

    # Text and not paths: given a path, anywidget may start a thread that watches the file.
    _esm = (_STATIC / "launcher.js").read_text(encoding="utf-8")
    _css = "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in ("board.css", "launcher.css"))

    title = traitlets.Unicode().tag(sync=True)
    controls: Any = traitlets.List().tag(sync=True)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.observe(self._tell, list(_WORDS))
        self.on_msg(self._on_message)

    def put(self, **values: Any) -> None:
        """Set traits, from any thread, as the cell that made the form."""
        Pinned.put(self, **values)

    def _tell(self, change: Any) -> None:
        view, name = _typing.get()
        message = {"t": "words", "words": {change["name"]: change["new"]}}
        self._as_cell(self.send, {**message, "but": view} if name == change["name"] else message)

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        if not isinstance(content, dict):
            return
        view = str(content.get("view"))
        match content.get("t"):
            case "hello":
                words = {name: getattr(self, name) for name in _WORDS}
                self._as_cell(self.send, {"t": "words", "words": words, "view": view})
            case "typed":
                self.touched = time.monotonic()
                typed = content.get("words")
                for name, value in typed.items() if isinstance(typed, dict) else ():
                    if name in _TYPED:
                        with contextlib.suppress(traitlets.TraitError):  # no words at all
                            contextvars.copy_context().run(self._type, view, name, value)
            case _:
                self.touched = time.monotonic()
                self.heard(content)

    def _type(self, view: str, name: str, value: object) -> None:
        _typing.set((view, name))
        setattr(self, name, value)
