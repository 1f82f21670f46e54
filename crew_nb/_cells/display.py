"""Where a batch is drawn: a widget that becomes static HTML, or HTML alone where nobody watches; text in a terminal."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from crew_nb._board import static as _static
from crew_nb._board import sweep as _sweep
from crew_nb._board import text as _text
from crew_nb._board.together import Together
from crew_nb._engine.engine import engine
from crew_nb._state import loop as _loop
from crew_nb._state import marimo as _marimo
from crew_nb._state import words as _words
from crew_nb._state.html import el, join

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crew_nb._board.keeper import Keeper
    from crew_nb._board.sweep import Sweep
    from crew_nb._board.together import Shown
    from crew_nb._board.widget import Board, Paced, Pacer
    from crew_nb._handles.batch import Batch
    from crew_nb._state.html import Html
    from crew_nb._state.loop import Place
    from crew_nb._state.state import BatchState

LINGER_SECONDS = 60.0
"""How long the live board stays after the end and after the last touch. Then the output becomes static HTML, since a
saved widget is empty where there is no kernel; `Keeper` sees to that in JupyterLab, other front ends need this."""

KEPT_SECONDS = 10.0
"""How old the words may be that a notebook's file has of a batch that is under way."""

TERMINAL_SECONDS = 0.25


class View(Protocol):
    """What a cell shows its batches in."""

    def add(self, batch: Batch) -> None:
        """Show one more batch of the same cell."""


_views: weakref.WeakValueDictionary[str, View] = weakref.WeakValueDictionary()
"""What each cell shows its batches in, by the cell's execution, as long as one of them is kept."""


def show(batch: Batch, place: Place) -> None:
    """Draw the batch where it was launched, until its end: with what this cell has launched before, if it has."""
    view = _views.get(place.execution)
    if view is not None:
        view.add(batch)
        return
    make = view_in(place)
    view = make(batch) if make is not None else TerminalView(batch, prompt=place.kind == "terminal")
    if place.execution:
        _views[place.execution] = view


def view_in(place: Place) -> Callable[..., View] | None:
    """What shows a batch there; None for a terminal."""
    if place.kind == "marimo":
        return SavedMarimoView if place.headless else MarimoView
    if place.kind == "kernel":
        return SavedView if place.headless else KernelView
    return None


@functools.cache
def _pacer(loop: asyncio.AbstractEventLoop) -> Pacer:
    from crew_nb._board.widget import Pacer

    return Pacer(loop)


def live_board(shown: Shown, batches: Sequence[Batch]) -> Board:
    """A board of these batches that is kept up to date, not displayed yet.

    It is closed once it rests and the first of them has gone.
    """
    from crew_nb._board.widget import Board

    board = Board(shown)
    for batch in batches:
        batch.board = board
        batch.asks_by = "form"
    pace(board)
    after(batches[0], _close_board, board)
    return board


def pace(widget: Paced) -> None:
    """Let the widget take its turn among all that are live."""
    _pacer(engine.loop).add(widget)


def after(gone: object, function: Callable[..., object], *args: Any) -> None:
    """Call the function on the engine's loop once the object has gone; `args` must not hold it."""
    loop = engine.loop  # now: the object may go while this very thread holds the engine's lock

    def hop() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function, *args)

    weakref.finalize(gone, hop).atexit = False


def _close_board(board: Board) -> None:
    if not board.looked_at:  # a view that somebody has put elsewhere keeps its last words
        board.close()


