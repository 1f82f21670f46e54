"""The one loop and thread that run crews; everything else hops onto it.

The kernel's loop stays free, crews are in flight as many as were asked for, and state has one writer.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import gc
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import check as _check
from crew_nb._crewai import connections as _connections
from crew_nb._crewai import fast as _fast
from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import listen as _listen
from crew_nb._crewai import models as _models
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import naming as _naming
from crew_nb._crewai import patches
from crew_nb._crewai.crews import CREW
from crew_nb._engine import calls as _calls
from crew_nb._engine import failure as _failure
from crew_nb._engine import human as _human
from crew_nb._engine import imports as _imports
from crew_nb._engine import limits as _limits
from crew_nb._engine import prices as _prices
from crew_nb._engine.limits import Slots
from crew_nb._engine.pool import DaemonPool
from crew_nb._engine.watch import Watch
from crew_nb._record import record as _record
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.secrets import learn_environment

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.state import RunState

P = ParamSpec("P")
T = TypeVar("T")

THREAD_NAME = "crew_nb"
BUILDS = 4
"""Crews that are built, or read, at once: more threads that all want the processor only slow the other loops down."""
BUILD_SECONDS = 0.1
"""What takes longer waits for something else, most likely, and keeps nobody from beginning."""
GARBAGE = 7_000
"""Objects after which garbage is looked for, some three crews: as often as Python does, it is a tenth of all work."""
_BY_DEFAULT = (700, 2_000)  # Python 3.11 and 3.12, 3.13
EXIT_SECONDS = 1.0
"""How long a kernel that shuts down waits for calls in flight to be closed."""


class Engine:
    """The loop's thread, started when first needed; one per process."""

    def __init__(self) -> None:
        self._start = threading.Lock()  # two cells or threads may launch the first batch at once
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._prepared: asyncio.Future[str] | None = None
        self.watch: Watch
        self._froze = False
        self.stoppers: set[Any] = set()
        """Batches that have runs to end, held here, as nobody else need; they are cancelled when the process exits."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop of the engine."""
        with self._start:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                started = threading.Event()
                self._loop = asyncio.new_event_loop()
                self._loop.set_task_factory(_task_of_attempt)  # type: ignore[arg-type]
                self._loop.set_default_executor(DaemonPool(f"{THREAD_NAME}-work"))
                self._prepared = None
                self.watch = Watch(self._loop)
                # An empty context: what the launching cell set must not follow runs of later cells.
                run = contextvars.Context().run
                self._thread = threading.Thread(
                    target=run, args=(self._serve, self._loop, started), name=THREAD_NAME, daemon=True
                )
                self._thread.start()
                started.wait()
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(started.set)
        while True:
            try:
                return loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # A task of one crew raised it (CrewAI does for a context that is too long, tools may call sys.exit).
                # The task has it as its outcome; asyncio stops the loop as well, for all the others.
                continue

    def begin(self) -> None:
        """A batch has something to run; on the loop.

        What lives when the first one has is kept out of garbage collection from then on: CrewAI's modules alone are
        some 300,000 objects, and going through them stalls every loop (256 crews: stalls of 0.25 s, and 0.04 s
        without). Once only: dead crews that the next batch froze would wait for a collection that takes a second.
        """
        if not self._froze and gc.get_freeze_count() == 0:  # else somebody has chosen for the whole process
            gc.freeze()
        often, *rest = gc.get_threshold()
        if not self._froze and often in _BY_DEFAULT:  # as above
            gc.set_threshold(GARBAGE, *rest)
        self._froze = True
        _connections.share_clients(_calls.applies, self.here)  # of the providers that are loaded by now
        _connections.let_hang_up()

    def here(self) -> bool:
        """Whether this code runs in the engine's thread."""
        return self._thread is not None and threading.get_ident() == self._thread.ident

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Run `function` on the loop soon; from any thread."""
        if self.here():  # to wake a loop that is awake costs two system calls
            asyncio.get_running_loop().call_soon(function, *args)
        else:
            self.loop.call_soon_threadsafe(function, *args)

    def call_and_wait(self, function: Callable[..., object], *args: Any) -> None:
        """The same, but from another thread return once it has run, or after a second if the loop is that busy."""
        done = threading.Event()
        self.call(function, *args)
        self.call(done.set)
        if not self.here():
            done.wait(1.0)

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop; from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def prepare(self) -> str:
        """Import CrewAI and put the gate in place, once; returns what is not as it was checked, in words."""
        if self._prepared is None or (self._prepared.done() and self._prepared.exception() is not None):
            loop = asyncio.get_running_loop()
            # An empty context: the run that comes first may be cancelled, and all others need this too.
            self._prepared = loop.create_task(asyncio.to_thread(_prepare), context=contextvars.Context())
        return await asyncio.shield(self._prepared)

    def close(self) -> None:
        """Stop every batch, wait a moment for it, and end the loop; called when the process exits."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            return
        batches = list(self.stoppers)
        for batch in batches:
            batch.cancel()
        end = time.monotonic() + EXIT_SECONDS
        for batch in batches:
            batch.wait_quietly(max(0.0, end - time.monotonic()))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(EXIT_SECONDS)


