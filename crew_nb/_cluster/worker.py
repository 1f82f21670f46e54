"""What runs inside a Dask worker: many crews at once on its own engine, heard and steered by one client.

The client asks (`listen`, `tell`), and the worker never calls out: all traffic goes where Dask's own does. A worker
that its client no longer asks, or that closes, stops the client's runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import platform
import random
import threading
import time
from collections import deque
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker, secede

from crew_nb._cluster.said import (
    Answered,
    Ask,
    Blueprint,
    Cancel,
    Command,
    Ended,
    Grant,
    Happened,
    Hello,
    Judged,
    Lesson,
    LetGo,
    Message,
    Release,
    Start,
    joined,
    packed_error,
    packed_output,
    pickled_messages,
    unpickled,
)
from crew_nb._crewai import names as _crewai
from crew_nb._crewai.blueprint import Plan
from crew_nb._engine import driver as _driver
from crew_nb._engine import ending as _ending
from crew_nb._engine import engine as _engine
from crew_nb._engine import failure as _failure
from crew_nb._engine import prices as _prices
from crew_nb._engine import recorded as _recorded
from crew_nb._engine.calls import Gate
from crew_nb._engine.engine import engine
from crew_nb._engine.hide import Stream
from crew_nb._engine.limits import Budget
from crew_nb._engine.streams import Streams
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.attempt import Attempt
from crew_nb._state.errors import BudgetExceededError, NobodyToAskError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from crew_nb._engine.recorded import Lent
    from crew_nb._engine.retry import Verdict
    from crew_nb._record.answers import Answers, Kept, Place
    from crew_nb._state.call import CallRecord

LISTEN_SECONDS = 5.0
"""How long a question of the client is held open while there is nothing to tell."""
GATHER_SECONDS = 0.05
"""How long events wait for others, so that one answer carries many; what somebody waits for does not."""
LEASE_SECONDS = 20.0
"""After so long without a question the client is taken for gone, and its runs are stopped."""


# --- what Dask calls ----------------------------------------------------------------------------------------------

_hosts: dict[tuple[str, str], Host] = {}


def versions() -> dict[str, str]:
    """What must be the same everywhere."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "crewai": _crewai.version()}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["crew_nb"] = metadata.version("crew-nb")
    return found


async def hello(dask_worker: Any) -> Hello:
    """Who this worker is."""
    return Hello(str(dask_worker.name), versions(), _clock.now())


async def open_host(session: str, max_retries: int, prices: dict[str, Any], dask_worker: Any) -> None:
    """Make ready for one client's batch; returns when CrewAI is loaded."""
    _prices._own.update(prices)  # those that the user set in the notebook
    await asyncio.wrap_future(engine.submit(engine.prepare()))
    key = (dask_worker.address, session)
    if _CloseHosts.name not in dask_worker.plugins:
        await dask_worker.plugin_add(_CloseHosts(), _CloseHosts.name)
    if key not in _hosts:
        _hosts[key] = Host(key, str(dask_worker.name), max_retries)


class _CloseHosts(WorkerPlugin):
    """A worker that closes stops its runs: they begin again elsewhere, and nothing is to be paid for twice."""

    name = "crew_nb"

    def teardown(self, worker: Any) -> None:
        """The worker closes."""
        for (address, _), host in list(_hosts.items()):
            if address == worker.address:
                host.close("the Dask worker closes")


async def listen(session: str, heard: int, dask_worker: Any) -> tuple[int, bytes] | None:
    """What happened since the message numbered `heard`; None where the batch is not (or no longer) known here."""
    host = _hosts.get((dask_worker.address, session))
    return None if host is None else await host.listen(heard)


async def tell(session: str, first: int, commands: bytes, dask_worker: Any) -> None:
    """Take commands; those that were taken before are left out."""
    host = _hosts.get((dask_worker.address, session))
    if host is not None:
        host.take(first, commands)


