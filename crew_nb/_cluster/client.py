"""A batch's runs on a Dask cluster: handed out, heard and limited from here, where the batch and its state stay.

The client keeps the queue, the gate and the record; a worker gets a run when it may start, and asks the gate here
before each LLM call, so every limit is exact over the whole cluster. A run is on one worker at a time. What Dask's
scheduler knows of runs, so that it adds workers for them and takes none from under them, is in `_Shown`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import math
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from crew_nb._cluster import said
from crew_nb._cluster import worker as there
from crew_nb._cluster.travel import travelling
from crew_nb._engine import prices as _prices
from crew_nb._engine.recorded import Recorded
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.attempt import Attempt
from crew_nb._state.call import CallRecord
from crew_nb._state.errors import BudgetExceededError, CrewNbError, OptionError
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from distributed import Client, Future

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.names import CrewOutput
    from crew_nb._engine.calls import Gate
    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState

LOOK_SECONDS = 1.0
"""Between two looks at which workers there are."""
PATIENCE_SECONDS = 10.0
"""How long the first worker that is ready waits for the others."""
LOST_SECONDS = there.LEASE_SECONDS + 5.0
"""A worker that cannot be reached for so long is given up; it has stopped our runs by itself before."""
SKEW_SECONDS = 0.1
"""Clocks that differ by more are put right in what a worker tells."""
STOP_SECONDS = 2.0
"""How long a stopped run is waited for."""
MOVES = 3
"""So many workers may be lost under a run before it is to blame (Dask's own limit); those that were retired apart."""
RUNS_A_WORKER = 16
"""So many runs at once are worth one worker, where Dask may add some."""
TASKS_A_THREAD = 10
"""So many waiting tasks ask for one thread: Dask takes a task that it does not know for 0.5 s, and plans for 5 s."""
MOST_TASKS = 5_000
"""What is asked of the scheduler at most."""


class Cluster:
    """The runner of one batch on a Dask cluster; made by the verb, then used on the engine's loop.

    Nothing is asked of the cluster before `prepare`, so that a verb returns at once.

    Args:
        client: The way to the cluster.
        plans: What is run.
        options: Those of the batch.
        blueprints: What `travelling` made of the plans, where that has been done.

    Raises:
        OptionError: When `on` is no client, or one that is closed.
        BlueprintError: When a crew or an input cannot travel to another process.
    """

    def __init__(
        self,
        client: Client,
        plans: Sequence[Plan],
        options: Options,
        blueprints: Mapping[int, said.Blueprint] | None = None,
    ) -> None:
        from distributed import Client

        if not isinstance(client, Client):
            what = "on=Client(...)" if not hasattr(client, "get_client") else "on=cluster.get_client()"
            raise OptionError(f"on is a {type(client).__name__}, not a dask.distributed.Client. Write {what}.")
        if client.status in ("closing", "closed"):
            raise OptionError("on is a Client that is closed. Make a new one: on=Client(...).")
        self._client = client
        self._session = uuid.uuid4().hex
        self._places = [plan.index for plan in plans]
        self._most_at_once = options.concurrency
        self._max_retries = options.max_retries
        self._states: Sequence[RunState] = ()
        self._blueprints = travelling(plans) if blueprints is None else blueprints
        self._numbers = itertools.count()
        self._workers: dict[str, _Worker] = {}
        self._ready = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None
        self._unreachable: Exception | None = None
        self._unfit: dict[str, OptionError] = {}
        """Why workers cannot run crews, by address; they are tried again, since they may only be starting."""
        self._there_are: dict[str, int] = {}
        """The threads of each worker, as last looked."""
        self._share_from = math.inf
        self._shown = _Shown(client, self._session)
        self._note: Callable[[str], None] = lambda text: None

    where = ""  # each row names its worker, and they come and go

    @property
    def waits_for(self) -> str:
        """What runs wait for, in words; empty where a worker is ready."""
        return "" if self._usable() else "waiting for a Dask worker to be ready…"

    async def prepare(self, states: Sequence[RunState]) -> None:
        """Returns when a worker is ready.

        Raises:
            Exception: When none can become ready: other versions, no crew_nb, a client that is closed.
        """
        self._states = states
        if self._watch is None:
            # An empty context: the run that comes first may be cancelled, and the others need this too.
            self._watch = asyncio.get_running_loop().create_task(self._look_after(), context=contextvars.Context())
        await self._pick()

    async def kick_off(self, plan: Plan, attempt: Attempt, *, stream: bool | None, keep_replay: bool) -> CrewOutput:
        """Run one plan on the worker that has least to do; on another one if that is lost."""
        inputs = said.pickled((plan.inputs, plan.how))
        blueprint = self._blueprints[id(plan.source)]
        self._note = attempt.note
        for trouble in self._unfit.values():
            attempt.note(_left_out(trouble))
        losses = 0
        moved = False
        recorded = _recorded_of(attempt)
        secrets = frozenset() if recorded is None else attempt.secrets.known()
        while True:
            worker = await self._pick()
            number = next(self._numbers)
            start = said.Start(
                number,
                blueprint.key,
                plan.index,
                plan.label,
                inputs,
                stream,
                keep_replay,
                known_as=attempt.known_as,
                secrets=secrets,
            )
            run = worker.start(blueprint, start, attempt, recorded, moved=moved)
            try:
                ended = await asyncio.shield(run.ended)
            except asyncio.CancelledError:
                worker.tell(said.Cancel(number, attempt.stop_reason or "stopped"))
                await asyncio.wait([run.ended], timeout=STOP_SECONDS)
                raise
            except _WorkerLostError:
                retired = await worker.was_retired()
                why = f"The Dask worker {worker.name} was {'retired' if retired else 'lost'}."
                losses += not retired
                moved = True
                if losses == MOVES:
                    raise CrewNbError(
                        f"{why} So were the {MOVES - 1} that ran it before: does the run use up its memory?"
                    ) from None
                self._moved(run, why)
                continue
            finally:
                run.close()
            # As for a local run: threads that are still inside an LLM call.
            attempt.threads.update(range(-ended.dropped_calls, 0))
            attempt.secrets.learn(ended.secrets)
            if ended.error:
                error = said.unpacked_error(ended.error, ended.info.traceback if ended.info else "")
                error.__dict__["crew_nb_info"] = ended.info
                raise error
            if not ended.output:
                raise asyncio.CancelledError
            return said.unpacked_output(ended.output)

    def close(self) -> None:
        """The batch is over; a later `prepare` opens it again."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._shown.want(0)
        for worker in self._workers.values():
            worker.close()
        self._workers = {}

    def _usable(self) -> list[_Worker]:
        ready = [worker for worker in self._workers.values() if worker.ready]
        if len(ready) < len(set(self._workers) - set(self._unfit)) and time.monotonic() < self._share_from:
            return []  # else the first worker to be ready would get every run
        return ready

    async def _pick(self) -> _Worker:
        async with self._ready:
            await self._ready.wait_for(lambda: self._usable() or self._trouble())
            trouble = self._trouble()
            if not self._usable() and trouble is not None:
                raise trouble
            return min(self._usable(), key=lambda worker: len(worker.runs))

    def _trouble(self) -> Exception | None:
        """Why there is nobody to wait for."""
        if self._unreachable is not None or set(self._there_are) - set(self._unfit):
            return self._unreachable
        return next(iter(self._unfit.values()), None)

    def _moved(self, run: _RemoteRun, why: str) -> None:
        """The row says that the run begins again, and keeps what was spent."""
        now = _clock.now()
        for key in run.waits:
            run.attempt.post(ev.WaitFinished(run=run.attempt.index, at=now, key=key))
        index = run.attempt.index
        run.attempt.post(ev.RunQueued(run=index, at=now, attempt=self._states[index].attempt + 1))
        # After RunQueued, which forgets what calls said, and makes those of earlier attempts the run's and no task's.
        for call in run.calls.values():
            run.attempt.post(ev.CallFailed(run=index, at=now, call=call.call, kind=call.kind, message=why))
        run.attempt.log(f"{why} The run begins again on another worker.")
        run.attempt.post(ev.RunStarted(run=index, at=now))

    async def _look_after(self) -> None:
        """Keep a link to every worker that there is, and Dask's scheduler told what is needed of them."""
        while True:
            try:
                self._there_are = dict(await self.call(self._client.nthreads))
                self._unreachable = None
            except Exception as error:
                self._unreachable = CrewNbError(f"the Dask cluster cannot be reached: {error}. Make a new Client.")
                self._there_are = {}
            there_are = set(self._there_are)
            for address in there_are - set(self._workers):
                self._workers[address] = _Worker(self, address, self._shown)
            for address in set(self._workers) - there_are:
                self._workers.pop(address).lost()
            for address in set(self._unfit) - there_are:
                del self._unfit[address]
            self._show_what_is_needed()
            async with self._ready:
                self._ready.notify_all()
            await asyncio.sleep(LOOK_SECONDS)

    def _show_what_is_needed(self) -> None:
        """Workers with runs are kept, and as many more as the runs that have not begun are worth."""
        running = sum(len(worker.runs) for worker in self._workers.values())
        unfinished = sum(not self._states[place].final for place in self._places)
        wanted = math.ceil(min(unfinished, self._most_at_once) / RUNS_A_WORKER) if running < unfinished else 0
        ready = [worker for worker in self._workers.values() if worker.ready]
        # As of the last look: what keeps a worker has reached the scheduler before less is asked for. One that is only
        # getting ready is not kept, and asked for.
        kept = sum(worker.kept for worker in ready)
        for place, worker in enumerate(sorted(ready, key=lambda worker: not worker.runs)):
            if worker.runs or place < wanted:
                worker.keep()
            else:
                worker.let_go()
        threads = sum(self._there_are.values()) / len(self._there_are) if self._there_are else 1
        # Half a worker less, as Dask rounds up: else a task that keeps one would ask for one more before it has begun.
        tasks = math.ceil((wanted - 0.5) * threads * TASKS_A_THREAD) if wanted > kept else 0
        self._shown.want(min(tasks, MOST_TASKS))

    async def was_retired(self, address: str) -> bool:
        """Whether a worker left in good order (scaled down, its time over), by what the scheduler has in its log."""
        try:
            events = [said for _, said in await self.call(self._client.get_events, address)]
        except Exception:
            return False
        return any(e.get("expected") or e.get("action") in ("retired", "closing-worker") for e in events)

    async def worker_is_gone(self, address: str) -> bool:
        """Whether the scheduler no longer knows the worker."""
        return address not in await self.call(self._client.nthreads)

    async def opened(self, worker: _Worker, trouble: Exception | None) -> None:
        """A worker has become ready, or cannot; it is tried again then, since it may only be starting."""
        if trouble is None:
            self._unfit.pop(worker.address, None)
            if self._share_from == math.inf:
                self._share_from = time.monotonic() + PATIENCE_SECONDS
        else:
            if isinstance(trouble, OptionError):
                self._unfit[worker.address] = trouble
                if self._usable():
                    self._note(_left_out(trouble))
            self._workers.pop(worker.address, None)
        async with self._ready:
            self._ready.notify_all()

    def gone(self, worker: _Worker) -> None:
        """A worker is lost."""
        if self._workers.get(worker.address) is worker:
            del self._workers[worker.address]
        worker.lost()

    async def ask(self, address: str, question: Callable[..., Any], *args: Any) -> Any:
        """Call a function on a worker's loop, through the scheduler: no other way is open to every client."""
        return (await self.call(self._client.run, question, *args, workers=[address]))[address]

    async def open(self, address: str) -> tuple[str, float]:
        """Make a worker ready; its name, and by how much its clock is ahead."""
        before = _clock.now()
        try:
            hello: said.Hello = await self.ask(address, there.hello)
        except ImportError as error:
            raise _unfit(address, error) from error
        skew = hello.clock - (before + _clock.now()) / 2
        _check_versions(hello)
        await self.ask(address, there.open_host, self._session, self._max_retries, _prices._own)
        return hello.name, skew if abs(skew) > SKEW_SECONDS else 0.0

    async def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a method of the client on its own loop, where it gives an awaitable."""

        async def on_its_loop() -> Any:
            return await function(*args, **options)

        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop  # type: ignore[union-attr]
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(on_its_loop(), loop))

    async def listen(self, address: str, heard: int) -> tuple[int, bytes] | None:
        """What happened on a worker since."""
        return await self.ask(address, there.listen, self._session, heard)  # type: ignore[no-any-return]

    async def tell(self, address: str, first: int, commands: bytes) -> None:
        """Give a worker commands."""
        await self.ask(address, there.tell, self._session, first, commands)

    async def close_host(self, address: str) -> None:
        """The worker may forget the batch."""
        with contextlib.suppress(Exception):  # the client may be closed by now; then the worker's lease ends it
            await self.ask(address, there.close_host, self._session)


class _Shown:
    """A batch as Dask's scheduler sees it. A run is no task of Dask's, so two kinds of tasks stand for runs there.

    A worker that has runs is kept by one that goes on as long and takes no thread from others: Dask closes no such
    worker to save it, nor a cluster for being idle. Tasks that no worker can ever run say that more workers are
    wanted: Dask's adaptive scaling counts what waits.
    """

    def __init__(self, client: Client, session: str) -> None:
        self._client = client
        self._session = session
        self._numbers = itertools.count()
        self._wanting: list[Future[None]] = []

    def keep(self, address: str) -> tuple[int, Future[None] | None]:
        """Keep a worker, until it is told to let that number go; without a future where the client is closed."""
        number = next(self._numbers)
        key = f"crew_nb-runs-{self._session}-{number}"
        with contextlib.suppress(Exception):  # `_look_after` finds out that it is closed
            return number, self._client.submit(there.stand_for_runs, self._session, number, key=key, workers=[address])
        return number, None

    def want(self, tasks: int) -> None:
        """Have so many tasks wait for a worker."""
        while len(self._wanting) > tasks:
            self._wanting.pop().release()  # type: ignore[no-untyped-call]
        more = [f"crew_nb-wanted-{self._session}-{next(self._numbers)}" for _ in range(tasks - len(self._wanting))]
        if more:
            with contextlib.suppress(Exception):
                self._wanting += self._client.map(there.never, more, key=more, resources={"crew_nb wants workers": 1})


class _WorkerLostError(Exception):
    """A worker went away under a run."""


class _Worker:
    """The link to one worker: what it is told, and what is heard of it, each in order and once."""

    def __init__(self, cluster: Cluster, address: str, shown: _Shown) -> None:
        self.address = address
        self.name = address
        self.skew = 0.0
        """Seconds by which its clock is ahead of ours."""
        self.ready = False
        self.runs: dict[int, _RemoteRun] = {}
        self._cluster = cluster
        self._shown = shown
        self._kept: tuple[int, Future[None] | None] | None = None
        """The Dask task that keeps it, by its number."""
        self._retired: asyncio.Task[bool] | None = None
        self._known: set[int] = set()
        self._is_taught = False
        self._commands: list[said.Command] = []
        self._told = 0
        self._news = asyncio.Event()
        self._closing = False
        loop = asyncio.get_running_loop()
        self._serving = loop.create_task(self._serve(), context=contextvars.Context())
        self._telling: asyncio.Task[None] | None = None

    def start(
        self,
        blueprint: said.Blueprint,
        start: said.Start,
        attempt: Attempt,
        recorded: Recorded | None,
        *,
        moved: bool,
    ) -> _RemoteRun:
        """Give it a run. One that was `moved` here goes on with the answers that it had there."""
        self.keep()
        if recorded is not None and (moved or not self._is_taught):
            self._is_taught = True
            self.tell(said.Lesson(recorded.lent()))
        run = self.runs[start.number] = _RemoteRun(self, start.number, attempt)
        if blueprint.key not in self._known:
            self._known.add(blueprint.key)
            self.tell(blueprint)
        self.tell(start)
        return run

    def tell(self, command: said.Command) -> None:
        """Send a command soon, with others."""
        self._commands.append(command)
        self._news.set()

    @property
    def kept(self) -> bool:
        """Whether Dask is told not to close it."""
        return self._kept is not None

    def keep(self) -> None:
        """Dask is not to close it."""
        if self._kept is None:
            self._kept = self._shown.keep(self.address)

    def let_go(self) -> None:
        """Dask may close it."""
        if self._kept is not None:
            (number, future), self._kept = self._kept, None
            self.tell(said.LetGo(number))
            if future is not None:
                future.release()  # type: ignore[no-untyped-call]

    async def was_retired(self) -> bool:
        """Whether it is gone in good order."""
        if self._retired is None:
            asked = self._cluster.was_retired(self.address)
            self._retired = asyncio.get_running_loop().create_task(asked, context=contextvars.Context())
        return await asyncio.shield(self._retired)

    def close(self) -> None:
        """The batch is over: the worker is told, and its last answer ends the link."""
        self.let_go()
        self._closing = True
        self._news.set()

    def lost(self) -> None:
        """Nothing more is heard of it."""
        self.ready = False
        self.let_go()
        for task in (self._serving, self._telling):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        for run in list(self.runs.values()):
            run.lose()

    async def _serve(self) -> None:
        try:
            self.name, self.skew = await self._cluster.open(self.address)
        except Exception as error:
            await self._cluster.opened(self, error)
            return
        loop = asyncio.get_running_loop()
        self._telling = loop.create_task(self._tell())
        self.ready = True
        await self._cluster.opened(self, None)
        await self._listen()

    async def _listen(self) -> None:
        heard = 0
        reached = time.monotonic()
        while True:
            try:
                answer = await self._cluster.listen(self.address, heard)
            except Exception:
                # Either it is dead, which the scheduler is about to notice, or it was out of reach for a moment.
                if self._closing:
                    return
                with contextlib.suppress(Exception):
                    if await self._cluster.worker_is_gone(self.address):
                        break
                if time.monotonic() - reached > LOST_SECONDS:
                    break
                await asyncio.sleep(0.05)
                continue
            if answer is None:
                break
            reached = time.monotonic()
            first, pickled = answer
            messages: list[said.Message] = said.unpickled(pickled)
            for message in messages[heard - first :]:
                run = self.runs.get(message.number)
                if run is not None:
                    run.hear(message)
            heard = first + len(messages)
        if not self._closing:
            self._cluster.gone(self)

    async def _tell(self) -> None:
        """One letter at a time; what comes meanwhile goes into the next."""
        while True:
            await self._news.wait()
            self._news.clear()
            commands = tuple(self._commands)  # more may come while these are on their way
            if commands:
                try:
                    await self._cluster.tell(self.address, self._told, said.pickled_messages(commands))
                except Exception:
                    await asyncio.sleep(0.05)  # `_listen` finds out whether it is lost; until then it is told again
                    self._news.set()
                    continue
                self._told += len(commands)
                del self._commands[: len(commands)]
            if self._closing and not self._commands:
                await self._cluster.close_host(self.address)
                return


@dataclass(slots=True)
class _Call:
    """An LLM call of a remote run, as the gate here knows it."""

    asking: asyncio.Task[None] | None = None
    record: CallRecord = field(default_factory=lambda: CallRecord(began=0.0))
    admitted: bool = False


class _RemoteRun:
    """One run on one worker."""

    def __init__(self, worker: _Worker, number: int, attempt: Attempt) -> None:
        self.attempt = attempt
        self.ended: asyncio.Future[said.Ended] = asyncio.get_running_loop().create_future()
        self.calls: dict[str, ev.CallStarted] = {}
        """LLM and tool calls in flight there."""
        self.waits: set[str] = set()
        """What it waits for there."""
        self._worker = worker
        self._number = number
        self._tickets: dict[int, _Call] = {}

    def hear(self, message: said.Message) -> None:
        """Take what the worker says of it."""
        if isinstance(message, said.Happened):
            self._happened(message.event)
        elif isinstance(message, said.Ask):
            call = self._tickets[message.ticket] = _Call()
            asker = _Asker(self.attempt, message.task)
            # An empty context: what belongs to one run must not be stopped with another.
            call.asking = asyncio.get_running_loop().create_task(
                self._ask(message.ticket, call, asker), context=contextvars.Context()
            )
        elif isinstance(message, said.Release):
            self._release(message.ticket, message.tokens, message.answered)
        elif isinstance(message, said.Judged):
            self._gate._note(message.verdict)
        elif isinstance(message, said.Answered):
            if (recorded := _recorded_of(self.attempt)) is not None:
                recorded.hear(message.call, message.place, message.kept)
        elif not self.ended.done():
            self.ended.set_result(message)

    def lose(self) -> None:
        """Its worker is gone."""
        if not self.ended.done():
            self.ended.set_exception(_WorkerLostError())
            self.ended.exception()  # somebody may have given up waiting

    def close(self) -> None:
        """Whatever the gate holds for it is given back."""
        self._worker.runs.pop(self._number, None)
        for ticket in list(self._tickets):
            self._release(ticket, 0, False)

    def _happened(self, event: ev.Event) -> None:
        if skew := self._worker.skew:
            event = replace(event, at=event.at - skew)
            if isinstance(event, ev.WaitStarted) and event.until is not None:
                event = replace(event, until=event.until - skew)
        if isinstance(event, ev.CallStarted):
            self.calls[event.call] = event
        elif isinstance(event, ev.CallFinished | ev.CallFailed):
            self.calls.pop(event.call, None)
        elif isinstance(event, ev.WaitStarted):
            self.waits.add(event.key)
        elif isinstance(event, ev.WaitFinished):
            self.waits.discard(event.key)
        self.attempt.post(event)

    @property
    def _gate(self) -> Gate:
        return cast("Gate", self.attempt.gate)

    async def _ask(self, ticket: int, call: _Call, asker: _Asker) -> None:
        """Ask the gate, and pass its answer on."""
        try:
            await self._gate._admit(asker, call.record)
        except Exception as error:
            self._tickets.pop(ticket, None)
            budget = isinstance(error.__cause__, BudgetExceededError)
            self._worker.tell(said.Grant(self._number, ticket, str(error.__cause__ if budget else error), budget))
        else:
            call.admitted = True
            self._worker.tell(said.Grant(self._number, ticket))

    def _release(self, ticket: int, tokens: int, answered: bool) -> None:
        call = self._tickets.pop(ticket, None)
        if call is None:
            return
        gate = self._gate
        if call.admitted:
            call.record.usage = Usage(total_tokens=tokens)
            gate._released(call.record)
            if answered and gate._adaptive is not None:
                gate._adaptive.note_success()
        elif call.asking is not None:
            call.asking.cancel()


def _recorded_of(attempt: Attempt) -> Recorded | None:
    return next((each for each in attempt.gate.witnesses if isinstance(each, Recorded)), None)


class _Asker(Attempt):
    """An attempt as one of its tasks asks the gate: what it waits for is shown at that task."""

    def __init__(self, attempt: Attempt, task: int | None) -> None:
        super().__init__(attempt.index, self._at_task, attempt.gate)
        self._attempt = attempt
        self._task = task

    def _at_task(self, event: ev.Event) -> None:
        self._attempt.post(replace(event, task=self._task) if isinstance(event, ev.WaitStarted) else event)

    @property
    def stop_reason(self) -> str:
        return self._attempt.stop_reason

    @stop_reason.setter
    def stop_reason(self, reason: str) -> None:
        """Only the attempt itself is stopped."""


# --- what is asked of each worker -----------------------------------------------------------------------------------


def _check_versions(hello: said.Hello) -> None:
    ours = there.versions()
    other = [
        f"{k} {hello.versions.get(k, 'missing')} (here {v})" for k, v in ours.items() if hello.versions.get(k) != v
    ]
    if other:
        raise OptionError(
            f"the Dask worker {hello.name} has {', '.join(other)}. Install the same versions there, and start it again."
        )


def _unfit(address: str, error: BaseException) -> OptionError:
    return OptionError(
        f"the Dask worker {address} cannot run crews: {type(error).__name__}: {error}. "
        "Install crew-nb[dask] there, and the versions of this process."
    )


def _left_out(trouble: OptionError) -> str:
    return f"{trouble} Until then the other workers do the runs."
