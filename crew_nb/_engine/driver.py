"""What takes a batch's runs from the queue to their end, on the engine's loop: the one writer of their state.

Other threads read what it holds (records are frozen, lists only grow or swap an item), post events, and hop onto the
loop for everything else.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import threading
import time
import uuid
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import outputs as _outputs
from crew_nb._engine import engine as _engine
from crew_nb._engine import failure as _failure
from crew_nb._engine import recorded as _recorded
from crew_nb._engine import traces as _traces
from crew_nb._engine.calls import Gate
from crew_nb._engine.engine import engine
from crew_nb._engine.hide import Hiding
from crew_nb._engine.limits import ErrorLimit, Slots, few_files
from crew_nb._record import fingerprint as _fingerprint
from crew_nb._record import record as _record
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state import state as _state
from crew_nb._state.attempt import Attempt, DoneTask
from crew_nb._state.errors import BudgetExceededError, RunCancelledError, RunTimeoutError
from crew_nb._state.secret_looks import HIDDEN
from crew_nb._state.secrets import learn_environment
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.names import CrewOutput
    from crew_nb._record.fingerprint import Key
    from crew_nb._record.loaded import StoredRun, StoredTask
    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState

T = TypeVar("T")
Future = concurrent.futures.Future

UNWIND_SECONDS = 0.1
"""How long the threads of a run that has ended may take to come back before they are called unstoppable."""

STOP_SECONDS = 1.5
"""After a stop, how long a run may take to end by itself before it is called cancelled."""

END_SECONDS = 1.0
"""How long the last message of a view, or the last line of the record, may take."""

RECORD_SECONDS = 0.3
"""How long a run without a result waits to be on disk before its row is final; one that is done waits as it must."""

LOOK_SECONDS = 5.0
"""How long a look at a user's own object (an error, an output) may take: its methods may hang."""

ENCODE_SECONDS = 20.0
"""The same for what is kept of it, which may be large."""

PIECES_SECONDS = 0.1
"""How old the text of a stream may be that is shown: its pieces are folded together, as no board draws more often."""

KEY_SECONDS = 60.0
"""The same for what all runs of a batch are known by."""

