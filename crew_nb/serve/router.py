"""The routes of a crew, to be included in any app."""

from typing import TYPE_CHECKING, Annotated, Any, Unpack

from fastapi import APIRouter, Request, Response
from pydantic import Field, create_model
from sse_starlette import EventSourceResponse

from crew_nb._crewai import startable as _startable
from crew_nb._state.errors import OptionError
from crew_nb._state.options import RunOptions, check_whole
from crew_nb._state.options import options as checked_options
from crew_nb.serve.answers import (
    BatchResults,
    BatchStarted,
    BatchStatus,
    Problem,
    events,
    results,
    status_of,
    until_exit,
)
from crew_nb.serve.desk import Desk, join_or_stop
from crew_nb.serve.requests import Route, as_json, item_model

if TYPE_CHECKING:
    from crew_nb._crewai.startable import CrewLike

RUN_SECONDS = 300.0
"""`timeout` of a run where the router is given none: a server must not hold a hung run for ever."""


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
        check_whole(name, value, 1)
    if max_queued < max_inputs:
        raise OptionError(f"max_queued={max_queued} is below max_inputs={max_inputs}: a full request could never run.")
    if isinstance(keep_seconds, bool) or not isinstance(keep_seconds, int | float) or not keep_seconds >= 0:
        raise OptionError(f"keep_seconds is {keep_seconds!r}. Write seconds, such as keep_seconds=3600.")
    given: dict[str, Any] = {"timeout": RUN_SECONDS, "show": False, **options}
    if given["show"]:
        raise OptionError(f"show is {given['show']!r}, but a server has no cell to show a board in. Leave it out.")
    chosen = checked_options(**given)
    crew = _startable.startable(crew)
    desk = Desk(crew, chosen, max_queued=max_queued, keep=keep, keep_seconds=keep_seconds)
    item = item_model(crew, max_length)
    body_model = create_model(
        f"{item.__name__}List",
        __doc__="One dict per run.",
        inputs=(Annotated[list[item], Field(min_length=1, max_length=max_inputs)], ...),  # type: ignore[valid-type]
    )

    class Bounded(Route):
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
        await join_or_stop(order.batch, request)
        return as_json({"results": results(order)})

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
        return as_json({"id": desk.keep_order(order)}, 202)

    @routes.get("/batches/{id}", response_model=BatchStatus, responses=unknown, summary="How a batch stands")
    async def batch_status(id: str) -> Response:  # noqa: A002 - the path's name
        """Its status, and every run's as far as it is."""
        return as_json(status_of(id, desk.find(id)))

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
        return EventSourceResponse(events(order), ping=15, send_timeout=30, **until_exit(order.batch))

    @routes.delete("/batches/{id}", response_model=BatchStatus, responses=unknown, summary="Cancel a batch")
    async def cancel_batch(id: str) -> Response:  # noqa: A002
        """How it stands; its runs end within 2 seconds, and what was finished stays."""
        order = desk.find(id)
        order.batch.cancel()
        return as_json(status_of(id, order))

    return routes


class _Root(str):
    """The path of a router's root: its prefix, and `/` where it has none; FastAPI puts `prefix + path` together."""

    def __radd__(self, prefix: str) -> str:
        return prefix or self
