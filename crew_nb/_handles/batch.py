"""`Batch`: the handle on runs started together and joined together; its runs are driven on the engine's loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import threading
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._board import static as _static
from crew_nb._engine.aside import Aside
from crew_nb._engine.driver import Driver
from crew_nb._engine.engine import HERE, engine
from crew_nb._engine.human import CellPrompt
from crew_nb._engine.inside import Inside
from crew_nb._handles.result import Result
from crew_nb._handles.results import SHEET, Results
from crew_nb._handles.run import Run
from crew_nb._scores.scoring import Scorer
from crew_nb._scores.sheet import Sheet
from crew_nb._scores.shown import Shown
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state import loop as _loop
from crew_nb._state import marimo as _marimo
from crew_nb._state.errors import CrewNbError, OptionError
from crew_nb._state.state import BatchState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._engine.engine import Runner
    from crew_nb._engine.limits import Slots
    from crew_nb._record.loaded import StoredRun
    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState, Status

HEARTBEAT = 0.1
"""Seconds between two looks of a joining cell: an idle kernel loop notices Interrupt only when it wakes."""

SETTLE_SECONDS = 0.5
"""How long an interrupted cell waits for its rows to become final, so that what is left behind is whole."""


_FOR_VIEWS = {
    *("asks_by", "at_scored", "command", "created", "ended", "joined", "key", "make_board", "observe"),
    *("open_runs", "options", "start", "state", "sweep", "table", "taps", "wait_quietly"),
}


class Batch:
    """A handle on runs that have already begun: watch them, join them, stop them.

    `await batch` joins from any loop and gives `Results` in input order; `batch.wait()` does in plain code.
    Stopping the wait (the kernel's Interrupt, a cancelled task) stops the batch; what was finished stays in `results`.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        options: Options,
        slots: Slots | None = None,
        runner: Runner = HERE,
        sheet: Sheet | None = None,
    ) -> None:
        self.key = uuid.uuid4().hex[:12]
        """Its name in the record."""
        if not engine.stoppers:
            _clock.look()
        self._driver = Driver(self.key, plans, options, slots, runner)
        self.name = self._driver.hiding.secrets.scrub(options.title)
        self.runs: tuple[Run, ...] = tuple(Run(self, plan.index, plan.inputs) for plan in plans)
        """The handles of its runs, in input order."""
        self._keys = [plan.key for plan in plans]
        self._sheet = sheet or Sheet.of_rows([plan.inputs for plan in plans])
        is_sweep = bool(self._sheet.factors)
        self._driver.kept.also = lambda: {SHEET: self._sheet.kept()}
        self._sheet.keep = self._driver.kept.put_score
        self._is_told = False
        """Whether the driver is about to hear that there are scores; a thousand are told of at once."""
        self._sheet.changed = self._tell_of_scores
        self.sweep = Shown(self._sheet, lambda: self._driver.states, self._sheet.changed) if is_sweep else None
        """What its board shows of a sweep besides its runs; None for any other batch."""
        self.at_scored: list[Callable[[], Awaitable[object]]] = []
        """Awaited on the engine's loop when all is scored, before those who join are told."""
        self._driver.recalled = self._recalled
        self._scorer: Scorer | None = None
        self._scoring: set[asyncio.Task[None]] = set()
        if self._sheet.given:
            self._driver.hearers.append(self._score_ended)
        self._snapshot: BatchState | None = None
        self._board: Any = None
        self.make_board: Callable[[Batch], object] | None = None
        """Makes the board when it is first asked for, where none was to be shown."""
        self.joined = 0
        """How many wait for it now."""

    # --- what a user reads ---------------------------------------------------------------------------------------

    @property
    def options(self) -> Options:
        """The options that it was launched with, and what `limit()` has changed since."""
        return self._driver.options

    @property
    def created(self) -> float:
        """When it was launched, in Unix seconds."""
        return self._driver.created

    @property
    def board(self) -> Any:
        """What a cell shows, also after a launch with `show=False`; None outside of a kernel.

        A live widget, or its static HTML where nobody watches (nbclient, papermill).
        """
        make, self.make_board = self.make_board, None
        if make is not None:
            make(self)
        return self._board

    @board.setter
    def board(self, board: Any) -> None:
        self._board = board
        self._driver.streams_by_default = board is not None

    @property
    def results(self) -> Results:
        """What is finished, at any moment, in input order."""
        state = self.state()
        is_sweep = bool(self._sheet.factors)
        items = (self._result(run, is_sweep) for run in state.runs)
        keep = functools.partial(engine.call, self._driver.put_batch)
        return Results(state, items, self.events, self._sheet, self._aside(), keep)

    def _result(self, run: RunState, is_sweep: bool) -> Result:
        return Result(
            run,
            self.runs[run.index].inputs,
            self._driver.errors[run.index] if run.final else None,
            self._driver.outputs[run.index] if run.final else None,
            _secrets=self._driver.hiding.of(run.index),
            _key=self._keys[run.index],
            cell=self._sheet.cells[run.index] if is_sweep else None,
        )

    def _aside(self) -> Aside:
        return Aside(self.options, before=lambda: self._driver.gate, traces=self._driver.traces)

    @property
    def events(self) -> tuple[ev.Event, ...]:
        """Everything that happened so far, in order (streamed pieces of text apart)."""
        return tuple(self._driver.events)

    @property
    def status(self) -> Status:
        """One status word for all runs: the most urgent of theirs."""
        found = {state.status for state in self._driver.states}
        order: tuple[Status, ...] = ("cancelling", "running", "waiting", "queued", "failed", "cancelled")
        return next((status for status in order if status in found), "done")

    @property
    def open_runs(self) -> int:
        """Runs that have not ended."""
        return self._driver.left

    def state(self) -> BatchState:
        """A snapshot of everything; never changes once read."""
        driver = self._driver
        if self._snapshot is None or not driver.seen:
            driver.seen = True  # first: what changes meanwhile is told again
            gate = driver.gate
            self._snapshot = BatchState(
                key=self.key,
                name=driver.hiding.secrets.scrub(self.name),
                runs=tuple(driver.states),
                created=driver.created,
                finished=driver.finished,
                paused=driver.paused,
                notes=tuple(driver.notes),
                max_concurrency=gate.limit if gate is not None else driver.options.concurrency,
                in_flight=gate.in_flight if gate is not None else 0,
                limit_reason=gate.limit_reason if gate is not None else "",
            )
        return self._snapshot

    def table(self) -> list[dict[str, Any]]:
        """What the board's downloads hold: the rows of `results.to_frame()`."""
        return self.results.table()

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __getitem__(self, index: int) -> Run:
        return self.runs[index]

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for state in self._driver.states:
            counts[state.status] = counts.get(state.status, 0) + 1
        words = ", ".join(f"{n} {status}" for status, n in counts.items())
        return f"<Batch {self._driver.hiding.secrets.scrub(self.name) or self.key} of {len(self)}: {words}>"

    def _repr_html_(self) -> str:
        # One line: the launching cell, whose last line this may be, has its board already.
        state = self.state()
        words = (
            "`batch.board` in a cell shows its board"
            if state.final
            else "`batch.board` is live, and `await batch` joins"
        )
        return str(_static.under_way(state, f" when this cell ran. {words}."))

    def _display_(self) -> Any:
        """What marimo shows of it as a cell's last line: its board, in the place of which that would come."""
        return self._board

    def __dir__(self) -> list[str]:
        """What users are to use; the rest is there for its views."""
        return [name for name in super().__dir__() if name not in _FOR_VIEWS and (name[0] != "_" or name[1] == "_")]

    # --- joining -------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Results]:
        yield from self._join().__await__()
        if self._sheet.given:
            yield from self._await(engine.submit(self._scored())).__await__()
        return self.results

    def wait(self, timeout: float | None = None) -> Results:
        """The same join for plain code: blocks this thread until every run has ended. It never patches a loop.

        Args:
            timeout: Seconds to wait; the batch goes on if they pass.

        Raises:
            TimeoutError: When `timeout` passed first.
            KeyboardInterrupt: On the kernel's Interrupt, after the batch was stopped.
        """
        end = None if timeout is None else time.monotonic() + timeout
        self._block(timeout)
        if self._sheet.given:
            self._block(None if end is None else end - time.monotonic(), final=engine.submit(self._scored()))
        return self.results

    async def ended(self) -> None:
        """Returns when every run has ended; unlike `await batch`, giving up this wait stops nothing."""
        await _wait_for(self._driver.all_final)

    async def as_completed(self) -> AsyncIterator[Run]:
        """The runs in the order in which they end, each as soon as it has."""
        driver = self._driver
        seen = 0
        told: dict[int, int] = {}  # a run that is retried meanwhile ends once more
        while True:
            coming, done = driver.next_final, driver.all_ended
            while seen < len(driver.order):
                place = driver.order[seen]
                seen += 1
                state = driver.states[place]
                if state.final and told.get(place) != state.attempt:
                    told[place] = state.attempt
                    yield self.runs[place]
            if done and seen == len(driver.order) and driver.all_ended:
                return
            await self._await(coming)

    async def _join(self, index: int | None = None) -> None:
        await self._await(self._final(index), index)

    def _final(self, index: int | None) -> concurrent.futures.Future[None]:
        return self._driver.all_final if index is None else self._driver.finals[index]

    async def _await(self, final: concurrent.futures.Future[None], index: int | None = None) -> None:
        if final.done():
            return
        waiter = _wait_for(final)
        at_beat = self._at_beat(awaits=True)
        self.joined += 1
        try:
            while not waiter.done():
                await asyncio.wait([waiter], timeout=HEARTBEAT)
                at_beat()
        except (asyncio.CancelledError, KeyboardInterrupt) as error:
            self.cancel(index)
            settled = _wait_for(self._final(index))
            await asyncio.wait([settled], timeout=SETTLE_SECONDS)
            settled.cancel()
            self._say_stopped(index)
            if isinstance(error, KeyboardInterrupt):  # at the prompt; as it is, it would end the kernel's loop
                raise asyncio.CancelledError from error
            raise
        finally:
            self.joined -= 1
            waiter.cancel()

    def _block(
        self, timeout: float | None, index: int | None = None, final: concurrent.futures.Future[None] | None = None
    ) -> None:
        if engine.here():
            raise CrewNbError("wait() was called from crew_nb's own loop, which would wait for itself. Write `await`.")
        final = self._final(index) if final is None else final
        end = None if timeout is None else time.monotonic() + timeout
        at_beat = self._at_beat(awaits=False)
        self.joined += 1
        try:
            while not final.done():
                left = HEARTBEAT if end is None else min(HEARTBEAT, end - time.monotonic())
                if left <= 0:
                    raise TimeoutError(f"{self!r} did not end within {timeout} s; it goes on.")
                concurrent.futures.wait([final], timeout=left)
                at_beat()
        except KeyboardInterrupt:
            self.cancel(index)
            concurrent.futures.wait([self._final(index)], timeout=SETTLE_SECONDS)
            self._say_stopped(index)
            raise
        finally:
            self.joined -= 1

    def _at_beat(self, *, awaits: bool) -> Callable[[], object]:
        """What a join does now and then: hears the board, or asks people, where the board's form is not heard."""
        if (hear := _marimo.listener()) is not None:
            return hear
        if self.asks_by != "form" or _loop.hears(_loop.where(), awaits=awaits):
            return lambda: None
        prompt = CellPrompt(
            lambda run, key, text: self.command("answer", run=run, key=key, text=text, approve=not text)
        )
        return lambda: prompt.ask(self._driver.states)

    def wait_quietly(self, seconds: float) -> None:
        """Wait until every run has ended, or the seconds have passed."""
        concurrent.futures.wait([self._driver.all_final], timeout=seconds)

    def _say_stopped(self, index: int | None) -> None:
        """The one line that an interrupted cell owes its user; code that gives up a wait is owed none."""
        if _loop.where().kind == "script" or threading.current_thread() is not threading.main_thread():
            return
        if index is not None:
            print("Stopped. run.retry() runs it again, in the same row.")
            return
        done = sum(state.status == "done" for state in self._driver.states)
        print(
            f"Stopped. {done} of {len(self)} runs are done and kept in batch.results; "
            "batch.retry() runs the others, in the same rows."
        )

    # --- steering, from any thread -------------------------------------------------------------------------------

    def cancel(self, run: int | None = None) -> None:
        """Stop every run, or one: no LLM or tool call starts from now on, those in flight are ended where they can be.

        Returns at once; every row is final within 2 seconds. What was finished stays in `results`.

        Raises:
            OptionError: When there is no such run.
        """
        places = range(len(self.runs)) if run is None else (run,)
        if run is not None and (type(run) is not int or run not in range(len(self.runs))):
            raise OptionError(f"run is {run!r}. Write the number of a row, 0 to {len(self.runs) - 1}.")
        self._driver.forbid(places, everything=run is None)
        engine.call(self._driver.cancel, places)
        if run is None:
            engine.call(self._stop_scoring)

    def pause(self) -> None:
        """Hold queued runs, and running ones at their next LLM call."""
        engine.call(self._driver.pause, True)

    def resume(self) -> None:
        """Let a paused batch go on."""
        engine.call(self._driver.pause, False)

    def retry(self, *, restart: bool = False) -> Batch:
        """Run the failed and cancelled runs again, in their rows; `await` the batch for the new results.

        They go on where they ended: tasks of a crew and steps of a flow that were done are not run again.

        Args:
            restart: Whether all of each is run again.
        """
        self._driver.retry(range(len(self.runs)), restart)
        return self

    def limit(self, max_concurrency: int) -> None:
        """Change how many runs and LLM calls may be in flight, while they are.

        Raises:
            OptionError: When it is not a whole number from 1.
        """
        engine.call(self._driver.limit, replace(self._driver.options, max_concurrency=max_concurrency))

    def command(self, name: str, **args: Any) -> None:
        """What the board's buttons do.

        Args:
            name: `cancel` [run], `pause`, `resume`, `retry` [run], or `answer` (run, key, text, approve).
            **args: The arguments of the command.
        """
        known: dict[str, Callable[..., object]] = {
            "cancel": self.cancel,
            "pause": self.pause,
            "resume": self.resume,
            "retry": lambda run=None: self.retry() if run is None else self.runs[run].retry(),
            "answer": lambda run, key, text="", approve=False: engine.call(
                self._driver.answer, run, key, text, approve
            ),
        }
        known[name](**args)

    # --- scores, on the engine's loop ----------------------------------------------------------------------------

    def _score_ended(self, event: ev.Event) -> None:
        if isinstance(event, ev.RunFinished) and event.status == "done":
            self._score([event.run])

    def _score(self, places: Iterable[int]) -> None:
        if self._scorer is None:
            self._scorer = Scorer(self._sheet, self._aside())
        outputs = [self._result(self._driver.states[place], False).to_score() for place in places]
        # An empty context: in that of a run its calls would be the run's.
        work = self._scorer.score(self._sheet.given, outputs, again=False)
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._scoring.add(task)
        task.add_done_callback(self._scoring.discard)

    def _tell_of_scores(self) -> None:
        if not self._is_told:
            self._is_told = True
            engine.call(self._hear_of_scores)

    def _hear_of_scores(self) -> None:
        self._is_told = False
        self._driver.changed()

    async def _scored(self) -> None:
        """Returns when what the sweep was given has scored each run that is done, or scoring was stopped."""
        await self._settle_scoring()
        if not self._driver.stop_all:
            self._score(range(len(self)))  # what the record had, and what a stop has left
            await self._settle_scoring()
        scorer, self._scorer = self._scorer, None
        if scorer is not None:
            scorer.close()
            await self._driver.tidy_answers()
            self._driver.put_batch()
            await asyncio.gather(*(told() for told in self.at_scored))

    async def _settle_scoring(self) -> None:
        while self._scoring:
            await asyncio.wait(self._scoring)

    def _stop_scoring(self) -> None:
        for task in self._scoring:
            task.cancel()

    def _recalled(self, index: int, stored: StoredRun) -> None:
        self._sheet.recall(index, stored.scores, self._driver.states[index].attempt)

    # --- for those who show it -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; called once, by whoever made it."""
        self._driver.under_way = self._under_way
        self._under_way(True)
        engine.call(self._driver.begin, self.name)
        outer = _attempt.current.get()
        if outer is not None:  # a tool of a running crew launches it
            outer.inner.append(self)
            self._driver.streams_by_default = bool(outer.stream)
            self.taps.append(Inside(outer, self.key, [state.label for state in self._driver.states]))
            if outer.stop_reason:
                self.cancel()

    def _under_way(self, runs_are: bool) -> None:
        """While it has runs to end, the engine holds it: nobody else need."""
        (engine.stoppers.add if runs_are else engine.stoppers.discard)(self)

    def observe(self, changed: Callable[[], object], at_end: Callable[[], Awaitable[object]]) -> None:
        """Add a view: `changed` is called on the engine's loop when something has changed since `state()` was read.

        `at_end` is awaited there when every run has ended, before those who join are told.
        """
        self._driver.observers.append(changed)
        self._driver.at_end.append(at_end)

    @property
    def asks_by(self) -> Literal["", "form", "input"]:
        """How a person is asked for `human_input=True`: in the board's form, at the terminal, or not at all."""
        return self._driver.asks_by

    @asks_by.setter
    def asks_by(self, way: Literal["", "form", "input"]) -> None:
        self._driver.asks_by = way

    @property
    def taps(self) -> list[Callable[[ev.Event], object]]:
        """Called on the engine's loop with every event once it is folded, streamed pieces of text too."""
        return self._driver.taps


def _wait_for(final: concurrent.futures.Future[None]) -> asyncio.Future[None]:
    """Awaitable on this loop; giving it up cancels nothing, where `wrap_future` alone would for everybody who waits."""
    return asyncio.shield(asyncio.wrap_future(final))
