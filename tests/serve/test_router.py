"""`crew_nb.serve.router` over real HTTP: joined results, batches in the background, limits, and a real stop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from fastapi import APIRouter, FastAPI

from crew_nb import BlueprintError, OptionError, serve
from tests.serve.conftest import topics
from tests.support import crews
from tests.support.server import ROOT, llm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from crewai import Crew

    from tests.serve.conftest import Site
    from tests.support.server import Server

    Make = Callable[..., Site]


async def test_results_are_joined_in_the_order_of_the_inputs(site: Make, client: httpx.AsyncClient, server: Server):
    """POST to the root answers with one result per input, in order, with text and tokens."""
    server.configure(topics={"topic=a": {"latency": 0.2}})
    answer = await client.post(site().research, json=topics("a", "b", "c"))
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [r["inputs"] for r in results] == [{"topic": "a"}, {"topic": "b"}, {"topic": "c"}]
    assert [r["status"] for r in results] == ["done"] * 3
    assert all(r["raw"] and r["error"] is None and r["usage"]["successful_requests"] == 1 for r in results)
    assert server.stats().by_topic == {"a": 1, "b": 1, "c": 1}


async def test_a_failed_run_is_an_error_in_its_place(site: Make, client: httpx.AsyncClient, server: Server):
    """Errors are told per item, by type and message, without a traceback; the others have their text."""
    server.configure(faults=[{"kind": 401, "topic": "topic=bad"}])
    answer = await client.post(site().research, json=topics("good", "bad"))
    good, bad = answer.json()["results"]
    assert (answer.status_code, good["status"], bad["status"], bad["raw"]) == (200, "done", "failed", None)
    assert bad["error"]["type"] == "AuthenticationError"
    assert set(bad["error"]) == {"type", "message"}
    assert "Traceback" not in answer.text


async def test_answers_are_recorded_and_replayed(site: Make, client: httpx.AsyncClient, server: Server, tmp_path: Path):
    """One file for all requests: what was asked once is asked no more, whoever asks it, in the background too."""
    url = site(answers=tmp_path / "demo.jsonl", answers_missing="ask", answers_speed=0).research
    first = (await client.post(url, json=topics("a", "b"))).json()["results"]
    again = (await client.post(url, json=topics("b", "a"))).json()["results"]
    assert [r["raw"] for r in again] == [first[1]["raw"], first[0]["raw"]]
    started = await client.post(f"{url}/batches", json=topics("a"))
    where = f"{url}/batches/{started.json()['id']}"
    async with client.stream("GET", f"{where}/events") as told:
        async for _ in told.aiter_lines():
            pass
    done = (await client.get(where)).json()["results"]
    assert [r["raw"] for r in done] == [first[0]["raw"]]
    assert len(server.stats().requests) == 2
    strict = site(answers=tmp_path / "demo.jsonl", answers_missing="error", answers_speed=0).research
    missed = (await client.post(strict, json=topics("a", "c"))).json()["results"]
    assert [r["status"] for r in missed] == ["done", "failed"]
    assert missed[1]["error"]["type"] == "NotRecordedError"
    assert len(server.stats().requests) == 2


async def test_no_traceback_leaves_in_a_message(site: Make, client: httpx.AsyncClient):
    """Of an error whose message holds a traceback a client gets the last line, and what stood before."""

    def build(topic: str) -> Crew:
        try:
            raise KeyError("inner")
        except KeyError:
            told = traceback.format_exc()
        frames = "".join(traceback.format_stack())
        words = {"whole": told, "after": f"no luck:\n{told}", "quoted": f"no luck: {told!r}", "frames": frames}
        raise RuntimeError(words[topic])

    answer = await client.post(site(build).research, json=topics("whole", "after", "quoted", "frames"))
    said = [result["error"]["message"] for result in answer.json()["results"]]
    assert said == ["KeyError: 'inner'", "no luck: KeyError: 'inner'", "no luck: '", ""]
    assert "test_router.py" not in answer.text


async def test_no_secret_leaves(site: Make, client: httpx.AsyncClient, server: Server):
    """A key in an error's message, or in an answer, is hidden from the client."""
    key = "sk-live-0123456789abcdefghij"
    server.configure(answer=f"The key is {key}.")

    def build(topic: str, api_key: str = key) -> Crew:
        if topic == "raises":
            raise ValueError(f"cannot use {api_key}")
        return crews.one(llm(server))

    made = site(build)
    answer = await client.post(made.research, json=topics("raises", "says"))
    raises, says = answer.json()["results"]
    assert raises["error"] == {"type": "ValueError", "message": "cannot use ***"}
    assert says["raw"] == "The key is ***."
    assert key not in (await client.get(f"{made.url}/openapi.json")).text


