"""What a router has accepted: one bounded queue for all its requests, and the batches in the background.

A client that goes away stops its runs, and a server that stops ends what its clients began.
"""

import asyncio
import contextlib
import math
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import HTTPException, Request

from crew_nb._cluster import runner_for
from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import startable as _startable
from crew_nb._engine.engine import engine
from crew_nb._engine.limits import Slots
from crew_nb._handles.batch import Batch
from crew_nb._state import clock as _clock
from crew_nb._state.errors import CrewNbError
from crew_nb._state.secrets import Secrets
from crew_nb.serve.answers import STOP_SECONDS, Order, words
from crew_nb.serve.requests import echo, row

WORK = "crew_nb.work"
"""The key in an ASGI scope under which our server says what it has begun."""


class Work:
    """What a server's clients have begun, to be stopped with the server; used on its loop only."""

    def __init__(self) -> None:
        self.stopping = False
        self._batches: set[Batch] = set()

    def add(self, batch: Batch) -> None:
        """The batch ends with the server."""
        self._batches = {batch, *(b for b in self._batches if b.open_runs)}

    def stop(self) -> None:
        """Nothing is to begin any more; what runs is being cancelled."""
        self.stopping = True
        for batch in self._batches:
            batch.cancel()

    async def ended(self) -> None:
        """Returns when all of it has ended, or after `STOP_SECONDS`."""
        joins = [asyncio.ensure_future(batch.ended()) for batch in self._batches]
        if joins:
            await asyncio.wait(joins, timeout=STOP_SECONDS)


class Desk:
    """What one router has accepted: the queue that all its requests share, and the batches in the background."""

    def __init__(self, crew: Any, options: Any, *, max_queued: int, keep: int, keep_seconds: float) -> None:
        self._crew = _startable.template(crew)
        self._options = options
        self._max_queued = max_queued
        self._keep = keep
        self._keep_seconds = keep_seconds
        self._slots = Slots(options.concurrency)
        self._work = Work()
        """Under a server that is not ours."""
        self._active: set[Batch] = set()
        self._kept: dict[str, Order] = {}
        self._arriving = 0
        self._mean = 1.0
        """Seconds that a run has lately taken."""

    async def accept(self, items: list[Any], request: Request, background: bool = False) -> Order:
        """A batch of these inputs, which has begun.

        Raises:
            HTTPException: 429 when the queue is full, 422 when the inputs do not fit the crew, 503 when the server
                stops.
        """
        self._arriving += 1
        try:
            for _ in range(self._arriving - 1):  # of many that came at once, one a pass: others are served in between
                await asyncio.sleep(0)
        finally:
            self._arriving -= 1
        work: Work = request.scope.get(WORK, self._work)
        if work.stopping:
            raise HTTPException(503, "The server is stopping.", {"Retry-After": str(math.ceil(STOP_SECONDS))})
        self._sort_out()
        queued = sum(batch.open_runs for batch in self._active)
        if queued + len(items) > self._max_queued:
            wait = min(60, max(1, math.ceil(queued / self._slots.limit * self._mean)))
            raise HTTPException(429, f"{queued:,} runs are in the queue.", {"Retry-After": str(wait)})
        options = self._options
        if background and options.stream is None:
            options = replace(options, stream=True)
        rows = [row(item) for item in items]
        try:
            plans = _blueprint.with_arguments(_blueprint.plans_from(self._crew, rows), options.how)
            batch = Batch(plans, options, self._slots, runner_for(plans, options))
        except CrewNbError as error:
            raise HTTPException(422, words(str(error), Secrets())) from None
        order = Order(batch, [echo(item, row) for item, row in zip(items, rows, strict=True)])
        self._active.add(batch)
        work.add(batch)
        batch.start()
        return order

    def keep_order(self, order: Order) -> str:
        """The id under which the batch is found; it cannot be guessed."""
        key = secrets.token_urlsafe(16)
        self._kept[key] = order
        return key

    def find(self, key: str) -> Order:
        """The batch of that id.

        Raises:
            HTTPException: 404 when there is none, or none any more.
        """
        self._sort_out()
        if key not in self._kept:
            raise HTTPException(404, "No such batch, or no longer kept.")
        return self._kept[key]

    def _sort_out(self) -> None:
        """Forget what is over: batches that ended, and kept ones that are too old or too many."""
        for batch in [b for b in self._active if not b.open_runs]:
            self._active.discard(batch)
            spans = [s.finished - s.started for s in (r.state for r in batch.runs) if s.finished and s.started]
            if spans:
                self._mean = (3 * self._mean + sum(spans) / len(spans)) / 4
        over = [key for key, order in self._kept.items() if not order.batch.open_runs]  # oldest first
        old = _clock.now() - self._keep_seconds
        for place, key in enumerate(over):
            if len(over) - place > self._keep or max(r.finished or 0.0 for r in self._kept[key].batch.runs) < old:
                del self._kept[key]

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """CrewAI is loaded before the first request; what runs when the server stops is stopped."""
        await asyncio.wrap_future(engine.submit(engine.prepare()))
        work = self._work = Work()
        try:
            yield
        finally:
            work.stop()
            await work.ended()


async def join_or_stop(batch: Batch, request: Request) -> None:
    """Returns when the batch has ended; a client that has gone away, or a cancelled request, stops it."""
    joined = asyncio.ensure_future(batch.ended())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({joined, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not joined.done():
            batch.cancel()
            joined.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
