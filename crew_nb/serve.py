"""Crews behind FastAPI: a router that any app can include, and a server that leaves the kernel's loop alone.

A client sees statuses, texts and errors by type and message; a traceback, a prompt or a known secret never leaves.
Needs `pip install crew-nb[serve]`.
"""

import asyncio
import atexit
import contextlib
import inspect
import json
import math
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import to_jsonable_python
from sse_starlette import EventSourceResponse

from crew_nb import _blueprint
from crew_nb import _events as ev
from crew_nb._batch import Batch
from crew_nb._engine import engine
from crew_nb._errors import BlueprintError, CrewNbError, OptionError
from crew_nb._limits import Slots
from crew_nb._options import RunOptions
from crew_nb._options import options as checked_options
from crew_nb._secrets import SCRUBBER, is_secret_name
from crew_nb._state import RunState, Status

if TYPE_CHECKING:
    from crew_nb._blueprint import CrewLike

RUN_SECONDS = 300.0
"""`timeout` of a run where the router is given none: a server must not hold a hung run for ever."""
SSE_SECONDS = 0.1
"""Least time between two bursts of server-sent events to one listener."""
HELD = 500
"""Characters of an unfinished word that a listener waits for; longer ones are no words."""
_INK = "".join(map(chr, range(33, 127)))
SSE_KEPT = 10_000
"""Pieces of text kept for a listener that reads slowly; the oldest are dropped."""
MESSAGE_KEPT = 1_000
"""Characters of an error's message that a client gets."""
STOP_SECONDS = 2.0
"""How long a server that stops waits for open requests, and a router for its runs."""


class RunError(BaseModel):
    """Why a run has no text."""

    type: str
    message: str


class RunUsage(BaseModel):
    """Tokens and requests of one run."""

    total_tokens: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cache_creation_tokens: int = 0
    successful_requests: int = 0


class RunResult(BaseModel):
    """One run's outcome, at the place of its inputs."""

    inputs: dict[str, JsonValue]
    status: Status
    raw: str | None
    """The crew's text; null until it is done."""
    error: RunError | None
    usage: RunUsage


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