async def close_host(session: str, dask_worker: Any) -> None:
    """The batch is over."""
    host = _hosts.get((dask_worker.address, session))
    if host is not None:
        host.close("the batch is over")


def stand_for_runs(session: str, number: int) -> None:
    """A Dask task that lasts while the worker has runs: a seceded one takes no place, and its worker is not closed."""
    host = _hosts.get((get_worker().address, session))
    if host is not None:
        secede()  # type: ignore[no-untyped-call]
        host.let_go(number).wait()


def never(key: str) -> None:
    """A Dask task that only waits to be run."""


class Host:
    """One client's batch on this worker. Its outbox is filled by any thread and emptied on Dask's loop."""

    def __init__(self, key: tuple[str, str], name: str, max_retries: int) -> None:
        self.name = name
        self.max_retries = max_retries
        self.looked_through: set[int] = set()
        """Factories of which a crew has been looked through, by id; `_factories` keeps them."""
        self.writers: dict[str, int] = {}
        self.met: dict[Hashable, int] = {}
        self.lent: Lent | None = None
        self.answers: Answers | None = None
        """The recorded answers that the client has lent."""
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._woken = False
        self._outbox: deque[Message] = deque()
        self._unheard: list[Message] = []
        self._said = 0
        self._taken = 0
        self._closed = False
        self._asked = time.monotonic()
        self._lease = self._loop.call_later(LEASE_SECONDS, self._look)
        self._runs: dict[int, _HostedRun] = {}
        self._factories: dict[int, Any] = {}
        self._blueprints: dict[int, bytes] = {}
        self._let_go: dict[int, threading.Event] = {}
        engine.call(engine.begin)

    # on Dask's loop

    async def listen(self, heard: int) -> tuple[int, bytes] | None:
        """The number of the first message, and the messages, pickled."""
        self._asked = time.monotonic()
        del self._unheard[: len(self._unheard) - (self._said - heard)]
        if not self._unheard and not self._closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LISTEN_SECONDS)
                await asyncio.wait_for(self._urgent.wait(), GATHER_SECONDS)
        if self._closed:
            return None
        self._asked = time.monotonic()
        self._news.clear()
        self._urgent.clear()
        self._woken = False
        fresh = joined(self._drain())
        self._unheard += fresh
        self._said += len(fresh)
        return self._said - len(self._unheard), pickled_messages(self._unheard)

    def _drain(self) -> Iterable[Message]:
        while self._outbox:
            yield self._outbox.popleft()

    def take(self, first: int, pickled: bytes) -> None:
        """Hand commands to the engine, each once."""
        self._asked = time.monotonic()
        commands: list[Command] = unpickled(pickled)
        for command in commands[max(0, self._taken - first) :]:
            engine.call(self._do, command)
        self._taken = max(self._taken, first + len(commands))

    def close(self, reason: str) -> None:
        """Forget the batch; what still runs of it is stopped."""
        if not self._closed:
            self._closed = True
            self._lease.cancel()
            _hosts.pop(self._key, None)
            self._news.set()
            self._urgent.set()
            for event in list(self._let_go.values()):  # a task of Dask's may come just now
                event.set()
            engine.call(self._stop_all, reason)

    def _look(self) -> None:
        left = self._asked + LEASE_SECONDS - time.monotonic()
        if left > 0:
            self._lease = self._loop.call_later(left, self._look)
        else:
            self.close("the client is gone")

    # from any thread

    def let_go(self, number: int) -> threading.Event:
        """Set when the Dask task of that number is to end."""
        event = self._let_go.setdefault(number, threading.Event())
        if self._closed:
            event.set()
        return event

    def post(self, message: Message) -> None:
        """Tell the client, in the order in which it happened."""
        self._outbox.append(message)
        urgent = not isinstance(message, Happened | Judged)
        if urgent or not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the worker is shutting down, its loop is closed
                self._loop.call_soon_threadsafe(self._wake, urgent)

    def _wake(self, urgent: bool) -> None:
        self._news.set()
        if urgent:
            self._urgent.set()

    # on the engine's loop

    def _do(self, command: Command) -> None:
        if isinstance(command, Blueprint):
            self._blueprints[command.key] = command.pickled
        elif isinstance(command, Lesson):
            self.lent, self.answers = command.lent, command.lent.copy.into(self.answers)
        elif isinstance(command, Start):
            self._runs[command.number] = _HostedRun(self, command)
        elif isinstance(command, LetGo):
            self.let_go(command.number).set()
        elif command.number in self._runs:
            if isinstance(command, Cancel):
                self._runs[command.number].stop(command.reason)
            else:
                self._runs[command.number].gate.granted(command)

    def _stop_all(self, reason: str) -> None:
        for run in list(self._runs.values()):
            run.stop(reason)

    def forget(self, number: int) -> None:
        """The run is over."""
        self._runs.pop(number, None)

    def factory(self, key: int) -> Any:
        """The factory of that blueprint; unpickled when first needed, in a worker thread."""
        if key not in self._factories:
            try:
                self._factories[key] = unpickled(self._blueprints[key])
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f"the factory needs the module {error.name!r}, which the Dask worker {self.name} does not have. "
                    f'Install it there, send it with client.upload_file("{error.name}.py"), '
                    "or define the factory in the notebook.",
                    name=error.name,
                ) from None
        return self._factories[key]


