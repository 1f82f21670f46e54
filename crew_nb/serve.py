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
import re
import secrets
import socket
import threading
import time
import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PydanticUserError,
    TypeAdapter,
    create_model,
    model_validator,
)
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError
from sse_starlette import EventSourceResponse

from crew_nb import _blueprint, _codec
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
"""Within these every run of a server that stops has ended."""
ANSWER_SECONDS = 1.0
"""How much longer a server that stops gives open requests to tell of it."""
_WORK = "crew_nb.work"
"""The key in an ASGI scope under which our server says what it has begun."""


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
    """Routes that run a crew, mostly under a prefix: `app.include_router(router(build_crew), prefix="/research")`.

    POST to the prefix (to `/` without one) runs `{"inputs": [{...}, ...]}` and answers with the joined results. POST to
    `/batches` starts in the background; `/batches/{id}` tells how it stands, `/batches/{id}/events` tells it live,
    DELETE cancels it.

    Args:
        crew: A `Crew`, or a function that returns one; its parameters and its crew's placeholders are the fields of an
            input. A function that needs no arguments is called once, to learn the placeholders of its crew; of another
            one those are known that stand in its own code.
        max_inputs: Inputs in one request.
        max_body: Bytes of one request's body.
        max_length: Characters of one text in an input, wherever it stands in it.
        max_queued: Runs of all requests that are not final; a request that would exceed it gets 429 with Retry-After.
        keep: Finished background batches that are kept.
        keep_seconds: How long a finished background batch is kept.
        **options: As for `kickoff_for_each`. `timeout` is 300 where none is given; `max_concurrency` holds for all
            requests together.

    Raises:
        BlueprintError: When the crew cannot be run, or a parameter of the function cannot come in a request.
        OptionError: When an option or a limit has a value that cannot be meant.
    """
    limits = {"max_inputs": max_inputs, "max_body": max_body, "max_length": max_length, "max_queued": max_queued}
    for name, value in {**limits, "keep": keep}.items():
        _check_whole(name, value, 1)
    if max_queued < max_inputs:
        raise OptionError(f"max_queued={max_queued} is below max_inputs={max_inputs}: a full request could never run.")
    if isinstance(keep_seconds, bool) or not isinstance(keep_seconds, int | float) or not keep_seconds >= 0:
        raise OptionError(f"keep_seconds is {keep_seconds!r}. Write seconds, such as keep_seconds=3600.")
    given: dict[str, Any] = {"timeout": RUN_SECONDS, "show": False, **options}
    if given["show"]:
        raise OptionError(f"show is {given['show']!r}, but a server has no cell to show a board in. Leave it out.")
    chosen = checked_options(**given)
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
        503: {"model": Problem, "description": "The server is stopping; come again after Retry-After seconds"},
    }
    unknown: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such batch"}}

    @routes.post(
        _Root("/"),
        response_model=BatchResults,
        responses=refusals,
        summary="Run the crew over inputs and join",
    )
    async def run(body: body_model, request: Request) -> Response:  # type: ignore[valid-type]
        """The results, in the order of the inputs. A client that goes away stops its runs."""
        order = await desk.accept(body.inputs, request)  # type: ignore[attr-defined]
        await _join_or_stop(order.batch, request)
        return _json({"results": _results(order)})

    @routes.post(
        "/batches",
        response_model=BatchStarted,
        status_code=202,
        responses=refusals,
        summary="Start in the background",
    )
    async def start_batch(body: body_model, request: Request) -> Response:  # type: ignore[valid-type]
        """The batch's id, at once."""
        order = await desk.accept(body.inputs, request, background=True)  # type: ignore[attr-defined]
        return _json({"id": desk.keep_order(order)}, 202)

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
        order = desk.find(id)
        return EventSourceResponse(_events(order), ping=15, send_timeout=30, **_until_exit(order.batch))

    @routes.delete("/batches/{id}", response_model=BatchStatus, responses=unknown, summary="Cancel a batch")
    async def cancel_batch(id: str) -> Response:  # noqa: A002
        """How it stands; its runs end within 2 seconds, and what was finished stays."""
        order = desk.find(id)
        order.batch.cancel()
        return _json(_status(id, order))

    return routes


