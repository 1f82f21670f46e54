"""A server that stops ends what its clients have begun, and tells those who still listen."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from crew_nb import serve
from tests.serve.conftest import topics
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx
    import pytest
    from crewai import Crew

    from tests.serve.conftest import Site
    from tests.support.server import Server

    Make = Callable[..., Site]


async def events(lines: AsyncIterator[str]) -> list[tuple[str, Any]]:
    """What a listener is told until the stream ends."""
    heard: list[tuple[str, Any]] = []
    name = ""
    async for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            heard.append((name, json.loads(line[6:])))
    return heard


def assert_told(heard: list[tuple[str, Any]]) -> None:
    """The listener knows of the stopped runs, and that nothing more comes."""
    assert heard[-1] == ("end", {"status": "cancelled"})
    assert [data["status"] for name, data in heard if name == "result"] == ["cancelled"] * 2


async def test_open_requests_are_answered(
    site: Make, client: httpx.AsyncClient, server: Server, capsys: pytest.CaptureFixture[str]
):
    """At `stop()` a POST gets its results, with what was finished, and a listener the last events and the end."""
    server.configure(topics={"topic=slow": {"hold": True}})
    made = site()
    started = await client.post(f"{made.research}/batches", json=topics("slow", "slow"))
    url = f"{made.research}/batches/{started.json()['id']}/events"
    async with client.stream("GET", url) as stream:
        listening = asyncio.ensure_future(events(stream.aiter_lines()))
        posted = asyncio.ensure_future(client.post(made.research, json=topics("fast", "slow")))
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 3 and len(s.requests) == 4)
        await asyncio.to_thread(made.server.stop)
        assert_told(await listening)
    answer = await posted
    assert answer.status_code == 200
    fast, slow = answer.json()["results"]
    assert (fast["status"], slow["status"], slow["error"]["type"]) == ("done", "cancelled", "RunCancelledError")
    assert capsys.readouterr().err == ""


async def test_who_comes_while_the_server_stops_is_sent_away(site: Make, client: httpx.AsyncClient, server: Server):
    """A request that is still being sent when the server stops starts nothing: 503, and when to come again."""
    made = site()
    body = json.dumps(topics("late")).encode()
    sent, arrives = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:5]
        sent.set()
        await arrives.wait()
        yield body[5:]

    headers = {"content-type": "application/json"}
    posted = asyncio.ensure_future(client.post(made.research, content=pieces(), headers=headers))
    await sent.wait()
    assert (await client.get(f"{made.url}/ping")).status_code == 200  # the server has seen the one before
    stopping = asyncio.ensure_future(asyncio.to_thread(made.server.stop))
    async with asyncio.timeout(10):
        while _listens(made):
            await asyncio.sleep(0.01)
    arrives.set()
    answer = await posted
    assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
    await stopping
    assert server.stats().requests == []


async def test_mounted_apps_are_stopped_too(build: Callable[..., Crew], client: httpx.AsyncClient, server: Server):
    """Starlette tells no mounted app that the server stops; the runs of a router in it are ended all the same."""
    server.configure(hold=True)
    app, sub = FastAPI(), FastAPI()
    sub.include_router(serve.router(build), prefix="/research")
    app.mount("/sub", sub)
    running = await asyncio.to_thread(serve.start, app)
    await client.post(f"{running.url}/sub/research/batches", json=topics("a", "b"))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
    await asyncio.to_thread(running.stop)
    stats = await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)
    assert all(r.disconnected for r in stats.requests)


async def test_a_server_stops_its_own_runs_only(site: Make, client: httpx.AsyncClient, server: Server):
    """Of two servers of one app the one that stops leaves the other's runs alone."""
    server.configure(hold=True)
    made = site()
    other = await asyncio.to_thread(serve.start, made.app)
    posted = asyncio.ensure_future(client.post(f"{other.url}/research", json=topics("theirs")))
    await client.post(f"{made.research}/batches", json=topics("ours"))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
    await asyncio.to_thread(made.server.stop)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 1)
    server.configure(hold=False)
    assert (await posted).json()["results"][0]["status"] == "done"
    await asyncio.to_thread(other.stop)


async def test_uvicorn_tells_listeners_of_its_end(client: httpx.AsyncClient, server: Server):
    """Under uvicorn itself, told to exit by a signal, a listener hears of the stopped runs and of the end, too."""
    server.configure(hold=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tests.serve.app_routes:app", "--port", str(port)]
    environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "test-key"}
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as running:  # noqa: ASYNC220
        async with asyncio.timeout(60):
            while not _answers(port):
                await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{port}/research/batches"
        started = await client.post(base, json=topics("a", "b"))
        async with client.stream("GET", f"{base}/{started.json()['id']}/events") as stream:
            await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
            running.send_signal(signal.SIGTERM)
            assert_told(await events(stream.aiter_lines()))
        errors = await asyncio.to_thread(running.communicate, timeout=30)
    assert errors[1] == ""


def _listens(made: Site) -> bool:
    host, port = made.url.removeprefix("http://").split(":")
    return _answers(int(port), host)


def _answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True