def _prepare() -> str:
    with _imports.in_turn():
        return _load()


def _load() -> str:
    _crewai.load()
    moved = [_calls.install()]
    if unfamiliar := _fast.unfamiliar():
        moved += [f"crews take CrewAI's own executor: {unfamiliar}"]
        if missing := _crewai.missing():
            moved += [f"this CrewAI does not have {', '.join(missing)}"]
    _fast.install()
    _connections.install(engine.here)
    _take_logging()
    _prices.load()
    return "; ".join(filter(None, moved))


def _task_of_attempt(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
    """Every asyncio task that is started in a run's context is known to it, so that stop reaches siblings too."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    attempt = _attempt.current.get() if context is None else context.get(_attempt.current)
    if attempt is not None:
        attempt.tasks.add(task)
    return task


async def work_out(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The outcome of a function that needs the processor, and so gains nothing from running beside many others."""
    await _builds.acquire()
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        await asyncio.wait([work], timeout=BUILD_SECONDS)
    except asyncio.CancelledError:
        work.cancel()
        raise
    finally:
        _builds.release()
    return await work


async def kick_off(plan: Plan, attempt: Attempt, *, stream: bool | None, keep_replay: bool) -> Any:
    """Build what is to run, and run it, in the context of its attempt; called on the engine's loop."""
    attempt.models = plan.how.get(_models.LLMS, {})
    try:
        with _models.on(attempt.models):
            output = await _kick_off(plan, attempt, stream=stream, keep_replay=keep_replay)
    except Exception:
        if attempt.refused is None:
            raise
    if attempt.refused is not None:
        raise attempt.refused
    return output


async def _kick_off(plan: Plan, attempt: Attempt, *, stream: bool | None, keep_replay: bool) -> Any:
    _crewai.silence()
    with _imports.in_turn():
        subject: Any = await work_out(_attempt.marked(plan.build))
    kind = _kinds.kind_of(subject)
    inputs = plan.kickoff_inputs(kind, subject)
    ready = kind.make_ready(subject, keep_replay=keep_replay)
    attempt.places = {**ready.places, _listen.LAST: len(ready.steps) - 1}
    attempt.post(
        ev.CrewReady(
            run=attempt.index,
            at=_clock.now(),
            tasks=tuple(_naming.named(step, inputs or {}, attempt.secrets) for step in ready.steps),
            path=ready.path,
            why=ready.why,
            offline=bool(ready.llms) and all(getattr(llm, "is_offline", False) for llm in ready.llms),
        )
    )
    attempt.hear_usage = ready.hear_usage
    for words in ready.notes:
        attempt.note(words)
    if CREW.owns(subject):
        if attempt.models:
            _models.check_roles(attempt.models, _naming.roles(subject, inputs or {}))
        for finding in _check.inspect_crew(subject, f"the crew of run {plan.index}"):
            if finding.severity != "note" and attempt.is_met(finding.among):  # notes are about bare CrewAI only
                attempt.note(f"{finding.what} Write: {finding.instead}")
        for words in _check.same_files(subject, inputs, plan.index, attempt.writers):
            attempt.note(words)
    if id(plan.source) not in attempt.looked_through:
        attempt.looked_through.add(id(plan.source))
        if words := _blueprint.idle_inputs(plan, subject):
            attempt.note(words)
        if words := _blueprint.unfilled(plan, subject):
            attempt.note(words)
        attempt.secrets.learn_from(subject)  # embedders, memories and whatever else may hide a key
    learn_environment()  # a factory may set some
    attempt.secrets.learn_once(ready.llms + ready.tools)
    _crewai.listen(_listen.Listener(attempt, _prices.price))
    _crewai.forbid_tools_when(lambda: attempt.stop_reason)
    _crewai.count_by(subject, lambda: attempt.usage)
    attempt.stream = stream
    with _human.asking(attempt, kind, subject), engine.watch.over(attempt):
        return await kind.start(subject, inputs, plan.how)


class Runner(Protocol):
    """Where the runs of a batch are carried out: in this process, or on a cluster. Used on the engine's loop."""

    @property
    def waits_for(self) -> str:
        """What runs wait for before they can begin, in words; empty where it is ready."""

    @property
    def where(self) -> str:
        """Where runs are carried out from now on, in words; empty where that is here."""

    async def prepare(self, states: Sequence[RunState]) -> None:
        """Returns when runs can begin; `states` are those of the batch's runs, at any moment."""

    async def kick_off(self, plan: Plan, attempt: Attempt, *, stream: bool | None, keep_replay: bool) -> Any:
        """Build what is to run, and run it; cancelling this stops the run."""

    def close(self) -> None:
        """Every run is final; `prepare` comes first if some are run again."""


class _Here:
    """The runner that is this process."""

    waits_for = where = ""
    kick_off = staticmethod(kick_off)

    async def prepare(self, states: Sequence[RunState]) -> None:
        """Nothing is needed."""

    def close(self) -> None:
        """Nothing is held."""


HERE: Runner = _Here()


def _print_to_row(text: str) -> None:
    attempt = _attempt.current.get()
    if attempt is not None and text and not text.startswith(_crewai.SAYS_NOTHING):
        attempt.log(text)


def _tell_of_listener(handler: Any, error: Exception) -> None:
    """Once a batch, however often it fails; CrewAI's own are left to CrewAI."""
    attempt = _attempt.current.get()
    name = getattr(handler, "__qualname__", None) or repr(handler)
    if attempt is None or ("listener", name) in attempt.met or str(handler.__module__).startswith("crewai."):
        return
    attempt.met["listener", name] = attempt.index
    words = f"a listener of CrewAI's events failed: {name}: {_failure.type_name(error)}: {_failure.said(error)}"
    attempt.log(words)
    engine.call(attempt.note, attempt.secrets.scrub(words))


def _line(record: logging.LogRecord) -> str:
    try:
        words = record.getMessage()
    except Exception:  # the arguments do not fit: no handler's error may reach the code that logs
        words = f"{record.msg!r} with {record.args!r}"
    return f"{record.levelname.lower()}: {words}"


def _of_no_run(record: logging.LogRecord) -> bool:
    """A filter for a logger whose lines say nothing to those who run crews."""
    return _attempt.current.get() is None


def _take_logging() -> None:
    patches.hear_prints(_print_to_row)
    patches.hear_failing_listeners(_calls.applies, _tell_of_listener)
    patches.mute_scope_warnings()
    stock = logging.Logger.callHandlers
    if getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        """A run's lines go to its row and to the handlers that somebody has set up; not to the cell for want of one.

        A handler of ours would not do: with one on the root logger, `logging.basicConfig` of the user's does nothing.
        """
        attempt = _attempt.current.get()
        if attempt is not None and record.levelno >= logging.INFO:
            attempt.log(_line(record))
        if attempt is None or self.hasHandlers():
            stock(self, record)

    set_up = logging.basicConfig

    @functools.wraps(set_up)
    def basic_config(**options: Any) -> None:
        # `logging.warning(...)` sets up a handler for the rest of the process if there is none: it writes to the cell.
        if options or _attempt.current.get() is None or sys._getframe(1).f_globals is not vars(logging):
            set_up(**options)

    logging.basicConfig = basic_config
    call_handlers._crew_nb = True  # type: ignore[attr-defined]
    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
    # The queue of CrewAI's telemetry is soon full where many crews end at once, and says so for every span.
    logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(_of_no_run)


engine = Engine()
_builds = Slots(BUILDS)
atexit.register(engine.close)


def _begin_anew() -> None:
    """A forked child has none of the threads, and waits for none of the calls, of its parent."""
    engine.__init__()  # type: ignore[misc]
    _builds.__init__(BUILDS)  # type: ignore[misc]
    _limits.forget_all()
    _connections.forget_clients()
    _record.begin_anew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_anew)