class _HostedRun:
    """One run on this worker; lives on the engine's loop."""

    def __init__(self, host: Host, start: Start) -> None:
        self._host = host
        self._start = start
        self.gate = RemoteGate(host, start.number)
        self.attempt = Attempt(start.index, self._post, self.gate)
        self.attempt.looked_through = host.looked_through
        self.attempt.known_as = start.known_as
        self.attempt.secrets.learn(start.secrets)
        if host.lent is not None and host.answers is not None:
            self.gate.witnesses = [_Borrowed(host.lent, host.answers, self.attempt.note, self._tell_answer)]
            _recorded.see_lookups()
        self._stream = Stream(self.attempt.secrets)
        self.attempt.met = host.met
        self.attempt.writers = host.writers
        self._ended = False
        loop = asyncio.get_running_loop()
        context = contextvars.Context()
        context.run(_attempt.current.set, self.attempt)
        self.attempt.main = loop.create_task(self._drive(), context=context)

    def _post(self, event: ev.Event) -> None:
        if isinstance(event, ev.CrewReady):
            event = replace(event, worker=self._host.name)
        for clean in self._stream.clean(event):  # the client knows no keys that only this worker has
            self._host.post(Happened(self._start.number, clean))

    def _tell_answer(self, call: str, place: Place, kept: Kept | None) -> None:
        self._host.post(Answered(self._start.number, call, place, kept))

    async def _drive(self) -> None:
        start = self._start
        number = start.number
        try:
            source = await asyncio.to_thread(self._host.factory, start.blueprint)
            inputs, how = unpickled(start.inputs)
            plan = Plan(index=start.index, source=source, inputs=inputs, label=start.label, how=how)
            output = await _engine.kick_off(plan, self.attempt, stream=start.stream, keep_replay=start.keep_replay)
            self._end(Ended(number, output=packed_output(output), secrets=self._said_in(output)))
        except BaseException as error:
            if self.attempt.stop_reason or isinstance(error, asyncio.CancelledError):
                await _ending.threads_back(self.attempt)
                self._force()
                return
            self.attempt.stop_reason = "the run has failed"
            self._cancel_tasks()
            cause = _failure.cause(error)
            if isinstance(cause, NobodyToAskError):
                cause = NobodyToAskError(
                    "a task has human_input=True, but nobody can answer on a Dask worker. "
                    "Run it in the notebook, without on=, or build the crew with human_input=False."
                )
            secrets = self.attempt.secrets
            info = secrets.scrub_fields(_failure.info(cause, secrets))
            self._end(Ended(number, error=packed_error(cause), info=info))

    def _said_in(self, output: Any) -> frozenset[str]:
        texts = [part.raw for part in (output, *getattr(output, "tasks_output", ())) if hasattr(part, "raw")]
        return frozenset(self.attempt.secrets.said_in("\n".join(map(str, texts))))

    def stop(self, reason: str) -> None:
        """No call starts from now on, and those in flight are ended where they can be."""
        self.attempt.stop_reason = self.attempt.stop_reason or reason
        self._cancel_tasks()
        asyncio.get_running_loop().call_later(_driver.STOP_SECONDS, self._force)

    def _cancel_tasks(self) -> None:
        for task in list(self.attempt.tasks):
            if not task.done() and task is not asyncio.current_task():
                task.cancel()
        self.gate.hang_up(self.attempt)

    def _force(self) -> None:
        self._end(Ended(self._start.number, dropped_calls=len(self.attempt.threads)))

    def _end(self, ended: Ended) -> None:
        if not self._ended:
            self._ended = self.attempt.closed = True
            self._host.forget(self._start.number)
            self._host.post(ended)