def _check_whole(name: str, value: Any, least: int, most: float = math.inf, words: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OptionError(f"{name} is {value!r}. Write a whole number from {least}{words}.")


class _Root(str):
    """The path of a router's root: its prefix, and `/` where it has none; FastAPI puts `prefix + path` together."""

    def __radd__(self, prefix: str) -> str:
        return prefix or self


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
    """The model of one input: a factory's parameters with their types and defaults, and a crew's placeholders."""
    text = Annotated[str, Field(max_length=max_length)]
    fields: dict[str, tuple[Any, Any]] = {}
    taken: set[str] = set()
    extra: Literal["allow", "forbid"] = "forbid"
    name = "Crew"
    if not _blueprint._is_crew(crew):
        name = getattr(crew, "__name__", type(crew).__name__)
        for parameter in _parameters(crew):
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = "allow"
                continue
            taken.add(parameter.name)
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                kind = _field_type(parameter, crew)
                if kind is not None:
                    fields[parameter.name] = (text if kind is str else kind, parameter.default)
    needs = any(default is inspect.Parameter.empty for _, default in fields.values())
    built = None if needs else _built(crew, or_none=bool(fields) or extra == "allow")
    sure = built is not None and extra == "forbid"  # else other arguments may make another crew
    if built is not None and built.before_kickoff_callbacks:  # they may add inputs, and take any
        sure, extra = False, "allow"
    found = _in_own_words(crew) if built is None else _blueprint.placeholders(built)
    for place in sorted(found - taken):
        fields[place] = (text, inspect.Parameter.empty if sure else None)
    check = _bounds(max_length)
    bounds = BeforeValidator(check)
    # Any name may stand in a prompt; as aliases they are free of what pydantic wants of attributes.
    columns = {
        f"f{n}": (Annotated[kind, bounds], _field(place, kind, default))
        for n, (place, (kind, default)) in enumerate(fields.items())
    }

    class Item(BaseModel):
        model_config = ConfigDict(extra=extra, allow_inf_nan=False)
        __pydantic_extra__: dict[str, Annotated[JsonValue, bounds]]

        @model_validator(mode="before")
        @classmethod
        def check_names(cls, data: Any) -> Any:
            check(list(data) if isinstance(data, Mapping) else None)
            return data

    title = "".join(word[:1].upper() + word[1:] for word in name.replace("<lambda>", "crew").split("_"))
    model: type[BaseModel] = create_model(f"{title}Inputs", __base__=Item, **columns)  # type: ignore[call-overload]
    return model


def _bounds(max_length: int) -> Callable[[Any], Any]:
    """A check of what has come as JSON: how long its texts are, and how deep it goes."""

    def check(value: Any, depth: int = 0) -> Any:
        if isinstance(value, str) and len(value) > max_length:
            raise PydanticKnownError("string_too_long", {"max_length": max_length})
        if isinstance(value, list | dict):
            if depth == _blueprint.DEEPEST:
                raise PydanticCustomError("too_deep", "Input should have at most {most} levels", {"most": depth})
            for part in value if isinstance(value, list) else [*value, *value.values()]:
                check(part, depth + 1)
        return value

    return lambda value: check(value)


def _built(crew: Any, *, or_none: bool) -> Any:
    """A crew whose placeholders are to be learnt.

    Args:
        crew: A Crew, or a function that needs no arguments.
        or_none: Whether one that cannot be had is None; it does not raise then.
    """
    if _blueprint._is_crew(crew):
        return crew
    try:
        return _blueprint._call_factory(crew, None)
    except Exception:  # it needs an argument after all
        if or_none:
            return None
        raise


def _in_own_words(factory: Any) -> set[str]:
    """The names in braces in a function's own code; with arguments to be invented, it is not called for them."""
    function = _function(factory)
    names = getattr(function, "__globals__", {})
    codes = [code] if isinstance(code := getattr(function, "__code__", None), types.CodeType) else []
    texts: list[Any] = []
    for code in codes:  # it grows by the functions inside
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        texts += [constant for constant in code.co_consts if constant != function.__doc__]
        texts += [names.get(name) for name in code.co_names]
    return {name for text in texts if isinstance(text, str) for name in _blueprint._PLACEHOLDER.findall(text)}


def _field(name: str, kind: Any, default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return Field(alias=name, title=name)
    return Field(default=_told(name, kind, default), alias=name, title=name)


def _told(name: str, kind: Any, default: Any) -> Any:
    """A default as JSON for the OpenAPI; None where it has a secret in it, or no form. It is never passed on."""
    try:
        told = TypeAdapter(kind).dump_python(default, mode="json", warnings=False)
        json.dumps(told, allow_nan=False)
    except Exception:  # a user's class may raise anything
        return None
    clean = SCRUBBER.scrub_inputs({name: told}) == {name: told} and "*" * 10 not in str(told)  # a SecretStr's mask
    return told if clean else None


def _function(factory: Any) -> Any:
    """The plain function that a factory is in the end."""
    function = inspect.unwrap(factory)
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004 - an object that is called
    return getattr(function, "__func__", function)


def _parameters(factory: Any) -> Iterator[inspect.Parameter]:
    """The parameters, with annotations that were written as text read one by one: some are for type checkers only."""
    names = getattr(_function(factory), "__globals__", {})
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


def _row(item: Any) -> dict[str, Any]:
    """An input as it was given, each part in the type of its field."""
    fields = type(item).model_fields
    given = {fields[name].alias: getattr(item, name) for name in fields if name in item.model_fields_set}
    return {**given, **(item.model_extra or {})}


def _echo(item: Any, row: dict[str, Any]) -> Any:
    """The same as JSON again, for the answer."""
    try:
        return json.loads(
            item.model_dump_json(by_alias=True, exclude_unset=True, fallback=str, warnings=False)  # inf becomes null
        )
    except Exception:  # bytes that are no text, or whatever a user's class raises
        return _codec.plain(row, SCRUBBER.scrub)


# --- what runs ------------------------------------------------------------------------------------------------------


class _Work:
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


@dataclass(frozen=True, slots=True)
class _Order:
    """What a request has begun."""

    batch: Batch
    inputs: list[Any]
    """As they came, for the answer."""


class _Desk:
    """What one router has accepted: the queue that all its requests share, and the batches in the background."""

    def __init__(self, crew: Any, options: Any, *, max_queued: int, keep: int, keep_seconds: float) -> None:
        self._crew = _blueprint._template(crew)
        self._options = options
        self._max_queued = max_queued
        self._keep = keep
        self._keep_seconds = keep_seconds
        self._slots = Slots(options.concurrency)
        self._work = _Work()
        """Under a server that is not ours."""
        self._active: set[Batch] = set()
        self._kept: dict[str, _Order] = {}
        self._arriving = 0
        self._mean = 1.0
        """Seconds that a run has lately taken."""

    async def accept(self, items: list[Any], request: Request, background: bool = False) -> _Order:
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
        work: _Work = request.scope.get(_WORK, self._work)
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
        rows = [_row(item) for item in items]
        try:
            batch = Batch(_blueprint.plans_for_each(self._crew, rows), options, self._slots)
        except CrewNbError as error:
            raise HTTPException(422, _words(str(error))) from None
        order = _Order(batch, [_echo(item, row) for item, row in zip(items, rows, strict=True)])
        self._active.add(batch)
        work.add(batch)
        batch.start()
        return order

    def keep_order(self, order: _Order) -> str:
        """The id under which the batch is found; it cannot be guessed."""
        key = secrets.token_urlsafe(16)
        self._kept[key] = order
        return key

    def find(self, key: str) -> _Order:
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
        old = time.time() - self._keep_seconds
        for place, key in enumerate(over):
            if len(over) - place > self._keep or max(r.finished or 0.0 for r in self._kept[key].batch.runs) < old:
                del self._kept[key]

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """CrewAI is loaded before the first request; what runs when the server stops is stopped."""
        await asyncio.wrap_future(engine.submit(engine.prepare()))
        work = self._work = _Work()
        try:
            yield
        finally:
            work.stop()
            await work.ended()


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


_TRACE = re.compile(r"[ +|]*(?:Exception Group )?Traceback \(most recent call last\)|\bFile \\?\"[^\"\n]+\", line \d")


def _words(message: str) -> str:
    """An error's message for a client: of a traceback in it the last line only, which says what was raised."""
    trace = _TRACE.search(message)
    if trace is not None:
        last = message.rstrip().rpartition("\n")[2]
        raised = "" if last[:1].isspace() or _TRACE.search(last) else last
        message = f"{message[: trace.start()].rstrip()} {raised}".strip()
    return SCRUBBER.scrub(message)[:MESSAGE_KEPT]


def _result(state: RunState, inputs: Any) -> dict[str, Any]:
    error = state.error
    return {
        "inputs": inputs,
        "status": state.status,
        "raw": SCRUBBER.scrub(state.output) if state.status == "done" else None,
        "error": error and {"type": error.type, "message": _words(error.message)},
        "usage": state.usage.to_dict(),
    }


def _results(order: _Order) -> list[dict[str, Any]]:
    return [_result(run.state, inputs) for run, inputs in zip(order.batch.runs, order.inputs, strict=True)]


def _status(key: str, order: _Order) -> dict[str, Any]:
    batch = order.batch
    return {"id": key, "status": batch.status, "created": batch.created, "results": _results(order)}


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


def _until_exit(batch: Batch) -> dict[str, Any]:
    """Options of a stream for a server that is not ours; without them it would be cut off before its last events."""
    if "shutdown_event" not in inspect.signature(EventSourceResponse).parameters:  # before sse-starlette 3.3
        return {}
    return {"shutdown_event": _Exit(batch), "shutdown_grace_period": STOP_SECONDS + ANSWER_SECONDS}


async def _events(order: _Order) -> AsyncIterator[dict[str, str]]:
    batch = order.batch
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
                    yield _event("result", {"run": index, **_result(state, order.inputs[index])})
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


class _Uvicorn(uvicorn.Server):
    """uvicorn's server that ends first what its open requests wait for, and its connections then."""

    def __init__(self, app: FastAPI) -> None:
        self._work = work = _Work()

        async def with_work(scope: Any, receive: Any, send: Any) -> None:
            scope[_WORK] = work  # mounted apps get the scope, too, but no lifespan (Starlette)
            await app(scope, receive, send)

        seconds = math.ceil(STOP_SECONDS + ANSWER_SECONDS)
        super().__init__(uvicorn.Config(with_work, log_level="warning", timeout_graceful_shutdown=seconds))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when it is to exit."""
        self._work.stop()
        await super().shutdown(sockets)
        await self._work.ended()


class Server:
    """An app that is being served from a thread and loop of its own; `stop()` ends it, and so does the kernel's end."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        if not callable(app):
            raise OptionError(f"app is {app!r}. Give the FastAPI app itself.")
        if not isinstance(host, str):
            raise OptionError(f'host is {host!r}. Write an address, such as host="127.0.0.1".')
        _check_whole("port", port, 0, 65_535, ", which takes a free one, to 65535")
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
        self._uvicorn = _Uvicorn(app)
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
        """Take no more requests, stop all runs, and tell open requests how they ended; returns when it is over."""
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
        OptionError: When the app, the host or the port cannot be meant.
        OSError: When the port is taken.
        CrewNbError: When the app's start fails.
    """
    return Server(app, host, port)
