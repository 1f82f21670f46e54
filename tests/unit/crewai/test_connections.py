"""The pool of HTTP connections as the engine's loop uses it: what httpcore's own does, in fewer looks."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
import pytest
from crewai import LLM, Crew
from httpcore._async import http11

import crew_nb as cnb
from crew_nb._crewai import connections as _connections
from crew_nb._engine import calls as _calls
from crew_nb._engine.engine import engine
from crew_nb._state import attempt as _attempt
from crew_nb._state.attempt import Attempt
from tests.conformance.paths import OpenGate
from tests.support import crews
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from tests.support.server import Server


@pytest.fixture(autouse=True)
def _installed() -> None:
    _connections.install(engine.here)


@pytest.fixture
def in_a_run() -> contextvars.Context:
    context = contextvars.copy_context()
    context.run(_attempt.current.set, Attempt(0, lambda event: None, OpenGate()))  # type: ignore[arg-type]
    return context


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Every time that a connection is asked whether it is still open."""
    asked: list[object] = []
    own = http11.AsyncHTTP11Connection.has_expired

    def has_expired(self: http11.AsyncHTTP11Connection) -> bool:
        asked.append(self)
        return own(self)

    monkeypatch.setattr(http11.AsyncHTTP11Connection, "has_expired", has_expired)
    return asked


def on_engine(work: Coroutine[Any, Any, Any]) -> Any:
    """The outcome of a coroutine on the engine's loop."""
    return engine.submit(work).result(60)