async def test_openapi_has_the_factorys_signature(site: Make, client: httpx.AsyncClient):
    """Items are typed from annotations and defaults, and checked before anything runs."""
    made = site()
    schema = (await client.get(f"{made.url}/openapi.json")).json()["components"]["schemas"]["BuildResearchCrewInputs"]
    assert schema["properties"]["topic"] == {"type": "string", "maxLength": 20000, "title": "topic"}
    assert schema["properties"]["depth"] == {"type": "integer", "default": 1, "title": "depth"}
    assert (schema["required"], schema["additionalProperties"]) == (["topic"], False)
    for item in (
        {},
        {"topic": 1},
        {"topic": "a", "depth": "deep"},
        {"topic": "a", "other": 1},
        {"topic": "x" * 20_001},
    ):
        answer = await client.post(made.research, json={"inputs": [item]})
        assert answer.status_code == 422, item
        assert set(answer.json()["detail"][0]) == {"type", "loc", "msg"}


async def test_a_crews_placeholders_are_its_fields(site: Make, client: httpx.AsyncClient, server: Server):
    """A Crew object, and a method without parameters such as `.crew`, are typed by what stands in braces."""
    for crew in (crews.one(llm(server)), lambda: crews.one(llm(server))):
        made = site(crew)
        assert (await client.post(made.research, json={"inputs": [{}]})).status_code == 422
        assert (await client.post(made.research, json=topics("a"))).json()["results"][0]["status"] == "done"


def test_a_parameter_that_cannot_come_in_a_request_is_refused():
    """What no JSON can give is refused when the router is made; with a default it is simply not asked for."""

    def needs(topic: str, model: asyncio.Event) -> Crew: ...

    def has(topic: str, model: asyncio.Event = asyncio.Event()) -> Crew: ...  # noqa: B008

    with pytest.raises(BlueprintError, match="model of needs"):
        serve.router(needs)
    serve.router(has)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_inputs": 10, "max_queued": 9}, "a full request could never run"),
        ({"max_queued": "x"}, "max_queued is 'x'. Write a whole number"),
        ({"max_inputs": True}, "max_inputs is True"),
        ({"max_length": None}, "max_length is None"),
        ({"keep": 0}, "keep is 0. Write a whole number from 1"),
        ({"keep_seconds": "a"}, "keep_seconds=3600"),
        ({"keep_seconds": -1}, "keep_seconds=3600"),
        ({"keep_seconds": float("nan")}, "keep_seconds=3600"),
        ({"show": True}, "a server has no cell"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"time_out": 4}, "Did you mean timeout"),
    ],
)
def test_options_that_cannot_be_meant(build: Callable[..., Crew], options: dict[str, Any], words: str):
    """A wrong option of a router is refused by name, with what to write."""
    with pytest.raises(OptionError, match=words):
        serve.router(build, **options)


def test_options_that_say_what_is_so(build: Callable[..., Crew]):
    """`show=False` is what a router does anyway; batches may be kept for ever."""
    serve.router(build, show=False, keep_seconds=float("inf"))


def test_where_no_server_can_listen():
    """A port, a host or an app that cannot be meant is refused before a socket is opened."""
    for wrong, words in [
        ({"port": 99_999}, "from 0, which takes a free one, to 65535"),
        ({"port": -1}, "port is -1"),
        ({"port": "80"}, "port is '80'"),
        ({"host": None}, 'host="127.0.0.1"'),
        ({"app": "module:app"}, "Give the FastAPI app itself"),
    ]:
        with pytest.raises(OptionError, match=words):
            serve.start(**{"app": FastAPI(), **wrong})


async def test_all_requests_share_the_limit(site: Make, client: httpx.AsyncClient, server: Server):
    """However many requests come at once, the LLM sees the router's `max_concurrency` in flight, and no more."""
    server.configure(latency=0.1)
    made = site(max_concurrency=5)
    answers = await asyncio.gather(*(client.post(made.research, json=topics(f"{n}a", f"{n}b")) for n in range(10)))
    assert {r["status"] for a in answers for r in a.json()["results"]} == {"done"}
    assert server.stats().peak == 5