_PLAIN = frozenset({str, int, float, bool, type(None)})
"""What has no methods of the user's."""

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
        self._unwanted: set[int] = set()
        """Runs that were cancelled before they had an attempt."""
        self._retries_due: set[int] = set()
        """Runs that are to be run again: at once, or when they have ended."""
        self._inbox: deque[ev.Event] = deque()
        self._drain_due = False
        self._pieces: dict[int, dict[str, list[ev.CallChunk]]] = {}
        """Text that was streamed and is not folded yet, by run and call."""
        self._pieces_due = False
        self._forces: dict[int, asyncio.TimerHandle] = {}
        self._events_of: list[list[ev.Event]] = [[] for _ in plans]
        self._no_new_work = ""
        self._error_limit = ErrorLimit(options.max_errors, len(plans))
        self._runner = runner
        self._store = _record.get()
        self._run_keys: Sequence[str] = [""] * len(plans)
        self._keyed: asyncio.Future[None] | None = None
        self._work: set[asyncio.Future[None]] = set()
        """What goes on beside the runs and is to come to its end."""
        self._looked_through: set[int] = set()
        self._met: dict[Hashable, int] = {}
        self._writers: dict[str, int] = {}
        self._done: dict[int, dict[int, DoneTask]] = {}
        """What the tasks of runs that are not done have done, by position."""
        self._restarts: set[int] = set()
        """Runs that are to be run again from their first task."""
        self._hidden_inputs: dict[int, Mapping[str, object] | None] = {}
        """Inputs of runs that the record had, as it has them: without secrets."""
        self._name = ""
        self.kept_too: Callable[[], Mapping[str, Any]] = dict
        """What else of the batch is to be in the record."""
        self.put_score = functools.partial(self._store.put_score, key)
        """Puts a score of one of its runs into the record."""
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
        self._name = name
        if self._runner is _engine.HERE and (words := few_files(min(len(self.states), self.options.concurrency))):
            self.note(words)
        self.put_batch()
        self._keyed = self._beside(self._key())
        if self.options.resume:
            self._beside(self._resume())
        else:
            for index in self._turns:
                self._launch(index)

    def _meet_witnesses(self, gate: Gate) -> None:
        """Who sees the calls: the batch's own recorded answers, or those of the run that launched it."""
        above, gate.witnesses = self._above
        if self.recorded is not None:
            gate.witnesses = [self.recorded]
        if gate.witnesses:
            self._known_as = _recorded.known_as(self._plans, self.hiding.of, above)

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start what belongs to no run: in an empty context, since a run that launches a batch may be stopped."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _key(self) -> None:
        """What each run is known by: the content of its blueprint and inputs, and how often it stands in the batch."""
        try:
            # Modules that a factory imports late are imported for it, and those may import CrewAI.
            with contextlib.suppress(Exception):
                await engine.prepare()
            work = asyncio.ensure_future(_engine.work_out(_run_keys, self._plans))
            self._run_keys = await asyncio.wait_for(asyncio.shield(work), KEY_SECONDS)
        except Exception as error:  # the user's objects are walked; the runs must end all the same
            self.note(f"resume=True will not know these runs: their content cannot be read ({_failure.said(error)})")
            self._run_keys = [uuid.uuid4().hex for _ in self._plans]

    async def _resume(self) -> None:
        """Take from the record what is there, and run the rest."""
        assert self._keyed is not None
        await self._keyed
        name = self.options.resume if isinstance(self.options.resume, str) else None
        found = await asyncio.to_thread(self._store.find_done, self._run_keys, name)
        kept = await asyncio.to_thread(_readable, found)
        begun = await asyncio.to_thread(self._store.find_tasks, set(self._run_keys) - set(kept), name)
        done = await asyncio.to_thread(_readable_tasks, begun)
        for index in self._turns:
            key = self._run_keys[index]
            self._done[index] = done.get(key, {})
            self._launch(index, kept.get(key))
            if unseen := getattr(key, "unseen", ()):
                what = ", ".join(unseen[:3])
                words = f"run, not taken from the record: {what} cannot be looked into, and may have changed"
                self.attempts[index].log(words)
                self.note(f"{words[0].upper()}{words[1:]}.")

    def _launch(self, index: int, kept: tuple[StoredRun, CrewOutput] | None = None) -> None:
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
        assert self._slots is not None
        attempt.begun = True
        error: BaseException | None = None
        output: CrewOutput | None = None
        try:
            if kept is not None:
                output = self._recall(attempt, *kept)
            else:
                output = await self._run(attempt, self._slots)
        except BaseException as raised:
            error = raised
        if attempt.stop_reason and kept is None:
            error, output = self._stopped(attempt), None
        elif _failure.is_a(error, asyncio.CancelledError):
            trouble = RuntimeError("the crew's own code was cancelled, though nobody stopped the run")
            trouble.__cause__ = error
            error = trouble
        elif error is not None:
            error = _failure.cause(error)
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
            self._hidden_inputs[attempt.index] = stored.inputs
        self.recalled(attempt.index, stored)
        return output

    async def _run(self, attempt: Attempt, slots: Slots) -> Any:
        if attempt.stop_reason:
            raise BudgetExceededError(attempt.stop_reason)
        await self._get_ready()
        await slots.acquire()
        attempt.slots = slots
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
            engine.begin()
            await self._runner.prepare(self.states)
        finally:
            self._unnote(words)

    async def _kick_off(self, attempt: Attempt) -> Any:
        self.post(ev.RunStarted(run=attempt.index, at=_clock.now()))
        timers = _Timers(self, attempt)
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

    def _stopped(self, attempt: Attempt) -> BaseException:
        label = self.states[attempt.index].label
        if attempt.timed_out:
            return RunTimeoutError(attempt.index, label, attempt.stop_reason)
        return RunCancelledError(attempt.index, label, attempt.stop_reason or "cancelled")

    def _end(
        self,
        attempt: Attempt,
        error: BaseException | None,
        output: CrewOutput | None = None,
        kept: RunState | None = None,
    ) -> None:
        """The outcome of an attempt, which nothing that comes later can change."""
        if not attempt.ending:
            attempt.ending = True
            # Beside its own task, which the crew's code can get hold of and cancel.
            self._beside(self._finish(attempt, error, output, kept))

    async def _finish(
        self, attempt: Attempt, error: BaseException | None, output: CrewOutput | None, kept: RunState | None
    ) -> None:
        """The outcome: recorded, then shown, then told to those who wait. It comes to its end in every case."""
        index, event = attempt.index, None
        try:
            if error is not None:
                await self._unwind(attempt)
            self._drain(attempt.index)
            learn_environment()  # the run may have set some
            event, error, output = await self._outcome(attempt, error, output, kept)
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
        timer = self._forces.pop(index, None)
        if timer is not None:
            timer.cancel()
        with self._finality:
            self.attempts.pop(index, None)
            self.outputs[index], self.errors[index] = output, error
            if event.status == "done":
                self._done.pop(index, None)  # its output has it all
            self._apply(event)
            self.left -= 1
            again = index in self._retries_due and event.status != "done"
            self._retries_due.discard(index)
            if not again:
                self.order.append(index)
                self.finals[index].set_result(None)
        self._after(event)
        if again:
            self._again([index])
        if self.left == 0:
            self._close()
        coming, self.next_final = self.next_final, _promise()
        coming.set_result(None)

    async def _unwind(self, attempt: Attempt) -> None:
        """What goes on in a run that has failed, or was stopped, is ended where it can be."""
        attempt.stop_reason = attempt.stop_reason or "the run has failed"
        for task in list(attempt.tasks):
            if task is not attempt.main:
                task.cancel()
                # Siblings of the task that failed: CrewAI awaits only the first, and asyncio would print theirs.
                task.add_done_callback(lambda sibling: sibling.cancelled() or sibling.exception())
        attempt.gate.hang_up(attempt)
        await threads_back(attempt)

    async def _keep(self, event: ev.RunFinished, output: CrewOutput | None) -> None:
        """Put the run's outcome into the record, and wait for that as long as it is worth it."""
        if self.recorded is not None:
            await self.recorded.settle()
        never_began = event.status == "cancelled" and self.states[event.run].started is None
        recorded = self._beside(self._record(event.run, event, output, wait=not never_began))
        if event.status == "done":  # paid for
            await asyncio.shield(recorded)
        elif not never_began:  # ten thousand rows of those wait for no disk
            await asyncio.wait([recorded], timeout=RECORD_SECONDS)

    async def _keep_task(self, attempt: Attempt, place: int, done: DoneTask) -> None:
        """A task or a step of a run is done: it is on disk before the next one begins."""
        if attempt.ending:
            return
        self._drain(attempt.index)
        index = attempt.index
        state = self.states[index]
        own = place if done.step is None else done.step
        inside = (task for at, task in enumerate(state.tasks) if state.own_place(at) == own)
        calls = [call for task in inside for call in task.calls if call.started >= done.began]
        usage = sum((call.usage for call in calls), Usage())
        cost = functools.reduce(_state.total, (call.cost for call in calls), None)
        attempt.done[place] = replace(done, usage=usage, cost=cost)
        # A stop waits for no disk.
        await asyncio.shield(self._beside(self._record_task(index, place, attempt.done[place])))

    async def _record_task(self, index: int, place: int, done: DoneTask) -> None:
        if self._keyed is not None:
            await asyncio.wait([self._keyed])
        encode = functools.partial(_record.encoded_task, done, _outputs.encode_task, self.hiding.of(index))
        text = await _look(encode, lambda trouble: "", ENCODE_SECONDS)
        asked = done.asked if text else ""  # it cannot be read, and so not taken over
        written = self._store.put_task(self.key, index, self._run_keys[index], place, asked, text or "{}")
        await asyncio.wrap_future(written)

    async def _outcome(
        self, attempt: Attempt, error: BaseException | None, output: CrewOutput | None, kept: RunState | None
    ) -> tuple[ev.RunFinished, BaseException | None, CrewOutput | None]:
        """The outcome as an event, with the error and the output that it is of.

        What is the user's is looked at in a thread, and not for ever: its methods may raise, and hang, and be slow.
        """
        index = attempt.index
        if error is None:
            usage = _crewai.usage_metrics(self.states[index].usage)
            text: str | BaseException = await _look(lambda: _text_of(output, usage), lambda trouble: trouble)
            if isinstance(text, str):
                told: dict[str, Any] = {}
                if kept is not None:
                    cost = _state.total(kept.cost, kept.saved_cost)
                    told = {"from_record": True, "usage": kept.usage + kept.saved, "cost": cost}
                done = ev.RunFinished(run=index, at=_clock.now(), status="done", output=text, **told)
                return done, None, output
            error = text
        failed = error
        if type(error) in (RunCancelledError, RunTimeoutError, BudgetExceededError):
            info = _failure.info(error, self.hiding.of(index))  # one of ours
        else:
            info = await _look(
                lambda: _failure.info(failed, self.hiding.of(index)), lambda trouble: _failure.bare(failed)
            )
        cancelled = _failure.is_a(error, RunCancelledError, BudgetExceededError)
        ended = ev.RunFinished(
            run=index,
            at=_clock.now(),
            status="cancelled" if cancelled else "failed",
            error=info,
            dropped_calls=len(attempt.threads),
        )
        return ended, error, None

    async def _record(self, index: int, event: ev.RunFinished, output: CrewOutput | None, *, wait: bool) -> None:
        """Put the run's outcome into the record; returns when it is on disk, if that is to be waited for."""

        def tell(written: Future[str | None]) -> None:
            if trouble := written.result():
                engine.call(self.note, f"kept in memory only: {trouble}")

        if self._keyed is not None:
            await asyncio.wait([self._keyed])
        state, events = _state.advance(self.states[index], event), [*self._events_of[index], event]
        written = await self._put_run(index, state, output, events)
        written.add_done_callback(tell)
        if wait:
            await asyncio.wrap_future(written)
            while self._store.notes:  # of a file that was damaged, or can be written again
                self.note(self._store.notes.pop(0))

    async def _put_run(
        self, index: int, state: RunState, output: CrewOutput | None, events: Sequence[ev.Event]
    ) -> Future[str | None]:
        inputs, key = self._hidden_inputs.get(index, self._plans[index].inputs), self._run_keys[index]
        secrets = self.hiding.of(index)
        kept = None
        if output is not None or not all(type(value) in _PLAIN for value in (inputs or {}).values()):

            def unreadable(trouble: BaseException) -> _record.Encoded:
                self.note(f"run {index} is kept without its output and inputs: they cannot be read")
                return _record.encoded(None, None)

            encode = functools.partial(_record.encoded, inputs, output, _outputs.encode, secrets)
            kept = await _look(encode, unreadable, ENCODE_SECONDS)
        return self._store.put_run(
            self.key, index, key, state, inputs=inputs, kept=kept, events=events, secrets=secrets
        )

    async def _put_again(self, index: int, state: RunState) -> None:
        await self._put_run(index, state, self.outputs[index], self._events_of[index])

    def put_batch(self) -> None:
        """Write what the record has of the batch besides its runs; on the loop."""
        name, labels = self.hiding.title(self._name), self.hiding.labels(self.states)
        options = {k: self.hiding.title(v) if isinstance(v, str) else v for k, v in self.options.shown().items()}
        meta = {"options": options, **self.kept_too()}
        self._store.put_batch(self.key, name, self.created, labels, meta, secrets=self.hiding.secrets)

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
                self._beside(self._record_task(index, place, done))
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
        if self.recorded is not None:
            self._beside(self.recorded.tidy())
        self.changed()
        self._beside(self._tell_end())

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
                elif not self.finals[place].done():  # the record is looked through first
                    self._unwanted.add(place)

    def cancel(self, places: Sequence[int]) -> None:
        """End these runs."""
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
        self._end(attempt, self._stopped(attempt))

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
        return attempt is not None and bool(attempt.stop_reason) and not self.finals[place].done()

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
            self._drain(place)  # what an earlier try has said comes before the next one
            self.outputs[place] = self.errors[place] = None
            self._apply(ev.RunQueued(run=place, at=_clock.now(), attempt=self.states[place].attempt + 1))
            self._launch(place)

    def _forget_tasks(self, index: int) -> None:
        """What its tasks have done is not taken over by any later try."""
        for place in self._done.pop(index, {}):
            self._beside(self._record_task(index, place, DoneTask(asked="")))

    def answer(self, run: int, key: str, text: str, approve: bool) -> None:
        """What a person said to a question of a run."""
        attempt = self.attempts.get(run)
        if attempt is not None:
            attempt.answer(key, text, approve)

    # --- events --------------------------------------------------------------------------------------------------

    def post(self, event: ev.Event) -> None:
        """Take an event from any thread; those of a run are folded in the order in which they came.

        Text of a stream waits a little for more of it, unless somebody listens for each event.
        """
        self._inbox.append(event)
        if self._drain_due:
            return
        if not isinstance(event, ev.CallChunk) or self.taps:
            self._drain_due = True
            engine.call(self._drain)
        elif not self._pieces_due:
            self._pieces_due = True
            engine.call(self._wait_for_pieces)

    def _drain(self, index: int | None = None) -> None:
        """Fold what has come, and all that there is of the run at `index`; of others, text alone waits for its time."""
        self._take()
        if index is not None:
            self._fold_pieces(index)
        if self._pieces and not self._pieces_due:
            self._pieces_due = True
            self._wait_for_pieces()
        self._hide_learnt()

    def _wait_for_pieces(self) -> None:
        asyncio.get_running_loop().call_later(PIECES_SECONDS, self._drain_pieces)

    def _drain_pieces(self) -> None:
        self._pieces_due = False
        self._take()
        for index in list(self._pieces):
            self._fold_pieces(index)
        self._hide_learnt()

    def _take(self) -> None:
        self._drain_due = False
        while self._inbox:
            event = self._inbox.popleft()
            if isinstance(event, ev.CallChunk):
                self._pieces.setdefault(event.run, {}).setdefault(event.call, []).append(event)
                if not self.taps:
                    continue
            self._fold_pieces(event.run)
            if not isinstance(event, ev.CallChunk):
                self._fold(event)

    def _fold_pieces(self, index: int) -> None:
        for pieces in self._pieces.pop(index, {}).values():
            self._fold(replace(pieces[-1], text="".join(piece.text for piece in pieces)))

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