def client(**limits: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(limits=httpx.Limits(**limits), trust_env=False, timeout=60)


def pool_of(http: httpx.AsyncClient) -> Any:
    return http._transport._pool  # type: ignore[attr-defined]


async def ask(http: httpx.AsyncClient, server: Server, count: int) -> list[int]:
    body = {"model": "m", "messages": [{"role": "user", "content": "topic=T"}]}
    url = f"{server.base_url}/chat/completions"
    return [r.status_code for r in await asyncio.gather(*(http.post(url, json=body) for _ in range(count)))]


def test_httpcore_is_the_one_that_is_known() -> None:
    """A new httpcore is looked at by a person before its pool is touched; until then it keeps its own search."""
    assert httpcore.__version__.startswith(_connections.CHECKED)
    source = inspect.getsource(inspect.unwrap(httpcore.AsyncConnectionPool._assign_requests_to_connections))
    made = inspect.getsource(httpcore.AsyncConnectionPool.__init__)
    assert all(name in source or f"self.{name}" in made for name in _connections.NAMES.split())


def test_connections_are_used_again_and_no_more_kept_than_allowed(server: Server) -> None:
    """One after another need one connection; of 30 at once, five are kept."""

    async def work() -> tuple[int, list[int], int]:
        async with client(max_keepalive_connections=5) as http:
            for _ in range(3):
                await ask(http, server, 1)
            alone = len(pool_of(http).connections)
            found = await ask(http, server, 30)
            return alone, found, len(pool_of(http).connections)

    assert on_engine(work()) == (1, [200] * 30, 5)


def test_no_more_are_opened_than_allowed(server: Server) -> None:
    """60 requests over 7 connections: all are answered, and the server never saw an eighth."""
    server.configure(latency=0.02)

    async def work() -> list[int]:
        async with client(max_connections=7) as http:
            return await ask(http, server, 60)

    assert on_engine(work()) == [200] * 60
    assert server.stats().peak == 7


def test_idle_connections_make_room_for_another_origin(server: Server) -> None:
    """Where all connections are idle at one host, a request to another takes the place of one."""

    async def work() -> list[int]:
        async with client(max_connections=2) as http:
            found = await ask(http, server, 2)
            url = server.base_url.replace("127.0.0.1", "localhost") + "/nothing"
            return [*found, (await http.get(url)).status_code]

    assert on_engine(work()) == [200, 200, 404]


def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    """The server hangs up after each answer without a word; the next request goes over a new connection."""

    async def work() -> list[str]:
        closed = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with await asyncio.start_server(answer, "127.0.0.1") as listening, client() as http:
            url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
            said = []
            for _ in range(5):
                said.append((await http.get(url)).text)
                await closed.wait()
                closed.clear()
            return said

    assert on_engine(work()) == ["hi"] * 5


def test_what_is_cancelled_gives_its_connection_back(server: Server) -> None:
    """40 requests over 4 connections, cancelled in flight and in the queue: the pool is empty and works on."""
    server.configure(hold=True)

    async def work() -> list[int]:
        async with client(max_connections=4) as http:
            asking = asyncio.ensure_future(ask(http, server, 40))
            while sum(r.is_queued() for r in pool_of(http)._requests) < 36:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.wait([asking])
            server.configure(hold=False)
            return await ask(http, server, 8)

    assert on_engine(work()) == [200] * 8


def test_few_looks_are_needed(server: Server, looks: list[object]) -> None:
    """64 requests over 64 idle connections: each is asked once before it is used; httpcore asks thousands of times."""

    async def work() -> int:
        async with client() as http:
            await ask(http, server, 64)
            looks.clear()
            await ask(http, server, 64)
            return len(looks)

    assert on_engine(work()) <= 64 * 3
    ours = len(looks)
    asyncio.run(work())
    assert len(looks) > 4 * ours


def test_other_loops_keep_httpcores_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user's own code does with httpx is left alone."""
    monkeypatch.setattr(_connections, "_assign", lambda *_, **__: pytest.fail("it was the engine's"))

    async def work() -> list[int]:
        async with client() as http:
            return await ask(http, server, 3)

    assert asyncio.run(work()) == [200] * 3


def test_no_limit_of_an_sdk_closes_what_is_used_again(server: Server) -> None:
    """The SDKs keep 100 connections by default; of 130 that were in flight, all are there for the next 130."""

    async def work() -> int:
        async with client(max_connections=1000, max_keepalive_connections=100) as http:
            await ask(http, server, 130)
            return len(pool_of(http).connections)

    assert on_engine(work()) == 130


def _llm(**more: Any) -> Any:
    return LLM(**{"model": "openai/gpt-4o-mini", "api_key": "test-key", "base_url": "http://127.0.0.1:9/v1", **more})


def test_llms_that_factories_make_alike_share_a_client(server: Server) -> None:
    """Eight crews of a factory ask over one client; another key, header or base URL gets another."""
    made: list[Any] = []

    def build(key: str) -> Crew:
        made.append(llm(server, api_key=key))
        return crews.one(made[-1])

    keys = ["key-one"] * 6 + ["key-two"] * 2
    rows = [{"topic": f"T{n}", "key": key} for n, key in enumerate(keys)]
    results = cnb.kickoff_for_each(build, rows, show=False).wait(60)
    assert [r.status for r in results] == ["done"] * 8
    clients = {(id(each._get_sync_client()), id(each._async_client)) for each in made}
    assert len(clients) == 2
    assert len(server.stats().requests) == 8


def test_the_users_own_llms_keep_their_clients(in_a_run: contextvars.Context) -> None:
    """Outside of runs none is shared, and within them none that is made of other numbers."""
    _connections.share_clients(_calls.applies, engine.here)
    assert in_a_run.run(_llm)._client is in_a_run.run(_llm)._client
    assert _llm()._client is not _llm()._client
    assert in_a_run.run(lambda: _llm(timeout=3)._client) is not in_a_run.run(lambda: _llm(timeout=4)._client)


def test_an_llm_that_is_asked_on_another_loop_has_a_client_of_its_own(in_a_run: contextvars.Context) -> None:
    """Connections belong to the loop that opened them: a tool's own loop gets others than the runs have."""
    _connections.share_clients(_calls.applies, engine.here)
    first, second = in_a_run.run(_llm), in_a_run.run(_llm)

    async def get(model: Any) -> Any:
        return model._get_async_client()

    assert on_engine(get(first)) is on_engine(get(second))
    assert asyncio.run(get(second)) is not on_engine(get(first))