class _Borrowed(_recorded.Recorded):
    """The client's recorded answers on this worker: what is used, and what is new, is told to the client."""

    def __init__(
        self,
        lent: Lent,
        answers: Answers,
        note: Callable[[str], object],
        tell: Callable[[str, Place, Kept | None], None],
    ) -> None:
        super().__init__(answers, lent.origin, lent.asks, lent.speed, lent.tools, note)
        self._tell = tell

    def _find(self, call: str, place: Place) -> Kept | None:
        kept = super()._find(call, place)
        if kept is not None:
            self._tell(call, place, None)
        return kept

    def _keep(self, kept: Kept) -> None:
        self._tell(kept.call, kept.place, replace(kept))  # before its texts are set apart
        self._answers.add(kept)


class RemoteGate(Gate):
    """The gate of one run on a worker: its calls ask the client's gate, so that limits hold over the whole cluster."""

    def __init__(self, host: Host, number: int) -> None:
        self._host = host
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._keys = (  # type: ignore[assignment]
            f"{host.name}-{number}-{n}" for n in itertools.count()
        )  # unlike those of the client's gate
        self._random = random.Random()  # noqa: S311 - jitter
        self._adaptive = None
        self._tickets = itertools.count()
        self._asked: dict[int, asyncio.Future[None]] = {}
        self.max_retries = host.max_retries
        self.budget = Budget()
        self.streams = Streams()
        self.witnesses = []
        self.resumed = asyncio.Event()
        self.resumed.set()  # the client holds the calls of a batch that is paused
        self.in_flight = 0

    def granted(self, grant: Grant) -> None:
        """The client's answer to a call that wants to start."""
        asked = self._asked.pop(grant.ticket, None)
        if asked is None or asked.done():
            return
        if not grant.refused:
            asked.set_result(None)
            return
        refusal = _crewai.abort(grant.refused)
        if grant.over_budget:
            refusal.__cause__ = BudgetExceededError(grant.refused)
        asked.set_exception(refusal)

    async def _admit(self, attempt: Attempt, record: CallRecord) -> None:
        self._check(attempt)
        ticket = next(self._tickets)
        asked = self._asked[ticket] = self._loop.create_future()
        place = attempt.places.get(str(_crewai.current_task_id()))
        self._host.post(Ask(self._number, ticket, place))
        try:
            await asked
            self._check(attempt)
        except BaseException:
            self._asked.pop(ticket, None)
            self._host.post(Release(self._number, ticket))
            raise
        self.in_flight += 1
        record.charges.append(ticket)
        attempt.calls.add(record)

    def _released(self, record: CallRecord) -> None:
        self.in_flight -= 1
        tokens = record.usage.total_tokens
        self._host.post(Release(self._number, record.charges[0], tokens, answered=tokens > 0))

    def _note(self, verdict: Verdict) -> None:
        self._host.post(Judged(self._number, verdict))