def _close_keepers(keepers: list[Keeper]) -> None:
    for keeper in keepers:
        keeper.close()


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
        rests: Callable[[], object] = lambda: None,
    ) -> None:
        """Display it.

        Args:
            widget: What is shown while it is live.
            static: HTML and text of the same, by MIME type.
            over: Whether nothing more will come.
            touched: When somebody last used it, by the monotonic clock.
            linger: Seconds that it stays live after the end and the last touch; None for `LINGER_SECONDS`.
            rests: Called when it has become static.
        """
        from IPython.display import display

        from crew_nb._board.keeper import Keeper

        self._widget = widget
        self._static = static
        self._over = over
        self._touched = touched
        self._linger = LINGER_SECONDS if linger is None else linger
        self._rests = rests
        self._redraws = _redraws()
        self.frozen = False
        """Whether it is static now."""
        self._kept_final = self._over()
        self._kept_at = time.monotonic()
        self._keeping: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()
        self.keeper = Keeper(widget)
        """What looks after what a notebook's file has of it."""
        live = self._live(self._static())
        self._handle: Any = display(live, raw=True, display_id=True, metadata=self.keeper.metadata)  # type: ignore[no-untyped-call]

    def _live(self, static: dict[str, str]) -> dict[str, Any]:
        from crew_nb._board.keeper import view_of

        return {**static, **view_of(self._widget)}

    def changed(self) -> None:
        """There is news: let the file have it in a while, and be live again if it is not over any more.

        On the engine's loop. What is called for each token must not look at the runs, of which there may be thousands.
        """
        if self._over():
            return
        if self.frozen:
            self.thaw()
        elif self._kept_final:
            self.keep()
        elif self._keeping is None:
            left = self._kept_at + KEPT_SECONDS - time.monotonic()
            self._keeping = _later(left, self._keep_in_time)

    def _keep_in_time(self) -> None:
        self._keeping = None
        if not self._over():
            self.keep()

    def keep(self) -> None:
        """Let the file have it as it is now."""
        self._kept_final = self._over()
        self._kept_at = time.monotonic()
        static = self._static()
        self.keeper.put(data=static)
        if not (self._redraws or self.frozen):
            self._update(self._live(static))

    def settle(self) -> None:
        """Be static in the file at once, and in the page after a while; on the engine's loop."""
        self._drop_timers()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self.keep)  # a second for ten thousand rows
        self._settling = _later(self._linger, self._settle)

    def _drop_timers(self) -> None:
        for due in (self._keeping, self._settling):
            if due is not None:
                due.cancel()
        self._keeping = self._settling = None

    def _settle(self) -> None:
        if self.frozen or not self._over():
            return
        loop = asyncio.get_running_loop()
        left = self._touched() + self._linger - time.monotonic()
        if left > 0:
            self._settling = _later(left, self._settle)
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
        # The update does not reach a page that was loaded again since.
        self.keeper.put(data=bundle, live=False)
        self._rests()

    def close(self) -> None:
        """Become static now, and stay so."""
        if not self.frozen:
            self.freeze()
        engine.call(self._drop_timers)
        self.keeper.close()

    def thaw(self) -> None:
        """Be live again, where it has become static."""
        if self.frozen:
            self.frozen = False
            self._update(self._live(self._static()))
            self.keep()
            self.keeper.put(live=True)

    def _update(self, bundle: dict[str, Any]) -> None:
        if self._handle is not None:
            # A copy: the context itself may be in use in another thread.
            self._context.copy().run(self._handle.update, bundle, raw=True, metadata=self.keeper.metadata)


def _redraws() -> bool:
    """Whether the page draws a widget anew when its output is updated, and knows it again when it is loaded again.

    VS Code does neither (1.139): there the words beside a widget can be changed, and each output needs one of its own.
    """
    return _loop.where().front_end != "vscode"


def _later(seconds: float, function: Callable[[], object]) -> asyncio.TimerHandle:
    # An empty context: that of a run holds its whole batch, and a handle that is cancelled still holds its context.
    return asyncio.get_running_loop().call_later(max(0.0, seconds), function, context=contextvars.Context())