async def test_a_full_queue_says_when_to_come_again(site: Make, client: httpx.AsyncClient, server: Server):
    """A request beyond `max_queued` gets 429 with Retry-After; when the queue is free again it is taken."""
    server.configure(hold=True)
    made = site(max_inputs=2, max_queued=3)
    first = asyncio.ensure_future(client.post(made.research, json=topics("a", "b")))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
    refused = await client.post(made.research, json=topics("c", "d"))
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True)
    server.configure(hold=False)
    assert (await first).status_code == 200
    assert (await client.post(made.research, json=topics("c", "d"))).status_code == 200


async def test_large_requests_are_refused(site: Make, client: httpx.AsyncClient, server: Server):
    """Too many inputs are 422, too many bytes 413, with or without a Content-Length."""
    made = site(max_inputs=3, max_queued=3, max_body=1_000)
    assert (await client.post(made.research, json=topics(*"abcd"))).status_code == 422
    assert (await client.post(made.research, json=topics("x" * 2_000))).status_code == 413

    async def pieces():
        for _ in range(20):
            yield b" " * 100

    headers = {"content-type": "application/json"}
    assert (await client.post(made.research, content=pieces(), headers=headers)).status_code == 413
    assert server.stats().requests == []


@pytest.mark.parametrize(
    "body",
    ['{"inputs": [{"topic": NaN}]}', '{"inputs": [{"depth": 1e999}]}', '{"inputs": [{"topic": "\\ud800"}]}', "{"],
)
async def test_odd_json_is_the_clients_fault(site: Make, client: httpx.AsyncClient, body: str):
    """What no answer could echo is refused, and the refusal can be sent."""
    answer = await client.post(site().research, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


async def test_a_client_that_goes_away_stops_its_runs(site: Make, server: Server):
    """When the connection is cut no request to the LLM stays open, and no other one starts."""
    server.configure(hold=True)
    made = site(max_concurrency=2)
    where = urlsplit(made.url)
    body = json.dumps(topics("a", "b", "c")).encode()
    head = (
        f"POST /research HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.sendall(head.encode() + body)
        await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
    stats = await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)
    assert sorted(stats.by_topic) == ["a", "b"]
    assert all(r.disconnected for r in stats.requests)


async def test_a_batch_in_the_background(site: Make, client: httpx.AsyncClient, server: Server):
    """POST to /batches answers at once with an id, under which the batch is found until it is too old."""
    server.configure(hold=True)
    made = site()
    started = await client.post(f"{made.research}/batches", json=topics("a", "b"))
    assert started.status_code == 202
    url = f"{made.research}/batches/{started.json()['id']}"
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
    now = (await client.get(url)).json()
    assert [r["status"] for r in now["results"]] == ["running"] * 2
    server.configure(hold=False)
    await _until(client, url, "done")
    assert (await client.get(f"{made.research}/batches/other")).status_code == 404


async def test_only_so_many_finished_batches_are_kept(site: Make, client: httpx.AsyncClient):
    """The oldest of more than `keep` finished batches is forgotten; so is one older than `keep_seconds`."""
    few, brief = site(keep=1), site(keep_seconds=0.0)
    urls = []
    for name in "ab":
        started = await client.post(f"{few.research}/batches", json=topics(name))
        urls.append(f"{few.research}/batches/{started.json()['id']}")
        await _until(client, urls[-1], "done")
    assert [(await client.get(url)).status_code for url in urls] == [404, 200]
    started = await client.post(f"{brief.research}/batches", json=topics("a"))
    url = f"{brief.research}/batches/{started.json()['id']}"
    async with asyncio.timeout(60):
        while (await client.get(url)).status_code == 200:
            await asyncio.sleep(0.01)


async def test_delete_cancels(site: Make, client: httpx.AsyncClient, server: Server):
    """DELETE ends what runs; what was finished stays."""
    server.configure(topics={"topic=slow": {"hold": True}})
    made = site()
    started = await client.post(f"{made.research}/batches", json=topics("fast", "slow"))
    url = f"{made.research}/batches/{started.json()['id']}"
    async with asyncio.timeout(60):
        while (await client.get(url)).json()["results"][0]["status"] != "done":
            await asyncio.sleep(0.01)
    assert (await client.delete(url)).status_code == 200
    await _until(client, url, "cancelled")
    fast, slow = (await client.get(url)).json()["results"]
    assert (fast["status"], slow["status"], slow["error"]["type"]) == ("done", "cancelled", "RunCancelledError")
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)


