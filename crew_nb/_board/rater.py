"""The widget in which a person rates: one output, or two side by side, at a time; it knows of no variant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crew_nb._board.keeper import Keeper, Pinned, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

_STATIC = Path(__file__).with_name("static")


class Source(Protocol):
    """What is rated."""

    @property
    def done(self) -> int:
        """How many are rated; stands for what is shown now."""

    def shown(self) -> dict[str, Any]:
        """What the page shows."""

    def say(self, level: Any, note: str = "") -> None:
        """Rate what is shown."""

    def undo(self) -> None:
        """Take the last rating back."""


class Rater(Pinned):
    """Shows what is to be rated, and hears the keys."""

    # Text and not paths: given a path, anywidget may start a thread that watches the file.
    _esm = (_STATIC / "rate.js").read_text(encoding="utf-8")
    _css = (_STATIC / "rate.css").read_text(encoding="utf-8")

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._static: Callable[[], dict[str, str]] = dict
        self._keepers: list[Keeper] = []
        self.on_msg(self._on_message)

    def show(self, static: Callable[[], dict[str, str]]) -> None:
        """Display it in the cell that runs.

        Args:
            static: What a notebook's file has of it, by MIME type.
        """
        from IPython.display import display

        self._static = static
        keeper = Keeper(self)
        keeper.put(data=static())
        self._keepers.append(keeper)
        display({**static(), **view_of(self)}, raw=True, metadata=keeper.metadata)  # type: ignore[no-untyped-call]

    def tell(self) -> None:
        """Let the page show what is to be rated now."""
        self._as_cell(self.send, {"t": "item", **self._source.shown()})
        for keeper in self._keepers:
            keeper.put(data=self._static())

    def _on_message(self, _widget: object, content: object, _buffers: object) -> None:
        if not isinstance(content, dict):
            return
        # What was pressed before the page had drawn the next one is not meant for it.
        fresh = content.get("done") == self._source.done
        match content.get("t"):
            case "rate" if fresh and isinstance(content.get("level"), str):
                self._source.say(content["level"], str(content.get("note") or ""))
            case "undo" if fresh:
                self._source.undo()
            case _:
                self.tell()
