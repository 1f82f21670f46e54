"""Where a batch is drawn: a widget in a kernel, which becomes static HTML when all is over; text in a terminal."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import time
from typing import TYPE_CHECKING, Any

from crew_nb import _markdown, _static, _text
from crew_nb._engine import engine
from crew_nb._html import el

if TYPE_CHECKING:
    from collections.abc import Callable

    from crew_nb._batch import Batch
    from crew_nb._board import Board, Paced, Pacer
    from crew_nb._keeper import Keeper
    from crew_nb._loop import Place
    from crew_nb._state import BatchState

LINGER_SECONDS = 60.0
"""How long the live board stays after the end and after the last touch. Then the output becomes static HTML, since a
saved widget is empty where there is no kernel; `Keeper` sees to that in JupyterLab, other front ends need this."""

KEPT_SECONDS = 10.0
"""How old the words may be that a notebook's file has of a batch that is under way."""

WIDGET = "application/vnd.jupyter.widget-view+json"

TERMINAL_SECONDS = 0.25


def show(batch: Batch, place: Place) -> None:
    """Draw the batch where it was launched, until its end."""
    if place.kind == "kernel":
        KernelView(batch, headless=place.headless)
    else:
        TerminalView(batch, prompt=place.kind == "terminal")


@functools.cache
def _pacer(loop: asyncio.AbstractEventLoop) -> Pacer:
    from crew_nb._board import Pacer

    return Pacer(loop)


def live_board(batch: Batch, *, headless: bool = False) -> Board:
    """A board that is kept up to date; it is not displayed yet."""
    from crew_nb._board import Board

    board = Board(batch)
    batch.board = board
    batch.asks_by = "" if headless else "form"
    pace(board)
    return board


def pace(widget: Paced) -> Callable[[], None]:
    """Let the widget take its turn among all that are live; returns what to call when it has something to send."""
    pacer = _pacer(engine.loop)
    engine.call(pacer.add, widget)
    return pacer.wake


class Output:
    """One output of a cell: a live widget, and static HTML once all is over and nobody touches it.

    Static HTML is also what a notebook's file has of it all the time, wherever the page can be reached.
    """

    def __init__(
        self,
        widget: Any,
        *,
        static: Callable[[], dict[str, str]],
        over: Callable[[], bool],
        touched: Callable[[], float],
        linger: float | None = None,
        keep: bool = True,
    ) -> None:
        """Display it.

        Args:
            widget: What is shown while it is live.
            static: HTML and text of the same, by MIME type.
            over: Whether nothing more will come.
            touched: When somebody last used it, in Unix seconds.
            linger: Seconds that it stays live after the end and the last touch; None for `LINGER_SECONDS`.
            keep: Whether there may be a page that saves it while it is live.
        """
        from IPython.display import display

        self._widget = widget
        self._static = static
        self._over = over
        self._touched = touched
        self._linger = LINGER_SECONDS if linger is None else linger
        self.frozen = False
        """Whether it is static now."""
        self._kept_final = self._over()
        self._kept_at = time.monotonic()
        self._context = contextvars.copy_context()
        self._keeper = self._kept() if keep else None
        self._handle: Any = display(self._live(), raw=True, display_id=True, metadata=self._metadata)  # type: ignore[no-untyped-call]

    def _kept(self) -> Keeper:
        from crew_nb._keeper import Keeper

        return Keeper(self._widget_bundle()[WIDGET])

    @property
    def _metadata(self) -> dict[str, Any]:
        return {} if self._keeper is None else self._keeper.metadata

    def _widget_bundle(self) -> dict[str, Any]:
        made: Any = self._widget._repr_mimebundle_() or {}
        widget = made[0] if isinstance(made, tuple) else made
        return {kind: data for kind, data in widget.items() if kind.startswith("application/")}

    def _live(self) -> dict[str, Any]:
        return {**self._static(), **self._widget_bundle()}

    def changed(self) -> None:
        """There is news: let the file have it now and then, and be live again if it is not over any more."""
        if self._over():
            return
        if self.frozen:
            self.thaw()
        elif self._kept_final or time.monotonic() > self._kept_at + KEPT_SECONDS:
            self.keep()

    def keep(self) -> None:
        """Let the file have it as it is now."""
        self._kept_final = self._over()
        self._kept_at = time.monotonic()
        if self._keeper is not None:
            self._keeper.put(data=self._static())

    def settle(self) -> None:
        """Be static in the file at once, and in the page after a while; on the engine's loop."""
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self.keep)  # a second for ten thousand rows
        loop.call_later(self._linger, self._settle)

    def _settle(self) -> None:
        if self.frozen or not self._over():
            return
        loop = asyncio.get_running_loop()
        left = self._touched() + self._linger - time.time()
        if left > 0:
            loop.call_later(left, self._settle)
        else:
            self._settling = loop.create_task(self._become_static(), context=contextvars.Context())

    async def _become_static(self) -> None:
        bundle = await asyncio.to_thread(self._static)
        if self._over():
            self._freeze(bundle)

    def freeze(self) -> None:
        """Become static now."""
        self._freeze(self._static())

    def _freeze(self, bundle: dict[str, str]) -> None:
        self.frozen = True
        self._update(bundle)
        if self._keeper is not None:
            # The update does not reach a page that was loaded again since.
            self._keeper.put(data=bundle, live=False)

    def thaw(self) -> None:
        """Be live again, where it has become static."""
        if self.frozen:
            self.frozen = False
            self._update(self._live())
            self.keep()
            if self._keeper is not None:
                self._keeper.put(live=True)

    def _update(self, bundle: dict[str, Any]) -> None:
        if self._handle is not None:
            # A copy: the context itself may be in use in another thread.
            self._context.copy().run(self._handle.update, bundle, raw=True, metadata=self._metadata)


