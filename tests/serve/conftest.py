"""A router in a real server on loopback, asked by real HTTP clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI

from crew_nb import serve
from tests.support import crews
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from crewai import Crew

    from tests.support.server import Server


class Site:
    """An app with a router under /research and an endpoint of its own."""

    def __init__(self, crew: Any, **options: Any) -> None:
        app = FastAPI()
        app.include_router(serve.router(crew, **options), prefix="/research")

        @app.get("/ping")
        async def ping() -> str:
            return "pong"

        self.app = app
        self.server = serve.start(app)
        self.url = self.server.url
        self.research = f"{self.url}/research"


@pytest.fixture
def build(server: Server) -> Callable[..., Crew]:
    """A factory with a typed signature, whose crews ask the loopback LLM."""
    model = llm(server)

    def build_research_crew(topic: str, depth: int = 1) -> Crew:
        return crews.one(model)

    return build_research_crew


@pytest.fixture
def site(build: Callable[..., Crew]) -> Iterator[Callable[..., Site]]:
    """Makes sites, and stops them after the test."""
    made: list[Site] = []

    def make(crew: Any = None, **options: Any) -> Site:
        made.append(Site(crew if crew is not None else build, **options))
        return made[-1]

    yield make
    for one in made:
        one.server.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client without a proxy."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as made:
        yield made


def topics(*names: str) -> dict[str, Any]:
    """The body that asks for them."""
    return {"inputs": [{"topic": name} for name in names]}