async def test_events_are_live(site: Make, client: httpx.AsyncClient, server: Server):
    """A listener hears of runs, tasks, streamed text and results while they happen, and of the end."""
    server.configure(topics={"topic=b": {"hold": True}}, tokens=40, tokens_per_second=200)
    made = site()
    started = await client.post(f"{made.research}/batches", json=topics("a", "b"))
    heard: list[tuple[str, Any]] = []
    async with client.stream("GET", f"{made.research}/batches/{started.json()['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                heard.append((name, json.loads(line[6:])))
                if name == "result" and len([n for n, _ in heard if n == "result"]) == 1:
                    assert heard[-1][1]["run"] == 0
                    server.configure(topics={})
                    server.release()
    assert heard[-1] == ("end", {"status": "done"})
    results = {data["run"]: data for name, data in heard if name == "result"}
    assert {n: r["status"] for n, r in results.items()} == {0: "done", 1: "done"}
    said = "".join(data["text"] for name, data in heard if name == "text" and data["run"] == 0)
    assert said == results[0]["raw"]
    assert ("run", {"run": 1, "status": "done", "tasks": [{"name": "research", "status": "done"}]}) in heard


async def test_a_router_without_a_prefix(build: Callable[..., Crew], client: httpx.AsyncClient):
    """Any app includes it as it is: POST to `/` then; within a router that has a prefix, or is mounted, to that."""
    bare, sub, outer = FastAPI(), FastAPI(), APIRouter()
    bare.include_router(serve.router(build))
    outer.include_router(serve.router(build))
    bare.include_router(outer, prefix="/outer")
    sub.include_router(serve.router(build))
    bare.mount("/sub", sub)
    assert {"/", "/batches/{id}", "/outer", "/outer/batches/{id}"} <= set(bare.openapi()["paths"])
    running = await asyncio.to_thread(serve.start, bare)
    for path in ("/", "/outer", "/sub/"):
        answer = await client.post(f"{running.url}{path}", json=topics("a"))
        assert (answer.status_code, answer.json()["results"][0]["status"]) == (200, "done"), path
    await asyncio.to_thread(running.stop)


async def test_two_routers_in_one_app(build: Callable[..., Crew], server: Server):
    """Routers of crews whose functions have the same name live in one app, each with its own fields."""

    def build_research_crew(subject: str) -> Crew:
        return crews.one(llm(server))

    app = FastAPI()
    app.include_router(serve.router(build), prefix="/one")
    app.include_router(serve.router(build_research_crew), prefix="/two")
    schemas = app.openapi()["components"]["schemas"]
    fields = [set(s["properties"]) for s in schemas.values() if s.get("title") == "BuildResearchCrewInputs"]
    assert sorted(map(sorted, fields)) == [["depth", "topic"], ["subject"]]


async def test_a_server_that_stops_stops_its_runs(site: Make, client: httpx.AsyncClient, server: Server):
    """`stop()` cancels background batches, and nothing listens afterwards."""
    server.configure(hold=True)
    made = site()
    await client.post(f"{made.research}/batches", json=topics("a", "b"))
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 2)
    await asyncio.to_thread(made.server.stop)
    await asyncio.to_thread(server.wait_for, lambda s: s.in_flight == 0)
    where = urlsplit(made.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.hostname, where.port))


def test_a_server_ends_with_its_process(server: Server):
    """A process that comes to its end does not hang on a server that was never stopped."""
    code = "from fastapi import FastAPI\nfrom crew_nb import serve\nprint(serve.start(FastAPI()).url)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("http://127.0.0.1:")


async def test_the_classic_endpoint(client: httpx.AsyncClient, server: Server, monkeypatch: pytest.MonkeyPatch):
    """POST /research with topics gives a text per topic; a crew that fails says so in its place."""
    monkeypatch.setitem(os.environ, "OPENAI_BASE_URL", server.base_url)
    monkeypatch.setitem(os.environ, "OPENAI_API_KEY", "test-key")
    server.configure(faults=[{"kind": 401, "topic": "topic=bad"}])
    from tests.serve.app_research import app

    running = await asyncio.to_thread(serve.start, app)
    answer = await client.post(f"{running.url}/research", json={"topics": ["AI", "bad", "ML"]})
    await asyncio.to_thread(running.stop)
    results = answer.json()["results"]
    assert list(results) == ["AI", "bad", "ML"]
    assert results["bad"].startswith("failed: ")
    assert server.stats().by_topic == {"AI": 1, "bad": 1, "ML": 1}


async def _until(client: httpx.AsyncClient, url: str, status: str) -> None:
    async with asyncio.timeout(60):
        while (await client.get(url)).json()["status"] != status:
            await asyncio.sleep(0.01)
