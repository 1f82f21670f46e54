"""What takes a batch's runs from the queue to their end, on the engine's loop: the one writer of their state.

Other threads read what it holds (records are frozen, lists only grow or swap an item), post events, and hop onto the
loop for everything else.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from crew_nb._crewai import names as _crewai
from crew_nb._engine import ending as _ending
from crew_nb._engine import engine as _engine
from crew_nb._engine import failure as _failure
from crew_nb._engine import recorded as _recorded
from crew_nb._engine import traces as _traces
from crew_nb._engine.calls import Gate
from crew_nb._engine.engine import engine
from crew_nb._engine.hide import Hiding
from crew_nb._engine.inbox import Inbox
from crew_nb._engine.kept import Kept
from crew_nb._engine.limits import ErrorLimit, Slots, few_files
from crew_nb._engine.queue import Queue
from crew_nb._engine.timers import Timers
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state import state as _state
from crew_nb._state.attempt import Attempt, DoneTask
from crew_nb._state.errors import BudgetExceededError, RunCancelledError
from crew_nb._state.secret_looks import HIDDEN, is_new
from crew_nb._state.secrets import learn_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.names import CrewOutput
    from crew_nb._record.loaded import StoredRun
    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState

Future = concurrent.futures.Future
T = TypeVar("T")

STOP_SECONDS = 1.5
"""After a stop, how long a run may take to end by itself before it is called cancelled."""

END_SECONDS = 1.0
"""How long the last message of a view, or the last line of the record, may take."""

RECORD_SECONDS = 0.3
"""How long a run without a result waits to be on disk before its row is final; one that is done waits as it must."""

LOADING = "loading CrewAI…"


class Driver:
    """One batch's runs on their way."""

    def __init__(
        self, key: str, plans: Sequence[Plan], options: Options, slots: Slots | None, runner: _engine.Runner
    ) -> None:
        self.key = key
        self.options = options
        self.created = _clock.now()
        self.finished: float | None = None
        outer = _attempt.current.get()
        self.hiding = Hiding(plans, outer.secrets if outer is not None else None)
        self.states: list[RunState] = [_state.new_run(p.index, p.label, self.created, p.columns) for p in plans]
        for index, clean in self.hiding.found(self.states, at_once=True).items():
            self.states[index] = clean
        self.outputs: list[CrewOutput | None] = [None] * len(plans)
        self.errors: list[BaseException | None] = [None] * len(plans)
        self.events: list[ev.Event] = []
        """What happened so far, streamed pieces of text apart."""
        self.notes: list[str] = []
        self.order: list[int] = []
        """The runs as they ended."""
        self.left = len(plans)
        """Runs that have not ended."""
        self.finals: list[Future[None]] = [_promise() for _ in plans]
        self.all_final = _promise()
        self.next_final = _promise()
        self.paused = False
        self.stop_all = ""
        """Why no run at all may go on; set from any thread."""
        self.attempts: dict[int, Attempt] = {}
        self.gate: Gate | None = None
        self.streams_by_default = False
        self.asks_by: Literal["", "form", "input"] = ""
        self.traces = _traces.begin(
            key,
            self.hiding.title(options.title),
            self.created,
            plans,
            lambda index: self.states[index].label,
        )
        self.taps: list[Callable[[ev.Event], object]] = [self.traces] if self.traces is not None else []
        """Hear every event, and each piece of a stream as it comes."""
        self.hearers: list[Callable[[ev.Event], object]] = []
        """Hear every event, with pieces that came together as one."""
        self.observers: list[Callable[[], object]] = []
        self.at_end: list[Callable[[], Awaitable[object]]] = []
        self.under_way: Callable[[bool], object] = lambda runs_are: None
        """Told when there are runs to end again, and when all have ended; from any thread."""
        self.seen = False
        """Whether somebody has looked since the last change."""
        self.recorded = _recorded.recorded_for(options, key, self.note)
        self._above = ("", []) if outer is None else (outer.known_as[0], outer.gate.witnesses)
        """The run that launched the batch, as recorded answers know it, and who sees its calls."""
        self._known_as = [("", 0)] * len(plans)
        self._plans = plans
        self._turns = sorted(range(len(plans)), key=lambda index: plans[index].turn)
        self._slots = slots
        self._context = contextvars.copy_context()
        self._finality = threading.RLock()  # a retry must not slip between an end and its announcement
        self._queue = Queue(functools.partial(self._start, placed=True), self._beside)
        self._unwanted: set[int] = set()
        """Runs that were cancelled before they had an attempt."""
        self._retries_due: set[int] = set()
        """Runs that are to be run again: at once, or when they have ended."""
        self._inbox = Inbox(self._fold, self._hide_learnt, lambda: bool(self.taps), self._reading)
        self._forces: dict[int, asyncio.TimerHandle] = {}
        self._events_of: list[list[ev.Event]] = [[] for _ in plans]
        self._no_new_work = ""
        self._error_limit = ErrorLimit(options.max_errors, len(plans))
        self._runner = runner
        self.kept = Kept(key, self.created, plans, options, self.hiding, self.note)
        self._work: set[asyncio.Future[Any]] = set()
        """What goes on beside the runs and is to come to its end."""
        self._looked_through: set[int] = set()
        self._met: dict[Hashable, int] = {}
        self._writers: dict[str, int] = {}
        self._done: dict[int, dict[int, DoneTask]] = {}
        """What the tasks of runs that are not done have done, by position."""
        self._restarts: set[int] = set()
        """Runs that are to be run again from their first task."""
        self.recalled: Callable[[int, StoredRun], object] = lambda index, stored: None
        """Called with each run that the record had."""

    @property
    def all_ended(self) -> bool:
        """Whether every run has ended and none is to be run again."""
        return self.left == 0 and not self._retries_due

    # --- from the queue to the end -------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """Start every run, or first look in the record for what is done."""
        self.gate = Gate(self.options)
        self._meet_witnesses(self.gate)
        if self._slots is None:  # a server's batches share theirs
            self._slots = Slots(self.options.concurrency)
        self.kept.name = name
        if self._runner is _engine.HERE and (words := few_files(min(len(self.states), self.options.concurrency))):
            self.note(words)
        self.put_batch()
        self.kept.keyed = self._beside(self.kept.know())
        if self.options.resume:
            self._beside(self._resume())
        else:
            self._launch(dict.fromkeys(self._turns))

    def _meet_witnesses(self, gate: Gate) -> None:
        """Who sees the calls: the batch's own recorded answers, or those of the run that launched it."""
        above, gate.witnesses = self._above
        if self.recorded is not None:
            gate.witnesses = [self.recorded]
        if gate.witnesses:
            self._known_as = _recorded.known_as(self._plans, self.hiding.of, above)

    def _beside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start what belongs to no run: in an empty context, since a run that launches a batch may be stopped."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _resume(self) -> None:
        """Take from the record what is there, and run the rest."""
        kept, done = await self.kept.found()
        keys = {index: self.kept.keys[index] for index in self._turns}
        for index, key in keys.items():
            self._done[index] = done.get(key, {})
            if unseen := getattr(key, "unseen", ()):
                what = ", ".join(unseen[:3])
                words = f"run, not taken from the record: {what} cannot be looked into, and may have changed"
                self.post(ev.Logged(run=index, at=_clock.now(), text=words))
                self.note(f"{words[0].upper()}{words[1:]}.")
        self._launch({index: kept.get(key) for index, key in keys.items()})

    def _launch(self, runs: Mapping[int, tuple[StoredRun, CrewOutput] | None]) -> None:
        """Runs begin as there are places for them; what the record has of some needs none."""
        for index, kept in runs.items():
            if kept is None:
                self._queue.put(index)
            else:
                self._start(index, kept=kept)
        self._end_unbegun([index for index in self._queue if self.stop_all or index in self._unwanted])
        assert self._slots is not None
        self._queue.give_places(self._slots)

    def _start(self, index: int, *, placed: bool = False, kept: tuple[StoredRun, CrewOutput] | None = None) -> None:
        attempt = Attempt(index, self.post, self._gate_now(), self.note, self.hiding.of(index))
        attempt.asks_by = self.asks_by
        attempt.traces = self.traces
        attempt.known_as = self._known_as[index]
        attempt.usage = self.states[index].usage
        attempt.looked_through = self._looked_through
        attempt.met = self._met
        attempt.writers = self._writers
        attempt.done = self._done.setdefault(index, {})
        attempt.keep = functools.partial(self._keep_task, attempt)
        attempt.slots = self._slots if placed else None
        with self._finality:
            attempt.stop_reason = self.stop_all or ("stopped" if index in self._unwanted else "")
            self._unwanted.discard(index)
            self.attempts[index] = attempt
        loop = asyncio.get_running_loop()
        context = self._context.copy()
        context.run(_attempt.current.set, attempt)
        context.run(_attempt.tool.set, "")
        attempt.main = loop.create_task(self._drive(attempt, kept), context=context)

    def _gate_now(self) -> Gate:
        assert self.gate is not None, "a batch begins with its gate"
        return self.gate

    async def _drive(self, attempt: Attempt, kept: tuple[StoredRun, CrewOutput] | None) -> None:
        """One attempt from the queue to its end."""
        attempt.begun = True
        error: BaseException | None = None
        output: CrewOutput | None = None
        try:
            if kept is not None:
                output = self._recall(attempt, *kept)
            else:
                output = await self._run(attempt)
        except BaseException as raised:
            error = raised
        if attempt.stop_reason and kept is None:
            error, output = _ending.stopped(attempt, self.states[attempt.index].label), None
        elif error is not None:
            error = _ending.failed(error)
        self._end(attempt, error, output, None if kept is None else kept[0].state)

    def _recall(self, attempt: Attempt, stored: StoredRun, output: CrewOutput) -> CrewOutput:
        """What the record has of it takes its place."""
        self.states[attempt.index] = _state.recalled(self.states[attempt.index], stored.state)
        # Its crew is not built, which would tell what to hide.
        if HIDDEN in stored.state.label:
            self.states[attempt.index] = replace(
                self.states[attempt.index], label=stored.state.label, columns=stored.state.columns
            )
        if HIDDEN in stored.inputs_json:
            self.kept.inputs[attempt.index] = stored.inputs
        self.recalled(attempt.index, stored)
        return output

    async def _run(self, attempt: Attempt) -> Any:
        if attempt.stop_reason:
            raise BudgetExceededError(attempt.stop_reason)
        await self._get_ready()
        while self.paused:
            await self._gate_now().resumed.wait()
        if reason := self._no_new_work or self._gate_now().budget.check():
            self._stop_new_work(reason)
            raise BudgetExceededError(reason)
        return await self._kick_off(attempt)

    async def _get_ready(self) -> None:
        words = self._runner.waits_for if _crewai.loaded() else LOADING
        if words:
            self.note(words)
        try:
            if moved := await engine.prepare():
                self.note(moved)
            if self._gate_now().witnesses:
                _recorded.see_lookups()
            engine.begin()
            await self._runner.prepare(self.states)
        finally:
            self._unnote(words)
        if where := self._runner.where:
            self.note(where)

    async def _kick_off(self, attempt: Attempt) -> Any:
        self.post(ev.RunStarted(run=attempt.index, at=_clock.now()))
        timers = Timers(
            self.options,
            functools.partial(self._state_now, attempt.index),
            functools.partial(self.time_out, attempt),
        )
        try:
            timers.begin()
            stream = self.options.stream
            if stream is None and self.streams_by_default:
                stream = True
            plan = self._plans[attempt.index]
            _crewai.forget_enclosing_run()
            return await self._runner.kick_off(plan, attempt, stream=stream, keep_replay=self.options.keep_replay)
        finally:
            timers.end()

    def _state_now(self, index: int) -> RunState:
        self._inbox.drain(index)
        return self.states[index]

    def _end(
        self,
        attempt: Attempt,
        error: BaseException | None,
        output: CrewOutput | None = None,
        kept: RunState | None = None,
    ) -> None:
        """The outcome of an attempt, which nothing that comes later can change."""
        if attempt.ending:
            return
        attempt.ending = True
        # Beside its own task, which the crew's code can get hold of and cancel.
        self._beside(self._finish(attempt, error, output, kept))

    def _end_unbegun(self, places: Sequence[int]) -> None:
        """Those that have no place yet: nothing of the user's has run in them, and thousands end at once."""
        if not places:
            return
        self._queue.take_out(places)
        self._inbox.drain()
        now, ended = _clock.now(), []
        for index in places:
            reason = "stopped" if self.stop_all or index in self._unwanted else self._no_new_work or "stopped"
            error = RunCancelledError(index, self.states[index].label, reason)
            event = ev.RunFinished(run=index, at=now, status="cancelled", error=_failure.own(error))
            ended.append(event)
            self._unwanted.discard(index)
            self._show_end(event, error, None)
        self._beside(self.kept.put_unbegun([(self.states[e.run], self._events_of[e.run]) for e in ended]))
        self._tell_final([event.run for event in ended if event.run in self._retries_due])

    async def _finish(
        self, attempt: Attempt, error: BaseException | None, output: CrewOutput | None, kept: RunState | None
    ) -> None:
        """The outcome: recorded, then shown, then told to those who wait. It comes to its end in every case."""
        index, event = attempt.index, None
        try:
            if error is not None:
                await _ending.unwind(attempt)
            await self._inbox.settle(index)
            self._inbox.drain(index)
            learn_environment()  # the run may have set some
            event, error, output = await _ending.outcome(attempt, self.states[index], error, output, kept)
            if reading := self._reading(event):
                await reading
            *rest, event = self.hiding.clean(event)  # type: ignore[assignment]
            for piece in rest:
                self._apply(piece)
            self._meet(index)
            self._hide_learnt()
            attempt.closed = True
            attempt.gate.abandon(attempt)
            await self._keep(event, output)
        except BaseException as trouble:
            error = error or trouble
            if event is None or event.status == "done":
                output, told = None, _failure.bare(error)
                event = ev.RunFinished(run=index, at=_clock.now(), status="failed", error=told)
            self.note(f"the end of run {index} is not in the record ({_failure.type_name(trouble)})")
        finally:
            attempt.closed = True
            attempt.leave()
        self._final(attempt, event, error, output)

    def _final(
        self, attempt: Attempt, event: ev.RunFinished, error: BaseException | None, output: CrewOutput | None
    ) -> None:
        """The outcome is shown, and told to those who wait."""
        index = attempt.index
        timer = self._forces.pop(index, None)
        if timer is not None:
            timer.cancel()
        self._show_end(event, error, output)
        again = index in self._retries_due and event.status != "done"
        self._after(event)
        self._tell_final([index] if again else [])

    def _show_end(self, event: ev.RunFinished, error: BaseException | None, output: CrewOutput | None) -> None:
        index = event.run
        with self._finality:
            self.attempts.pop(index, None)
            self.outputs[index], self.errors[index] = output, error
            if event.status == "done":
                self._done.pop(index, None)  # its output has it all
                self._retries_due.discard(index)
            self._apply(event)
            self.left -= 1
            if index not in self._retries_due:
                self.order.append(index)
                self.finals[index].set_result(None)

    def _tell_final(self, again: Sequence[int]) -> None:
        """Some runs have ended, of which these are to be run again."""
        if again:
            self._again(again)
        if self.left == 0:
            self._close()
        coming, self.next_final = self.next_final, _promise()
        coming.set_result(None)

    async def _keep(self, event: ev.RunFinished, output: CrewOutput | None) -> None:
        """Put the run's outcome into the record, and wait for that as long as it is worth it."""
        if self.recorded is not None:
            await self.recorded.settle()
        never_began = event.status == "cancelled" and self.states[event.run].started is None
        recorded = self._put_end(event, output, wait=not never_began)
        if event.status == "done":  # paid for
            await asyncio.shield(recorded)
        elif not never_began:  # ten thousand rows of those wait for no disk
            await asyncio.wait([recorded], timeout=RECORD_SECONDS)

    def _put_end(self, event: ev.RunFinished, output: CrewOutput | None, *, wait: bool) -> asyncio.Task[None]:
        def ended() -> tuple[RunState, Sequence[ev.Event]]:
            index = event.run
            return _state.advance(self.states[index], event), [*self._events_of[index], event]

        return self._beside(self.kept.put_end(ended, output, wait=wait))

    async def _keep_task(self, attempt: Attempt, place: int, done: DoneTask) -> None:
        """A task or a step of a run is done: it is on disk before the next one begins."""
        index = attempt.index
        await self._inbox.settle(index)
        if attempt.ending:
            return
        self._inbox.drain(index)
        state = self.states[index]
        own = place if done.step is None else done.step
        inside = (task for at, task in enumerate(state.tasks) if own in (at, state.own_place(at)))
        calls = [call for task in inside for call in task.calls if call.started >= done.began]
        usage = sum((call.usage for call in calls), done.usage)
        cost = functools.reduce(_state.total, (call.cost for call in calls), done.cost)
        attempt.done[place] = replace(done, usage=usage, cost=cost)
        # A stop waits for no disk.
        await asyncio.shield(self._beside(self.kept.put_task(index, place, attempt.done[place])))

    async def _put_again(self, index: int, state: RunState) -> None:
        await self.kept.put_run(state, self._events_of[index], self.outputs[index])

    def put_batch(self) -> None:
        """Write what the record has of the batch besides its runs; on the loop."""
        self.kept.put_batch(self.states)

    def _meet(self, index: int) -> None:
        """A factory's first crew is there, or failed: what was held back until then is stored."""
        if self.hiding.meet(index):
            self._hide_learnt(at_once=True)
            self.put_batch()

    def _hide_learnt(self, *, at_once: bool = False) -> None:
        """Take what has become known as a secret out of what was shown and kept before."""
        found = self.hiding.found(self.states, at_once=at_once)
        for index, clean in found.items():
            self.states[index] = clean
            if clean.final:
                self._beside(self._put_again(index, clean))
            for place, done in self._done.get(index, {}).items():
                self._beside(self.kept.put_task(index, place, done))
        if found:
            self.put_batch()
            self.changed()

    def _after(self, event: ev.RunFinished) -> None:
        """What one run's end means for the others."""
        if event.status != "failed":
            return
        if self.options.fail_fast:
            self._stop_new_work(f"fail_fast: run {event.run} failed")
            self.cancel(range(len(self.states)))
        elif self._error_limit.note_failure():
            self._stop_new_work(self._error_limit.check())
            self.cancel([s.index for s in self.states if s.status == "queued"])

    def _stop_new_work(self, reason: str) -> None:
        if not self._no_new_work:
            self._no_new_work = reason
            self.note(f"stopped: {reason}")

    def _close(self) -> None:
        """Every run is final."""
        self._hide_learnt(at_once=True)
        self.finished = _clock.now()
        self.paused = False
        self._unnote(LOADING)
        self._gate_now().close()
        self._runner.close()
        if self.traces is not None:
            self.traces.end(self.finished)
        self._beside(self.tidy_answers())
        self.changed()
        self._beside(self._tell_end())

    async def tidy_answers(self) -> None:
        """What was recorded is in the file, in its order: the runs' answers, or those of judges after them."""
        if self.recorded is not None:
            await self.recorded.tidy()

    async def _tell_end(self) -> None:
        """The last message of every view goes out before those who join go on, and the record has what it can take."""
        if left := self._work - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=END_SECONDS)
        if self.at_end:
            views = [asyncio.ensure_future(at_end()) for at_end in self.at_end]
            await asyncio.wait(views, timeout=END_SECONDS)
        with self._finality:
            if self.all_ended and not self.all_final.done():
                self.under_way(False)
                self.all_final.set_result(None)

    # --- steering ------------------------------------------------------------------------------------------------

    def forbid(self, places: Sequence[int], everything: bool) -> None:
        """From any thread and at once: no call of these runs starts from now on; `cancel` does the rest on the loop."""
        if everything:
            self.stop_all = "stopped"
        with self._finality:
            for place in places:
                attempt = self.attempts.get(place)
                if attempt is not None:
                    attempt.stop_reason = attempt.stop_reason or "stopped"
                    self._retries_due.discard(place)
                elif not self.finals[place].done():  # it waits for its turn, or the record is looked through first
                    self._unwanted.add(place)
                    self._retries_due.discard(place)

    def cancel(self, places: Sequence[int]) -> None:
        """End these runs."""
        self._end_unbegun([place for place in places if place in self._queue])
        for place in places:
            attempt = self.attempts.get(place)
            if attempt is None or attempt.ending or self.states[place].status == "cancelling":
                continue
            self._stop(attempt, attempt.stop_reason or self._no_new_work or "stopped")

    def _stop(self, attempt: Attempt, reason: str) -> None:
        attempt.stop_reason = reason
        if self.states[attempt.index].status != "queued":
            self.post(ev.RunCancelling(run=attempt.index, at=_clock.now()))
        for task in list(attempt.tasks):
            # One that has not begun sees by itself that it need not; cancelled now, it would never come to its end.
            if not task.done() and (attempt.begun or task is not attempt.main):
                task.cancel()
        attempt.gate.hang_up(attempt)
        for batch in attempt.inner:
            batch.cancel()
        self._forces[attempt.index] = asyncio.get_running_loop().call_later(STOP_SECONDS, self._force, attempt)

    def _force(self, attempt: Attempt) -> None:
        """A run that does not end by itself is called ended; what still comes of it is dropped."""
        self._end(attempt, _ending.stopped(attempt, self.states[attempt.index].label))

    def time_out(self, attempt: Attempt, words: str) -> None:
        """End an attempt whose time is over."""
        if not attempt.ending and not attempt.stop_reason:
            attempt.timed_out = True
            self._stop(attempt, words)

    def pause(self, paused: bool) -> None:
        """Hold queued runs, and running ones at their next LLM call; or let them go on."""
        self.paused = paused
        gate = self._gate_now()
        if paused:
            gate.resumed.clear()
        else:
            gate.resumed.set()
        self.changed()

    def limit(self, options: Options) -> None:
        """Keep to the `max_concurrency` of these options from now on."""
        self.options = options
        if self._slots is not None:
            self._slots.limit = options.concurrency
        self._gate_now().retune(options.concurrency)
        self.changed()

    def retry(self, places: Sequence[int], restart: bool = False) -> None:
        """From any thread: run those of these again that have no output; who joins now waits for them.

        Those that are being stopped are run again when they have ended.

        Args:
            places: The runs.
            restart: Whether their tasks that are done are run again, too.
        """
        with self._finality:
            ended = [
                place
                for place in places
                if self.states[place].status in ("failed", "cancelled") and self.finals[place].done()
            ]
            due = [*ended, *(p for p in places if self._is_stopping(p))]
            self._retries_due.update(due)
            self._restarts.difference_update(due)
            self._restarts.update(due if restart else ())
            for place in ended:
                self.finals[place] = _promise()
            if ended and self.all_final.done():
                self.under_way(True)
                self.all_final = _promise()
        if ended:
            engine.call_and_wait(self._again, ended)  # so that the statuses read next are the new ones

    def _is_stopping(self, place: int) -> bool:
        attempt = self.attempts.get(place)
        is_told = place in self._unwanted if attempt is None else bool(attempt.stop_reason)
        return is_told and not self.finals[place].done()

    def _again(self, places: Sequence[int]) -> None:
        self._retries_due.difference_update(places)
        if self.finished is not None:
            self.gate = Gate(self.options, before=self._gate_now())
            self.finished = None
            self.pause(self.paused)
        self._no_new_work = self.stop_all = ""
        self.notes = [note for note in self.notes if not note.startswith("stopped: ")]
        self._error_limit = ErrorLimit(self.options.max_errors, len(self.states))
        for place in places:
            if place in self._restarts:
                self._restarts.discard(place)
                self._forget_tasks(place)
            self.left += 1
            self._inbox.drain(place, at_once=True)  # what an earlier try has said comes before the next one
            self.outputs[place] = self.errors[place] = None
            self._apply(ev.RunQueued(run=place, at=_clock.now(), attempt=self.states[place].attempt + 1))
        self._launch(dict.fromkeys(places))

    def _forget_tasks(self, index: int) -> None:
        """What its tasks have done is not taken over by any later try."""
        for place in self._done.pop(index, {}):
            self._beside(self.kept.put_task(index, place, DoneTask(asked="")))

    def answer(self, run: int, key: str, text: str, approve: bool) -> None:
        """What a person said to a question of a run."""
        attempt = self.attempts.get(run)
        if attempt is not None:
            attempt.answer(key, text, approve)

    # --- events --------------------------------------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        """Take an event from any thread; those of a run are folded in the order in which they came."""
        self._inbox.post(event)

    def _reading(self, event: ev.Event) -> asyncio.Task[str] | None:
        """A long text is looked through in a thread before it comes by here, where it would hold up all others."""
        text = getattr(event, "output", "")
        if not is_new(text):
            return None
        return self._beside(_engine.work_out(self.hiding.of(event.run).scrub, text))

    def _fold(self, event: ev.Event) -> None:
        # What is shown, kept and saved is made from events: here is where a secret ends.
        for clean in self.hiding.clean(event):
            self._apply(clean)
        if isinstance(event, ev.CrewReady):
            self._meet(event.run)

    def _apply(self, event: ev.Event) -> None:
        self.states[event.run] = _state.advance(self.states[event.run], event)
        if not isinstance(event, ev.CallChunk):
            self.events.append(event)
            self._events_of[event.run].append(event)
        for told in (self.taps, self.hearers):
            for tell in list(told):
                try:
                    tell(event)
                except Exception as error:  # who listens must not keep a run from its end
                    told.remove(tell)
                    self.notes.append(f"a listener was left out: {_failure.type_name(error)}: {_failure.said(error)}")
        if not isinstance(event, ev.CallFinished | ev.CallFailed) or event.kind != "llm" or self.gate is None:
            pass
        elif isinstance(event, ev.CallFinished) or event.usage.total_tokens:
            budget = self.gate.budget
            budget.spend(event.usage.total_tokens, event.cost)
            if reason := budget.check():
                self._stop_new_work(reason)
            elif budget.max_cost is not None and event.cost is None:
                self.note("max_cost cannot be kept: the price of an LLM is unknown; cnb.set_price(...) tells it")
        self.changed()

    def note(self, text: str) -> None:
        """A line for people in the head of the board."""
        if text not in self.notes:
            self.notes.append(text)
            self.changed()

    def _unnote(self, text: str) -> None:
        if text in self.notes:
            self.notes.remove(text)
            self.changed()

    def changed(self) -> None:
        """Tell the views; not again before one of them has looked."""
        if self.seen:
            self.seen = False
            for changed in list(self.observers):
                try:
                    changed()
                except Exception as error:  # a view that cannot draw must not keep a run from its end
                    self.observers.remove(changed)
                    self.notes.append(f"the board stands still: {type(error).__name__}: {_failure.said(error)}")


def _promise() -> Future[None]:
    """A future that nobody who waits for it can cancel: the others wait for it too."""
    promise: Future[None] = Future()
    promise.set_running_or_notify_cancel()
    return promise
