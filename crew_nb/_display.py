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
    from crew_nb._loop import Place
    from crew_nb._state import BatchState

LINGER_SECONDS = 60.0
"""How long the live board stays after the end and after the last touch. Then the output becomes static HTML, since a
saved widget is empty where there is no kernel."""

LEFT_SECONDS = 2.0
"""How long a view may take to say goodbye, once its output is static; one that is still there was loaded again."""

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
    """One output of a cell: a live widget, and static HTML once all is over and nobody touches it."""

    def __init__(
        self,
        widget: Any,
        *,
        static: Callable[[], dict[str, str]],
        over: Callable[[], bool],
        touched: Callable[[], float],
        linger: float | None = None,
        board: Callable[[], Board] | None = None,
    ) -> None:
        """Display it.

        Args:
            widget: What is shown while it is live.
            static: HTML and text of the same, by MIME type.
            over: Whether nothing more will come.
            touched: When somebody last used it, in Unix seconds.
            linger: Seconds that it stays live after the end and the last touch; None for `LINGER_SECONDS`.
            board: The board in it, which knows the pages that have been loaded again since.
        """
        from IPython.display import display

        self._widget = widget
        self._static = static
        self._over = over
        self._touched = touched
        self._linger = LINGER_SECONDS if linger is None else linger
        self._board = board
        self.frozen = False
        """Whether it is static now."""
        self._context = contextvars.copy_context()
        self._handle: Any = display(self._live(), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def _live(self) -> dict[str, Any]:
        made: Any = self._widget._repr_mimebundle_() or {}
        widget = made[0] if isinstance(made, tuple) else made
        return {**self._static(), **{kind: data for kind, data in widget.items() if kind.startswith("application/")}}

    def settle(self) -> None:
        """Become static after a while; on the engine's loop."""
        asyncio.get_running_loop().call_later(self._linger, self._settle)

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
        bundle = await asyncio.to_thread(self._static)  # a second for ten thousand rows
        if not self._over():
            return
        self.frozen = True
        self._update(bundle)
        await asyncio.sleep(LEFT_SECONDS)
        if self.frozen and self._board is not None:
            self._board().replace(self._widget.model_id, bundle)

    def freeze(self) -> None:
        """Become static now."""
        self.frozen = True
        self._update(self._static())

    def thaw(self) -> None:
        """Be live again, where it has become static."""
        if self.frozen:
            self.frozen = False
            self._update(self._live())

    def _update(self, bundle: dict[str, Any]) -> None:
        if self._handle is not None:
            # A copy: the context itself may be in use in another thread.
            self._context.copy().run(self._handle.update, bundle, raw=True)


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
            board=lambda: self._board,
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
        if any(output.frozen for output in self._outputs) and not self._batch.state().final:
            for output in self._outputs:
                output.thaw()  # it was retried
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
    count = f"{len(state.runs):,} run" + ("" if len(state.runs) == 1 else "s")
    words = f"{count}, under way when this was saved."
    html = el("p", el("strong", name), f" — {words}")
    return {
        "text/plain": f"{name}: {words}",
        "text/html": el("div", html, class_="crew-nb mathjax_ignore tex2jax_ignore", dir="auto"),
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