class _Timers:
    """`timeout` and `idle_timeout` of one attempt, which CrewAI's own `max_execution_time` does not keep."""

    def __init__(self, driver: Driver, attempt: Attempt) -> None:
        self._driver = driver
        self._attempt = attempt
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        options = self._driver.options
        if options.timeout is not None:
            words = f"timed out after {options.timeout:g} s"
            self._handles["whole"] = loop.call_later(options.timeout, self._driver.time_out, self._attempt, words)
        if options.idle_timeout is not None:
            self._look_in(options.idle_timeout, options.idle_timeout)

    def _look_in(self, seconds: float, limit: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._handles["idle"] = loop.call_at(due, self._look, limit, due)

    def _look(self, limit: float, due: float) -> None:
        self._driver._drain(self._attempt.index)
        state = self._driver.states[self._attempt.index]
        # While the loop itself stood still nobody could tell that something happened.
        stood = asyncio.get_running_loop().time() - due
        # A wait for a limit, a retry or a person is no idleness of the run's.
        left = limit if state.waits else state.last_event + limit + stood - _clock.now()
        if left <= 0:
            self._driver.time_out(self._attempt, f"timed out: nothing happened for {limit:g} s")
        else:
            self._look_in(left, limit)

    def end(self) -> None:
        for handle in self._handles.values():
            handle.cancel()


async def threads_back(attempt: Attempt) -> None:
    """Give its threads a moment to come back, once they have been told to."""
    until = time.monotonic() + UNWIND_SECONDS
    while attempt.threads and time.monotonic() < until:  # noqa: ASYNC110 - they come back without a word
        await asyncio.sleep(UNWIND_SECONDS / 10)


async def _look(look: Callable[[], T], otherwise: Callable[[BaseException], T], seconds: float | None = None) -> T:
    """What a look at an object of the user's gives: in a thread and not for ever, as its methods may raise and hang."""
    work = asyncio.get_running_loop().run_in_executor(None, look)
    work.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody may be there to hear of it
    await asyncio.wait([work], timeout=seconds or LOOK_SECONDS)
    try:
        return work.result()
    except BaseException as trouble:  # InvalidStateError: it goes on
        return otherwise(trouble)


def _text_of(output: Any, usage: Any) -> str:
    """The text of an output, which is told the tokens of its run where it can be."""
    if usage is not None:
        with contextlib.suppress(Exception):
            _outputs.stamp(output, usage)
    return str.__str__(_outputs.text(output))


def _promise() -> Future[None]:
    """A future that nobody who waits for it can cancel: the others wait for it too."""
    promise: Future[None] = Future()
    promise.set_running_or_notify_cancel()
    return promise


def _readable(found: Mapping[str, StoredRun]) -> dict[str, tuple[StoredRun, CrewOutput]]:
    """What was found, with its outputs; a run whose output cannot be read any more is left out, and run again."""
    kept = {}
    for key, stored in found.items():
        with contextlib.suppress(Exception):  # its classes are the user's, and may have changed
            if stored.tree is not None:
                kept[key] = stored, _outputs.decode(stored.tree)
    return kept


def _readable_tasks(begun: Mapping[str, Mapping[int, StoredTask]]) -> dict[str, dict[int, DoneTask]]:
    """What was found of runs that are not done; a task that cannot be read any more is left out, and run again."""
    done: dict[str, dict[int, DoneTask]] = {}
    for key, tasks in begun.items():
        for place, stored in tasks.items():
            with contextlib.suppress(Exception):
                tree = stored.tree
                output = None if tree["output"] is None else _outputs.decode_task(tree["output"])
                usage, cost = Usage.from_dict(tree["usage"]), tree["cost"]
                if not isinstance(cost, int | float | None):
                    continue
                done.setdefault(key, {})[place] = DoneTask(
                    asked=stored.asked, output=output, usage=usage, cost=cost, unfit=str(tree["unfit"])
                )
    return done


def _run_keys(plans: Sequence[Plan]) -> list[Key]:
    blueprints: dict[int, Key] = {}
    repeats: dict[str, int] = {}
    keys = []
    for plan in plans:
        if id(plan.source) not in blueprints:
            kind = _kinds.find(plan.source)
            known_by = plan.source if kind is None else kind.known_by(plan.source)
            blueprints[id(plan.source)] = _fingerprint.fingerprint(known_by)
        blueprint = blueprints[id(plan.source)]
        inputs = {**(plan.inputs or {}), **{f" {name}": value for name, value in plan.how.items()}}
        first = _fingerprint.run_key(blueprint, inputs)
        repeat = repeats[first] = repeats.get(first, -1) + 1
        keys.append(_fingerprint.run_key(blueprint, inputs, repeat) if repeat else first)
    return keys