def router(
    crew: "CrewLike",
    *,
    max_inputs: int = 100,
    max_body: int = 1_000_000,
    max_length: int = 20_000,
    max_queued: int = 1_000,
    keep: int = 100,
    keep_seconds: float = 3_600.0,
    **options: Unpack[RunOptions],
) -> APIRouter:
    """Routes that run a crew; include them with a prefix: `app.include_router(router(build_crew), prefix="/research")`.

    POST to the prefix runs `{"inputs": [{...}, ...]}` and answers with the joined results. POST to `/batches` starts
    in the background; `/batches/{id}` tells how it stands, `/batches/{id}/events` tells it live, DELETE cancels it.

    Args:
        crew: A `Crew`, or a function that returns one; its placeholders, or its parameters, are the fields of an input.
            A function without parameters is called once, to learn the placeholders of its crew.
        max_inputs: Inputs in one request.
        max_body: Bytes of one request's body.
        max_length: Characters of one text in an input.
        max_queued: Runs of all requests that are not final; a request that would exceed it gets 429 with Retry-After.
        keep: Finished background batches that are kept.
        keep_seconds: How long a finished background batch is kept.
        **options: As for `kickoff_for_each`. `timeout` is 300 where none is given; `max_concurrency` holds for all
            requests together.

    Raises:
        BlueprintError: When the crew cannot be run, or a parameter of the function cannot come in a request.
        OptionError: When an option or a limit has a value that cannot be meant.
    """
    for name, value in (("max_inputs", max_inputs), ("max_body", max_body), ("max_length", max_length), ("keep", keep)):
        if not isinstance(value, int) or value < 1:
            raise OptionError(f"{name} is {value!r}. Write a whole number from 1.")
    if max_queued < max_inputs:
        raise OptionError(f"max_queued={max_queued} is below max_inputs={max_inputs}: a full request could never run.")
    chosen = checked_options(**{"timeout": RUN_SECONDS, **options}, show=False)
    _blueprint.check_source(crew)
    desk = _Desk(crew, chosen, max_queued=max_queued, keep=keep, keep_seconds=keep_seconds)
    item = _item_model(crew, max_length)
    body_model = create_model(
        f"{item.__name__}List",
        __doc__="One dict per run.",
        inputs=(Annotated[list[item], Field(min_length=1, max_length=max_inputs)], ...),  # type: ignore[valid-type]
    )

    class Bounded(_Route):
        max_bytes = max_body

    routes = APIRouter(route_class=Bounded, lifespan=desk.lifespan)
    refusals: dict[int | str, dict[str, Any]] = {
        400: {"model": Problem, "description": "The body is not JSON"},
        413: {"model": Problem, "description": "The body is too large"},
        422: {"model": Problem, "description": "The inputs do not fit the crew"},
        429: {"model": Problem, "description": "The queue is full; come again after Retry-After seconds"},
    }
    unknown: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such batch"}}

    @routes.post("", response_model=BatchResults, responses=refusals, summary="Run the crew over inputs and join")
    async def run(body: body_model, request: Request) -> Response:  # type: ignore[valid-type]
        """The results, in the order of the inputs. A client that goes away stops its runs."""
        batch = await desk.accept(_rows(body))
        await _join_or_stop(batch, request)
        return _json({"results": _results(batch)})

    @routes.post(
        "/batches",
        response_model=BatchStarted,
        status_code=202,
        responses=refusals,
        summary="Start in the background",
    )
    async def start_batch(body: body_model) -> Response:  # type: ignore[valid-type]
        """The batch's id, at once."""
        return _json({"id": desk.keep_batch(await desk.accept(_rows(body), background=True))}, 202)

    @routes.get("/batches/{id}", response_model=BatchStatus, responses=unknown, summary="How a batch stands")
    async def batch_status(id: str) -> Response:  # noqa: A002 - the path's name
        """Its status, and every run's as far as it is."""
        return _json(_status(id, desk.find(id)))

    @routes.get(
        "/batches/{id}/events",
        response_class=EventSourceResponse,
        responses={**unknown, 200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"}},
        summary="A batch, live",
    )
    async def batch_events(id: str) -> Response:  # noqa: A002
        """Events `run` (a run's status and its tasks'), `text` (a piece of an answer), `result` and, last, `end`.

        Whoever connects later, or again, is told first how things stand.
        """
        return EventSourceResponse(_events(desk.find(id)), ping=15, send_timeout=30)

    @routes.delete("/batches/{id}", response_model=BatchStatus, responses=unknown, summary="Cancel a batch")
    async def cancel_batch(id: str) -> Response:  # noqa: A002
        """How it stands; its runs end within 2 seconds, and what was finished stays."""
        batch = desk.find(id)
        batch.cancel()
        return _json(_status(id, batch))

    return routes


# --- what a request may hold ----------------------------------------------------------------------------------------


class _Strict(Request):
    """A request whose JSON holds no NaN and no infinity, which no answer could echo."""

    async def json(self) -> Any:
        return json.loads(await self.body(), parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


class _Route(APIRoute):
    """A route that refuses large bodies while they come in, and says no more of a bad one than where it is bad."""

    max_bytes = 0

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()
        limit = self.max_bytes

        async def bounded(request: Request) -> Response:
            seen = 0

            async def receive() -> Any:
                nonlocal seen
                message = await request.receive()
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise HTTPException(413, f"The body has more than {limit:,} bytes.")
                return message

            try:
                return await handle(_Strict(request.scope, receive))
            except RequestValidationError as error:
                # FastAPI's own answer echoes the input, which may be no valid text.
                found = [{"type": e["type"], "loc": list(e["loc"]), "msg": e["msg"]} for e in error.errors()]
                return _json({"detail": found}, 422)

        return bounded


def _json(content: Any, status: int = 200) -> Response:
    """JSON in pure ASCII: an LLM's text may hold lone surrogates, which UTF-8 cannot carry."""
    return Response(json.dumps(content), status, media_type="application/json")


def _item_model(crew: Any, max_length: int) -> type[BaseModel]:
    """The model of one input: a crew's placeholders, or a factory's parameters with their types and defaults."""
    text = Annotated[str, Field(max_length=max_length)]
    fields: dict[str, tuple[Any, Any]] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    name = "Crew"
    if not _blueprint._is_crew(crew):
        name = getattr(crew, "__name__", type(crew).__name__)
        for parameter in _parameters(crew):
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = "allow"
            elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                kind = _field_type(parameter, crew)
                if kind is not None:
                    fields[parameter.name] = (text if kind is str else kind, parameter.default)
    if not fields and extra == "forbid":
        built = crew if _blueprint._is_crew(crew) else _blueprint._call_factory(crew, None)
        optional = bool(built.before_kickoff_callbacks)  # they may add inputs
        default = None if optional else inspect.Parameter.empty
        fields = dict.fromkeys(sorted(_blueprint.placeholders(built)), (text, default))
        extra = "allow" if optional else "forbid"
    # Any name may stand in a prompt; as aliases they are free of what pydantic wants of attributes.
    columns = {f"f{n}": (kind, _field(place, default)) for n, (place, (kind, default)) in enumerate(fields.items())}
    title = "".join(word[:1].upper() + word[1:] for word in name.replace("<lambda>", "crew").split("_"))
    model: type[BaseModel] = create_model(  # type: ignore[call-overload]
        f"{title}Inputs", __config__=ConfigDict(extra=extra, allow_inf_nan=False), **columns
    )
    return model


def _field(name: str, default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return Field(alias=name, title=name)
    shown = (
        default
        if isinstance(default, str | int | float | bool) and SCRUBBER.scrub(str(default)) == str(default)
        else None
    )
    return Field(default=shown, alias=name, title=name)


def _parameters(factory: Any) -> Iterator[inspect.Parameter]:
    """The parameters, with annotations that were written as text read one by one: some are for type checkers only."""
    function = inspect.unwrap(factory)
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    names = getattr(getattr(function, "__func__", function), "__globals__", {})
    for parameter in inspect.signature(factory).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, str):
            try:
                kind = eval(kind, names)  # noqa: S307 - the user's own code
            except Exception:
                kind = parameter.empty
        yield parameter.replace(annotation=kind)


def _field_type(parameter: inspect.Parameter, factory: Any) -> Any:
    """The type of a parameter's field, or None where it stays with its default."""
    optional = parameter.default is not parameter.empty
    if optional and is_secret_name(parameter.name):
        return None
    kind = parameter.annotation
    if kind is parameter.empty:
        if not optional:
            return str
        if parameter.default is None:
            return JsonValue
        kind = type(parameter.default)
    try:
        TypeAdapter(kind).json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema):
        if optional:
            return None
        raise BlueprintError(
            f"the parameter {parameter.name} of {getattr(factory, '__name__', factory)}() is a {kind!r}, which cannot "
            "come in a request. Give it a default, or make it inside the function."
        ) from None
    return kind


def _rows(body: Any) -> list[dict[str, Any]]:
    """The inputs as they were given, each in the type of its field."""
    rows = []
    for item in body.inputs:
        fields = type(item).model_fields
        given = {fields[name].alias: getattr(item, name) for name in fields if name in item.model_fields_set}
        rows.append({**given, **(item.model_extra or {})})
    return rows


# --- what runs ------------------------------------------------------------------------------------------------------


class _Desk:
    """What one router has accepted: the queue that all its requests share, and the batches in the background."""

    def __init__(self, crew: Any, options: Any, *, max_queued: int, keep: int, keep_seconds: float) -> None:
        self._crew = _blueprint._template(crew)
        self._options = options
        self._max_queued = max_queued
        self._keep = keep
        self._keep_seconds = keep_seconds
        self._slots = Slots(options.concurrency)
        self._active: set[Batch] = set()
        self._kept: dict[str, Batch] = {}
        self._arriving = 0
        self._mean = 1.0
        """Seconds that a run has lately taken."""

    async def accept(self, rows: list[dict[str, Any]], background: bool = False) -> Batch:
        """A batch of these inputs, which has begun.

        Raises:
            HTTPException: 429 when the queue is full, 422 when the inputs do not fit the crew.
        """
        self._arriving += 1
        try:
            for _ in range(self._arriving - 1):  # of many that came at once, one a pass: others are served in between
                await asyncio.sleep(0)
        finally:
            self._arriving -= 1
        self._sort_out()
        queued = sum(batch.open_runs for batch in self._active)
        if queued + len(rows) > self._max_queued:
            wait = min(60, max(1, math.ceil(queued / self._slots.limit * self._mean)))
            raise HTTPException(429, f"{queued:,} runs are in the queue.", {"Retry-After": str(wait)})
        options = self._options
        if background and options.stream is None:
            options = replace(options, stream=True)
        try:
            batch = Batch(_blueprint.plans_for_each(self._crew, rows), options, self._slots)
        except CrewNbError as error:
            raise HTTPException(422, _words(error)) from None
        self._active.add(batch)
        batch.start()
        return batch

    def keep_batch(self, batch: Batch) -> str:
        """The id under which the batch is found; it cannot be guessed."""
        key = secrets.token_urlsafe(16)
        self._kept[key] = batch
        return key

    def find(self, key: str) -> Batch:
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
        over = [key for key, batch in self._kept.items() if not batch.open_runs]  # oldest first
        old = time.time() - self._keep_seconds
        for place, key in enumerate(over):
            if len(over) - place > self._keep or max(r.finished or 0.0 for r in self._kept[key].runs) < old:
                del self._kept[key]

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """CrewAI is loaded before the first request; what runs when the server stops is stopped."""
        await asyncio.wrap_future(engine.submit(engine.prepare()))
        try:
            yield
        finally:
            for batch in self._active:
                batch.cancel()
            joins = [asyncio.ensure_future(batch.ended()) for batch in self._active]
            if joins:
                await asyncio.wait(joins, timeout=STOP_SECONDS)


async def _join_or_stop(batch: Batch, request: Request) -> None:
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


# --- what a client is told ------------------------------------------------------------------------------------------


def _words(error: BaseException) -> str:
    return SCRUBBER.scrub(str(error))[:MESSAGE_KEPT]


def _result(state: RunState, inputs: Any) -> dict[str, Any]:
    error = state.error
    return {
        "inputs": to_jsonable_python(inputs, by_alias=True, fallback=str),
        "status": state.status,
        "raw": SCRUBBER.scrub(state.output) if state.status == "done" else None,
        "error": error and {"type": error.type, "message": SCRUBBER.scrub(error.message)[:MESSAGE_KEPT]},
        "usage": state.usage.to_dict(),
    }


def _results(batch: Batch) -> list[dict[str, Any]]:
    return [_result(run.state, run.inputs) for run in batch.runs]


def _status(key: str, batch: Batch) -> dict[str, Any]:
    return {"id": key, "status": batch.status, "created": batch.created, "results": _results(batch)}


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


async def _events(batch: Batch) -> AsyncIterator[dict[str, str]]:
    listener = _Listener()

    async def listen() -> None:
        batch.taps.append(listener.tap)

    await asyncio.wrap_future(engine.submit(listen()))
    told: list[Any] = [None] * len(batch.runs)
    held: dict[tuple[int, int | None], str] = {}  # words that may go on: half a key would not be known as one
    try:
        while True:
            for place, text in listener.pieces().items():
                said = held.pop(place, "") + text
                cut = len(said.rstrip(_INK)) if len(said) < HELD else len(said)
                held[place] = said[cut:]
                if cut:
                    yield _text(place, said[:cut])
            for index, run in enumerate(batch.runs):
                state = run.state
                row = (state.status, tuple((t.spec.name, t.status) for t in state.tasks))
                if row == told[index]:
                    continue
                told[index] = row
                tasks = [{"name": name, "status": status} for name, status in row[1]]
                yield _event("run", {"run": index, "status": row[0], "tasks": tasks})
                if state.final:
                    for place in [p for p in held if p[0] == index]:
                        if last := held.pop(place):
                            yield _text(place, last)
                    yield _event("result", {"run": index, **_result(state, run.inputs)})
            if all(row is not None and row[0] in ("done", "failed", "cancelled") for row in told):
                yield _event("end", {"status": batch.status})
                return
            await asyncio.sleep(SSE_SECONDS)
            await listener.wait()
    finally:
        engine.call(batch.taps.remove, listener.tap)


def _text(place: tuple[int, int | None], text: str) -> dict[str, str]:
    return _event("text", {"run": place[0], "task": place[1], "text": SCRUBBER.scrub(text)})


def _event(name: str, data: Any) -> dict[str, str]:
    return {"event": name, "data": json.dumps(data)}


# --- a server in a notebook -----------------------------------------------------------------------------------------


class Server:
    """An app that is being served from a thread and loop of its own; `stop()` ends it, and so does the kernel's end."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        name, family = (f"[{host}]", socket.AF_INET6) if ":" in host else (host, socket.AF_INET)
        # asyncio sends at once only where the protocol is named; else small answers wait 40 ms for Nagle.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name != "nt":  # there it would let two servers share a port
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"
        """Where it listens."""
        self._failure: BaseException | None = None
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=math.ceil(STOP_SECONDS))
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="crew_nb-serve", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            self._thread.join(0.01)
        if not self._uvicorn.started:
            raise CrewNbError("the app could not be started; its log says why.") from self._failure
        atexit.register(self.stop)

    def _serve(self) -> None:
        try:
            asyncio.run(self._uvicorn.serve(sockets=[self._socket]))
        except (Exception, SystemExit) as error:
            self._failure = error
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Take no more requests, give open ones a moment, stop their runs; returns when it is over."""
        self._uvicorn.should_exit = True
        self._thread.join(3 * STOP_SECONDS)
        atexit.unregister(self.stop)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {self.url}{'' if self._thread.is_alive() else ', stopped'}>"


def start(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Serve an app from a notebook and return its `Server` at once; the kernel's loop stays free.

    Args:
        app: The app; `crew_nb.serve.router` makes routes for it.
        host: The address to listen on; only this machine reaches the default.
        port: The port; 0 takes a free one, which `server.url` names.

    Raises:
        OSError: When the port is taken.
        CrewNbError: When the app's start fails.
    """
    return Server(app, host, port)