class KernelView:
    """The outputs of a cell's batch, or batches: in the cell, and in every cell that shows `batch.board`."""

    def __init__(self, batch: Batch, *, shown: bool = True) -> None:
        self._batch: Shown = batch
        self._batches = [batch]
        self._boards: list[Board] = []
        self._draw()
        self._outputs: list[Output] = []
        self._keepers: list[Keeper] = []
        after(batch, _close_keepers, self._keepers)
        if shown:
            self.show()
        batch.observe(self._changed, self._end)
        batch.at_scored.append(self._end)

    def _draw(self) -> None:
        """Make a board."""
        board = live_board(self._batch, self._batches)
        # The batch keeps this view, and a board, which all widgets keep, must not keep the batch.
        show = weakref.WeakMethod(self.show)
        board.show = lambda: (found := show()) and found()
        self._boards.append(board)

    def show(self) -> None:
        """Display the board in the cell that runs."""
        if self._outputs and not _redraws():
            self._draw()
        board = self._boards[-1]
        board.rouse(self._batch)
        output = Output(
            board,
            static=self._static,
            over=self._over,
            touched=lambda: board.touched,
            rests=self._rests,
        )
        self._keepers.append(output.keeper)
        self._outputs.append(output)
        if self._over():
            engine.call(output.settle)

    def add(self, batch: Batch) -> None:
        """Show one more batch of the same cell, which has not begun."""
        self._batch = together(self._batch, batch)
        self._batches.append(batch)
        batch.board = self._boards[-1]
        batch.asks_by = "form"
        batch.observe(self._changed, self._end)
        engine.call(self._changed)

    def _over(self) -> bool:
        return self._batch.open_runs == 0

    def _static(self) -> dict[str, str]:
        state = self._batch.state()
        text, html = drawn(state, self._batch.sweep)
        if state.final:
            words = el("small", "Static by now: ", el("code", "batch.board"), " in a cell shows the live board again.")
            html = join([html, el("p", words)])
        return bundle(text, html)

    def _changed(self) -> None:
        if self._over():
            self._batch.state()  # who does not look is not told when it is tried again
        else:
            for board in self._boards:
                board.rouse(self._batch)
        for output in self._outputs:
            output.changed()
        for board in self._boards:
            board.wake()

    def _rests(self) -> None:
        if self._over() and all(output.frozen for output in self._outputs):
            for board in self._boards:
                board.rest()

    async def _end(self) -> None:
        for board in self._boards:
            board.wake()
        if self._over():
            for output in self._outputs:
                output.settle()
            for board in self._boards:
                await asyncio.to_thread(board.freeze)


