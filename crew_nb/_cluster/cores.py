"""A batch on processes of this machine: begun here while they start, and carried out there once they are ready."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from crew_nb._cluster.client import RUNS_A_WORKER, Cluster
from crew_nb._cluster.travel import travelling
from crew_nb._engine.engine import HERE
from crew_nb._state.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Client

    from crew_nb._cluster.said import Blueprint
    from crew_nb._crewai.blueprint import Plan
    from crew_nb._engine.engine import Runner
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState

FIRST_HERE = 64
"""So many runs of a batch begin in this process while the others start, which takes some seconds."""
MOST = 256
"""Processes that can be meant."""


def on_cores(on: str | int, plans: Sequence[Plan], options: Options) -> Runner:
    """The runner of one batch on so many processes; this one, where it is enough.

    Raises:
        OptionError: When `on` is no number of processes, or Dask is not there.
        BlueprintError: When a crew or an input cannot travel to another process.
    """
    if on == "cores":
        on = _cores()
    elif not isinstance(on, int) or isinstance(on, bool) or not 1 <= on <= MOST:
        raise OptionError(f'on is {on!r}. Write on="cores", a number of processes from 1, or on=Client(...).')
    try:
        import distributed  # noqa: F401 - said before anything is started
    except ImportError as error:
        raise OptionError(f"on={options.on!r} needs Dask: pip install 'crew-nb[dask]'.") from error
    blueprints = travelling(plans)
    if min(len(plans), options.concurrency) <= RUNS_A_WORKER:
        return HERE
    return _Cores(int(on), plans, options, blueprints)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Cores:
    """The runner of one batch."""

    def __init__(
        self, count: int, plans: Sequence[Plan], options: Options, blueprints: Mapping[int, Blueprint]
    ) -> None:
        self._count = count
        self._plans = plans
        self._options = options
        self._blueprints = blueprints
        self._processes = _started(count)
        self._cluster: Cluster | None = None
        self._begin: asyncio.Task[None] | None = None
        self._ready = False
        self._begun_here = 0

    @property
    def waits_for(self) -> str:
        """What runs wait for, in words; empty where they may begin."""
        if self._ready or self._begun_here < FIRST_HERE:
            return ""
        return f"starting {self._count} processes; the first {FIRST_HERE} runs begin without them…"

    @property
    def where(self) -> str:
        """On how many processes it is; empty until they are there."""
        if not self._ready:
            return ""
        return f"runs are spread over {self._count} process{'es' * (self._count != 1)} of this machine"

    async def prepare(self, states: Sequence[RunState]) -> None:
        """Returns at once for the first runs; for the others when the processes are ready.

        Raises:
            Exception: When they cannot be started.
        """
        if self._begin is None:
            # An empty context: the run that comes first may be cancelled, and the others need this too.
            self._begin = asyncio.get_running_loop().create_task(self._get_ready(states), context=contextvars.Context())
        if not self._ready and self._begun_here < FIRST_HERE:
            self._begun_here += 1
            return
        await asyncio.shield(self._begin)

    async def kick_off(self, plan: Plan, attempt: Attempt, *, stream: bool | None, keep_replay: bool) -> Any:
        """Run it there where that is ready, else here."""
        if self._ready and self._cluster is not None:
            return await self._cluster.kick_off(plan, attempt, stream=stream, keep_replay=keep_replay)
        return await HERE.kick_off(plan, attempt, stream=stream, keep_replay=keep_replay)

    def close(self) -> None:
        """The batch is over; the processes stay for the next one."""
        if self._begin is not None:
            self._begin.cancel()
        if self._cluster is not None:
            self._cluster.close()
        self._begin, self._ready, self._begun_here = None, False, 0

    async def _get_ready(self, states: Sequence[RunState]) -> None:
        if self._cluster is None:
            client = await asyncio.shield(asyncio.wrap_future(self._processes))
            self._cluster = Cluster(client, self._plans, self._options, self._blueprints)
        await self._cluster.prepare(states)
        self._ready = True


_kept: dict[int, Future[Client]] = {}
_keeping = threading.Lock()


def _started(count: int) -> Future[Client]:
    """A client of so many processes: started once, kept for all batches, and stopped with this process."""
    with _keeping:
        future = _kept.get(count)
        if future is None or (future.done() and (future.exception() or future.result().status != "running")):
            if not _kept:
                atexit.register(stop)
            future = _kept[count] = Future()
            threading.Thread(target=_start, args=(count, future), name="crew_nb-cores", daemon=True).start()
        return future


def _start(count: int, future: Future[Client]) -> None:
    try:
        import distributed

        dask: Any = distributed
        cluster = dask.LocalCluster(n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None)
        client = dask.Client(cluster, set_as_default=False)
    except BaseException as error:
        future.set_exception(error)
        return
    with _keeping:
        if is_kept := _kept.get(count) is future:
            future.set_result(client)
    if not is_kept:
        try:
            _end(client)
        finally:
            future.set_exception(RuntimeError("the processes were stopped while they started"))


def stop() -> None:
    """End the processes that were kept; those that only start end once they have."""
    with _keeping:
        kept = list(_kept.values())
        _kept.clear()
    for future in kept:
        if future.done() and not future.exception():
            _end(future.result())


def _end(client: Any) -> None:
    cluster = client.cluster
    client.close()
    cluster.close()
