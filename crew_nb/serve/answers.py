"""What a client of the router is told: outcomes as JSON, and a batch as server-sent events.

A traceback, a prompt or a known secret never leaves.
"""

import asyncio
import contextlib
import inspect
import json
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, JsonValue
from sse_starlette import EventSourceResponse

from crew_nb._engine.engine import engine
from crew_nb._handles.batch import Batch
from crew_nb._state import events as ev
from crew_nb._state.secrets import Secrets
from crew_nb._state.state import Status
from crew_nb._state.usage import Usage

SSE_SECONDS = 0.1
"""Least time between two bursts of server-sent events to one listener."""
SSE_KEPT = 10_000
"""Pieces of text kept for a listener that reads slowly; the oldest are dropped."""
MESSAGE_KEPT = 1_000
"""Characters of an error's message that a client gets."""
STOP_SECONDS = 2.0
"""Within these every run of a server that stops has ended."""
ANSWER_SECONDS = 1.0
"""How much longer a server that stops gives open requests to tell of it."""


class RunError(BaseModel):
    """Why a run has no text."""

    type: str
    message: str


class RunResult(BaseModel):
    """One run's outcome, at the place of its inputs."""

    inputs: dict[str, JsonValue]
    status: Status
    raw: str | None
    """The crew's text; null until it is done."""
    error: RunError | None
    usage: Usage


class BatchResults(BaseModel):
    """The joined outcomes, in the order of the inputs."""

    results: list[RunResult]


class BatchStarted(BaseModel):
    """A batch that runs in the background."""

    id: str


class BatchStatus(BaseModel):
    """A batch in the background, as it is now."""

    id: str
    status: Status
    created: float
    """Unix seconds."""
    results: list[RunResult]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: JsonValue


@dataclass(frozen=True, slots=True)
class Order:
    """What a request has begun."""

    batch: Batch
    inputs: list[Any]
    """As they came, for the answer."""


_TRACE = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\)|\bFile \\?\"[^\"\n]+\", line \d")


def words(message: str, secrets: Secrets) -> str:
    """An error's message for a client: of a traceback in it the last line only, which says what was raised."""
    trace = _TRACE.search(message)
    if trace is not None:
        last = message.rstrip().rpartition("\n")[2]
        raised = "" if last[:1].isspace() or _TRACE.search(last) else last
        before = message[: trace.start()].rstrip(" +|\n")  # the frame around the members of a group
        message = f"{before} {raised}".strip()
    return secrets.scrub(message)[:MESSAGE_KEPT]


def _result(order: Order, index: int) -> dict[str, Any]:
    state = order.batch.runs[index].state
    error, secrets = state.error, order.batch._driver.hiding.of(index)
    return {
        "inputs": order.inputs[index],
        "status": state.status,
        "raw": secrets.scrub(state.output) if state.status == "done" else None,
        "error": error and {"type": error.type, "message": words(error.message, secrets)},
        "usage": state.usage.to_dict(),
    }


def results(order: Order) -> list[dict[str, Any]]:
    """What became of each run, in input order."""
    return [_result(order, index) for index in range(len(order.inputs))]


def status_of(key: str, order: Order) -> dict[str, Any]:
    """How a batch stands, with what its runs have given so far."""
    batch = order.batch
    return {"id": key, "status": batch.status, "created": batch.created, "results": results(order)}


class _Listener:
    """What one listener has not been told yet: filled on the engine's loop, emptied on the server's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._told = False
        self._pieces: deque[ev.CallChunk] = deque(maxlen=SSE_KEPT)

    def tap(self, event: ev.Event) -> None:
        """Take an event of the batch."""
        if isinstance(event, ev.CallChunk):
            self._pieces.append(event)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the server's loop has just been closed
                self._loop.call_soon_threadsafe(self._news.set)

    async def wait(self) -> None:
        """Returns when something has happened since the last `pieces()`."""
        await self._news.wait()

    def pieces(self) -> dict[tuple[int, int | None], str]:
        """The text said since the last call, by run and task."""
        self._news.clear()
        self._told = False
        said: dict[tuple[int, int | None], str] = {}
        while self._pieces:
            piece = self._pieces.popleft()
            place = (piece.run, piece.task)
            said[place] = said.get(place, "") + piece.text
        return said


class _Exit:
    """What sse-starlette sets when uvicorn was told to exit: the stream's batch ends, and with it the stream."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def set(self) -> None:
        """The server is going to stop."""
        self._batch.cancel()


def until_exit(batch: Batch) -> dict[str, Any]:
    """Options of a stream for a server that is not ours; without them it would be cut off before its last events."""
    if "shutdown_event" not in inspect.signature(EventSourceResponse).parameters:  # before sse-starlette 3.3
        return {}
    return {"shutdown_event": _Exit(batch), "shutdown_grace_period": STOP_SECONDS + ANSWER_SECONDS}


async def events(order: Order) -> AsyncIterator[dict[str, str]]:
    """What happens to a batch, as server-sent events, until it ends or nobody listens."""
    batch = order.batch
    listener = _Listener()

    async def listen() -> None:
        batch.taps.append(listener.tap)

    await asyncio.wrap_future(engine.submit(listen()))
    told: list[Any] = [None] * len(batch.runs)
    try:
        while True:
            for place, text in listener.pieces().items():
                if text:
                    yield _event("text", {"run": place[0], "task": place[1], "text": text})
            for index, run in enumerate(batch.runs):
                state = run.state
                row = (state.status, tuple((t.spec.name, t.status) for t in state.tasks))
                if row == told[index]:
                    continue
                told[index] = row
                tasks = [{"name": name, "status": status} for name, status in row[1]]
                yield _event("run", {"run": index, "status": row[0], "tasks": tasks})
                if state.final:
                    yield _event("result", {"run": index, **_result(order, index)})
            if all(row is not None and row[0] in ("done", "failed", "cancelled") for row in told):
                yield _event("end", {"status": batch.status})
                return
            await asyncio.sleep(SSE_SECONDS)
            await listener.wait()
    finally:
        engine.call(batch.taps.remove, listener.tap)


def _event(name: str, data: Any) -> dict[str, str]:
    return {"event": name, "data": json.dumps(data)}