class KernelView:
    """One batch's outputs: in the launching cell, and in every cell that shows `batch.board`."""

    def __init__(self, batch: Batch, *, headless: bool) -> None:
        self._batch = batch
        self._headless = headless
        self._board = live_board(batch, headless=headless)
        self._board.show = self.show
        self._outputs: list[Output] = []
        self.show()
        batch.observe(self._changed, self._end)

    def show(self) -> None:
        """Display the board in the cell that runs."""
        output = Output(
            self._board,
            static=self._static,
            over=lambda: self._batch.state().final,
            touched=lambda: self._board.touched,
            keep=not self._headless,
        )
        self._outputs.append(output)
        if self._batch.state().final:
            if self._headless:
                output.freeze()
            else:
                engine.call(output.settle)

    def _static(self) -> dict[str, str]:
        state = self._batch.state()
        if not state.final:
            return under_way(state)
        made = static(state)
        if not self._headless:
            words = el("small", "Static by now: ", el("code", "batch.board"), " in a cell shows the live board again.")
            made["text/html"] += el("p", words)
        return made

    def _changed(self) -> None:
        for output in self._outputs:
            output.changed()
        self._board.wake()

    async def _end(self) -> None:
        self._board.wake()
        if self._headless:
            self._board.freeze()
            for output in self._outputs:
                output.freeze()
            return
        for output in self._outputs:
            output.settle()
        await asyncio.to_thread(self._board.freeze)


def static(state: BatchState) -> dict[str, str]:
    """A board as HTML without script, and as text, by MIME type."""
    return {"text/plain": _text.summary(state), "text/html": _static.board(state)}


def under_way(state: BatchState) -> dict[str, str]:
    """What stands for a live board where there is none: in a notebook that was saved while it ran."""
    name = _markdown.one_line(state.name, 160) or "batch"
    words = "; under way when this was saved."
    return {
        "text/plain": f"{name}: {_static.so_far(state)}{words}",
        "text/html": _static.under_way(state, words),
    }


class TerminalView:
    """One batch in a terminal or a log; at an IPython prompt only while it is joined: drawing would fight with it."""

    def __init__(self, batch: Batch, *, prompt: bool) -> None:
        self._batch = batch
        self._prompt = prompt
        self._text = _text.LiveText(batch.state)
        self._due: asyncio.TimerHandle | None = None
        if sys.stdin is not None and sys.stdin.isatty():
            batch.asks_by = "input"
        batch.observe(self._changed, self._end)
        if self._drawn:
            self._text.flush()

    @property
    def _drawn(self) -> bool:
        return self._batch.joined > 0 or not self._prompt

    def _changed(self) -> None:
        if self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(TERMINAL_SECONDS, self._draw)

    def _draw(self) -> None:
        self._due = None
        if self._drawn:
            asyncio.get_running_loop().run_in_executor(None, self._text.flush)

    async def _end(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._drawn:
            await asyncio.to_thread(self._text.finish)