class SavedView:
    """A cell where nobody watches: static HTML, as it is when it shows it and, in the same outputs, at the end.

    No widget: programs such as nbclient keep the state of each with the notebook.
    """

    def __init__(self, batch: Batch, *, shown: bool = True) -> None:
        self._batch: Shown = batch
        self._updates: list[Callable[[dict[str, str]], object]] = []
        batch.board = self
        if shown:
            self._ipython_display_()
        batch.observe(lambda: None, self._end)
        batch.at_scored.append(self._end)

    def add(self, batch: Batch) -> None:
        """Show one more batch of the same cell."""
        self._batch = together(self._batch, batch)
        batch.board = self
        batch.observe(lambda: None, self._end)
        batch.at_scored.append(self._end)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        handle: Any = display(self._static(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if handle is not None:
            # The engine's thread updates it, and is in no cell of its own.
            update = functools.partial(handle.update, raw=True)
            self._updates.append(functools.partial(contextvars.copy_context().run, update))

    def _static(self) -> dict[str, str]:
        return bundle(*drawn(self._batch.state(), self._batch.sweep))

    async def _end(self) -> None:
        final = await asyncio.to_thread(self._static)  # a second for ten thousand rows
        for update in self._updates:
            update(final)


class MarimoView:
    """The live board in a cell of marimo's.

    A cell that is run again stops what it had launched, as nothing refers to that any longer, and says so.
    """

    def __init__(self, batch: Batch, *, shown: bool = True) -> None:
        self._batch: Shown = batch
        self._batches: list[Batch] = []
        self._board = live_board(batch, [batch])
        self._follow(batch)
        _marimo.early.add(self._board.model_id)
        _marimo.when_left(self._leave)
        if shown:
            import marimo

            marimo.output.append(self._board)

    def add(self, batch: Batch) -> None:
        """Show one more batch of the same cell."""
        self._batch = together(self._batch, batch)
        batch.board = self._board
        batch.asks_by = "form"
        self._follow(batch)
        self._board.rouse(self._batch)

    def _follow(self, batch: Batch) -> None:
        self._batches.append(batch)
        batch.observe(self._board.wake, self._end)
        batch.at_scored.append(self._end)

    def _leave(self) -> None:
        import marimo

        for execution in [name for name, view in _views.items() if view is self]:
            del _views[execution]  # the next execution may have the same name
        _marimo.early.discard(self._board.model_id)
        for batch in self._batches:
            if batch.open_runs:
                done = sum(run.status == "done" for run in batch)
                batch.cancel()
                words = f"{done} of {len(batch)} runs were done and are kept; resume=True takes them over."
                marimo.status.toast("The cell was left while its batch was under way, which was stopped.", words)
        self._board.close()

    async def _end(self) -> None:
        self._board.wake()
        if not self._batch.open_runs:
            await asyncio.to_thread(self._board.freeze)


class SavedMarimoView:
    """A cell of marimo's where nobody watches: static HTML, as it is when it is shown."""

    def __init__(self, batch: Batch, *, shown: bool = True) -> None:
        self._batch: Shown = batch
        batch.board = self

    def add(self, batch: Batch) -> None:
        """Show one more batch of the same cell, once the first has ended."""
        SavedMarimoView(batch)

    def _display_(self) -> Any:
        import marimo

        return marimo.Html(drawn(self._batch.state(), self._batch.sweep)[1])


def append_in_marimo(batch: Batch) -> None:
    """Show its board in the cell that runs."""
    import marimo

    marimo.output.append(batch.board)


def together(shown: Shown, batch: Batch) -> Together:
    """What a view shows, and one batch more."""
    return shown.and_then(batch) if isinstance(shown, Together) else Together(shown, batch)


def drawn(state: BatchState, sweep: Sweep | None = None) -> tuple[str, Html]:
    """A board as text, and as HTML without script; one that is not final in a line, as a file has it meanwhile."""
    if state.final:
        scored = None if sweep is None else _sweep.static(state, sweep)
        return _text.summary(state), join([_static.board(state), *([] if scored is None else [scored])])
    name = _words.one_line(state.name, 160) or "batch"
    words = "; under way when this was saved."
    return f"{name}: {_static.so_far(state)}{words}", _static.under_way(state, words)


def bundle(text: str, html: Html) -> dict[str, str]:
    """Text and HTML by MIME type."""
    return {"text/plain": text, "text/html": html}


class TerminalView:
    """A terminal or a log; at an IPython prompt only while a batch is joined: drawing would fight with it."""

    def __init__(self, batch: Batch, *, prompt: bool) -> None:
        self._batch: Shown = batch
        self._prompt = prompt
        self._text = _text.LiveText(lambda: self._batch.state())
        self._due: asyncio.TimerHandle | None = None
        self._watch(batch)

    def add(self, batch: Batch) -> None:
        """Show one more batch of what was typed at the prompt."""
        self._batch = together(self._batch, batch)
        self._watch(batch)

    def _watch(self, batch: Batch) -> None:
        if sys.stdin is not None and sys.stdin.isatty():
            batch.asks_by = "input"
        batch.observe(self._changed, self._end)
        if self._drawn:
            self._text.flush()
        else:
            self._batch.state()  # who does not look is not told

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
        else:
            self._batch.state()  # who does not look is not told again

    async def _end(self) -> None:
        if self._batch.open_runs:
            return
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._drawn:
            await asyncio.to_thread(self._text.finish)
