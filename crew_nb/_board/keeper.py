"""What a notebook's file keeps of a live output: static HTML, while the page goes on showing the widget."""

from __future__ import annotations

import contextvars
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

if TYPE_CHECKING:
    from collections.abc import Callable

WIDGET = "application/vnd.jupyter.widget-view+json"


def view_of(widget: Any) -> dict[str, Any]:
    """The widget as an output has it: what names it to the page, by MIME type."""
    made: Any = widget._repr_mimebundle_() or {}
    bundle = made[0] if isinstance(made, tuple) else made
    return {kind: data for kind, data in bundle.items() if kind.startswith("application/")}


class Pinned(anywidget.AnyWidget):
    """A widget that speaks as the cell that made it, on whatever thread it is asked to."""

    def __init__(self, **given: Any) -> None:
        # ipykernel looks in the context for the cell a message belongs to, and 7.0 fails where it finds none.
        self._context = contextvars.copy_context()
        super().__init__(**given)

    def _as_cell(self, function: Callable[..., object], *args: Any) -> None:
        # A copy: the context itself may be in use in another thread.
        self._context.copy().run(function, *args)

    def put(self, **values: Any) -> None:
        """Set traits, from any thread."""
        for name, value in values.items():  # without hold_sync, which loses what two threads set at once
            self._as_cell(setattr, self, name, value)

    def close(self) -> None:
        """Away with it and its layout, from any thread; its views leave the pages."""
        self._as_cell(self.layout.close)
        self._as_cell(super().close)


class Keeper(Pinned):
    """A model without a view: in JupyterLab and Notebook 7 its script sees to it that no widget is saved."""

    # Text and not a path: given a path, anywidget may start a thread that watches the file.
    _esm = (Path(__file__).with_name("static") / "keeper.js").read_text(encoding="utf-8")

    key = traitlets.Unicode().tag(sync=True)
    """Stands in the metadata of its outputs, so that they are known again in a page that is loaded later."""
    widget = traitlets.Dict().tag(sync=True)
    """The live widget as an output names it."""
    data = traitlets.Dict().tag(sync=True)
    """What is saved instead, by MIME type; what is not here is saved as the output has it."""
    live = traitlets.Bool(True).tag(sync=True)
    """Whether the page shows the widget."""

    def __init__(self, widget: Any) -> None:
        super().__init__(key=uuid.uuid4().hex, widget=view_of(widget)[WIDGET])

    @property
    def metadata(self) -> dict[str, Any]:
        """What its outputs have as metadata."""
        return {"crew_nb": self.key}
