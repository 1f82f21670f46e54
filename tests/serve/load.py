"""What the router bears: `python -m tests.serve.load` posts at once and prints times; measures, asserts nothing."""

from __future__ import annotations

import asyncio
import http.client
import select
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from typing import TYPE_CHECKING

import httpx
import psutil

from tests.support.quiet import be_quiet
from tests.support.server import Server

if TYPE_CHECKING:
    from crewai import Crew

POSTS, TOPICS, SECONDS, LIMIT = 64, 4, 0.5, 64


async def measure(url: str, limit: int, serving: psutil.Process) -> None:
    """Post all at once, and ask another endpoint meanwhile."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:

        async def post(n: int) -> float:
            began = time.perf_counter()
            body = {"inputs": [{"topic": f"t{n}-{m}"} for m in range(TOPICS)]}
            answer = await client.post(f"{url}/research", json=body)
            assert {r["status"] for r in answer.json()["results"]} == {"done"}
            return time.perf_counter() - began

        await post(-1)
        command = [sys.executable, "-m", "tests.serve.load", "ping", url]
        # A process of its own: a client that is busy with the posts would measure itself.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pinging:  # noqa: ASYNC220
            assert pinging.stdin is not None
            assert pinging.stdout is not None
            pinging.stdout.readline()
            used = sum(serving.cpu_times()[:2])
            times = sorted(await asyncio.gather(*(post(n) for n in range(POSTS))))
            used = sum(serving.cpu_times()[:2]) - used
            pinging.stdin.close()
            pings = sorted(float(line) for line in pinging.stdout)
    ideal = POSTS * TOPICS * SECONDS / limit
    print(
        f"limit {limit}: p50 {statistics.median(times):.2f} s, p95 {times[int(0.95 * POSTS)]:.2f} s, "
        f"ideal {ideal:.2f} s; "
        f"ping p50 {1e3 * statistics.median(pings):.0f} ms, p99 {1e3 * pings[int(0.99 * len(pings))]:.0f} ms, "
        f"max {1e3 * pings[-1]:.0f} ms of {len(pings)}; CPU of the server {1e3 * used / (POSTS * TOPICS):.1f} ms a run"
    )


def ping(url: str) -> None:
    """Ask the other endpoint 50 times a second until stdin ends, then print what each answer took, in seconds."""
    place = urllib.parse.urlsplit(url)
    client = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    took = []
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        began = time.perf_counter()
        client.request("GET", "/ping")
        client.getresponse().read()
        took.append(time.perf_counter() - began)
    client.close()
    print(*took, sep="\n")


def site(base_url: str, limit: int) -> None:
    """The process that serves: its clients must not share its interpreter."""
    from crewai import LLM
    from fastapi import FastAPI

    from crew_nb import serve
    from tests.support import crews

    model = LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key="test-key")

    def build(topic: str) -> Crew:
        return crews.one(model)

    app = FastAPI()
    app.include_router(serve.router(build, max_concurrency=limit), prefix="/research")

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    with serve.start(app) as running:
        print(running.url, flush=True)
        sys.stdin.read()


def main() -> None:
    """Measure two limits."""
    with tempfile.TemporaryDirectory() as home, Server() as server:
        be_quiet(home)
        for limit in (LIMIT, POSTS * TOPICS):
            server.configure(latency=SECONDS)
            command = [sys.executable, "-m", "tests.serve.load", server.base_url, str(limit)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as serving:
                assert serving.stdin is not None
                assert serving.stdout is not None
                asyncio.run(measure(serving.stdout.readline().strip(), limit, psutil.Process(serving.pid)))
                serving.stdin.close()
            print(f"the LLM saw at most {server.stats().peak} in flight")
            server.reset()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["ping", url]:
            ping(url)
        case [base_url, limit]:
            site(base_url, int(limit))
