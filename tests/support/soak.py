"""`make soak`: thousands of runs in all shapes against a server with every fault, stopped and killed at random.

What must hold is asserted, the figures are printed: no run is lost, mixed up, done twice or heard of after its stop,
and memory, descriptors, threads and tasks are back in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tests.support.quiet import be_quiet
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.server import Request, Stats

FAULTS: list[dict[str, Any]] = [
    {"kind": 429, "share": 0.03, "retry_after": 0.05},
    {"kind": "429 in words", "share": 0.02},
    {"kind": 500, "share": 0.02},
    {"kind": 503, "share": 0.02},
    {"kind": "reset", "share": 0.015},
    {"kind": "reset late", "share": 0.015},
    {"kind": "cut", "share": 0.02},
    {"kind": "malformed", "share": 0.015},
    {"kind": "html", "share": 0.015},
    {"kind": "empty", "share": 0.015},
    {"kind": "not utf-8", "share": 0.01},
    {"kind": "broken arguments", "share": 0.02},
    {"kind": "same ids", "share": 0.05},
    {"kind": "slow", "share": 0.01},
    {"kind": "hang", "share": 0.003},
    {"kind": "large", "share": 0.001},
]
FINAL = {"done", "failed", "cancelled"}
TRIES = 5
"""Of a run; each try may ask twice more where CrewAI itself asks again."""


def shapes(url: str) -> dict[str, Callable[..., Any]]:
    """What is run, by name."""
    from crewai import LLM
    from crewai.flow.flow import Flow, listen, start

    from tests.support import crews

    llm = LLM(model="openai/gpt-4o-mini", base_url=url, api_key="test-key")

    class Write(Flow[dict]):  # type: ignore[type-arg]
        @start()
        async def plan(self) -> str:
            return (await crews.one(llm).akickoff({"topic": self.state["topic"]})).raw

        @listen(plan)
        def finish(self, plan: str) -> str:
            return crews.agent(llm, "Editor").kickoff(f"finish topic={self.state['topic']}").raw

    return {
        "one": lambda topic: crews.one(llm),
        "tools": lambda topic: crews.one(llm, tools=[crews.search]),
        "structured": lambda topic: crews.one(llm, output_pydantic=crews.Report),
        "chain": lambda topic: crews.chain(llm, 2),
        "fork and join": lambda topic: crews.fork_join(llm),
        "hierarchical": lambda topic: crews.hierarchical(llm),
        "flow": lambda: Write(),
        "agent": lambda: crews.agent(llm),
    }


def rows_of(shape: str, topics: list[str]) -> list[dict[str, Any]]:
    """The inputs."""
    return [{"messages": f"Write topic={t}"} if shape == "agent" else {"topic": t} for t in topics]


class Soak:
    """All of it, and its figures."""

    def __init__(self, server: Server, runs: int, size: int, seed: int, timeout: float) -> None:
        self.server, self.runs, self.size, self.timeout = server, runs, size, timeout
        self.rng = random.Random(seed)
        self.figures: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.shapes = shapes(server.base_url)

    def go(self) -> None:
        """Batch after batch, each in one shape, streamed or not, left alone or stopped at some moment."""
        began = time.monotonic()
        for shape in self.shapes:  # what each of them loads stays
            self.batch(shape, 8, calm=True)
        assert not self.errors, "the machine is too busy, or nothing works"
        at_rest = resources()
        print(f"at rest: {at_rest}", flush=True)
        number = 0
        while self.figures["runs"] < self.runs:
            number += 1
            self.batch(self.rng.choice(list(self.shapes)), self.size)
            print(f"{time.monotonic() - began:6.0f} s  {dict(self.figures)}  {resources()}", flush=True)
        after = resources()
        print(f"figures: {dict(self.figures)}\nfaults: {dict(self.faults)}\nerrors: {dict(self.errors)}")
        print(f"at rest: {at_rest}\nafter:   {after}")
        assert after["tasks"] <= at_rest["tasks"], "tasks are left"
        assert after["threads"] <= at_rest["threads"] + 34, "threads are left"  # the pool keeps idle ones
        assert after["descriptors"] <= at_rest["descriptors"] + 80, "descriptors are left"  # idle connections are kept
        assert after["MB"] <= at_rest["MB"] * 1.1 + 100, "memory is left"

    def batch(self, shape: str, size: int, *, calm: bool = False) -> None:
        """One batch, watched by the server."""
        import crew_nb as cnb

        factory = self.shapes[shape]
        self.server.reset()
        faults = [] if calm else FAULTS
        self.server.configure(latency=(0.0, 0.03), seed=self.rng.randrange(1_000_000), faults=faults)
        name = f"{self.figures['batches']}"
        topics = [f"S{name}x{n}" for n in range(size)]
        stopped = not calm and self.rng.random() < 0.25
        batch = cnb.kickoff_for_each(
            factory,
            rows_of(shape, topics),
            max_concurrency=64,
            max_retries=TRIES - 1,
            timeout=self.timeout,
            stream=self.rng.random() < 0.5,
            show=False,
            name=f"soak {name}",
        )
        if stopped:
            at = self.rng.randrange(1, size)
            while len(self.server.stats().requests) < at and batch.open_runs:
                time.sleep(0.02)
            batch.cancel()
        results = batch.wait(1_800)
        ended = time.time()
        stats = self.server.wait_for(lambda stats: stats.in_flight == 0)
        time.sleep(0.2 if stopped else 0)
        late = self.server.stats().after(ended)
        assert not late, f"asked after the end: {late[:3]}"
        self._check(shape, topics, results, stats, stopped)
        stored = {row.key: row for row in cnb.runs()}[batch._driver.key]
        assert (stored.runs, stored.missing) == (size, 0), f"not all of {stored}"

    def _check(self, shape: str, topics: list[str], results: Any, stats: Stats, stopped: bool) -> None:
        assert len(results) == len(topics)
        statuses = Counter(r.status for r in results)
        assert set(statuses) <= FINAL - ({"cancelled"} if not stopped else set()), statuses
        for topic, result in zip(topics, results, strict=True):
            if result.status == "done":
                said = f"topic={topic}" in result.raw
                assert said or "topic=" not in result.raw, f"{topic} has another's answer: {result.raw[:200]}"
                self.figures["right"] += said
            elif result.status == "failed":
                self.errors[type(result.error).__name__] += 1
                assert str(result.error)
        mixed = [r for r in stats.requests if r.topics != [r.topic]]
        assert not mixed, f"topics of two runs in one prompt: {mixed[0].topics}"
        most = stats.by_topic.most_common(1)
        assert not most or most[0][1] <= 3 * TRIES * 6, f"asked again and again: {most}"
        self.figures.update(statuses)
        self.figures.update(runs=len(topics), batches=1, requests=len(stats.requests), stopped=stopped)
        self.faults.update(str(r.fault) for r in stats.requests if r.fault)


def resources() -> dict[str, int]:
    """What this process holds, once idle."""
    from crew_nb._engine.engine import engine

    for _ in range(3):
        gc.collect()
    process = psutil.Process()
    end = time.monotonic() + 10
    while (tasks := len(asyncio.all_tasks(engine._loop))) and time.monotonic() < end:
        time.sleep(0.05)
    return {
        "MB": process.memory_info().rss >> 20,
        "descriptors": process.num_fds(),
        "threads": threading.active_count(),
        "tasks": tasks,
    }


# --- processes that are killed ---


def child(url: str, folder: Path, name: str, shape: str, size: int) -> None:
    """Run what is missing of a batch."""
    import crew_nb as cnb

    cnb.set_record(folder / "kept.sqlite")
    topics = [f"{name}x{n}" for n in range(size)]
    batch = cnb.kickoff_for_each(shapes(url)[shape], rows_of(shape, topics), resume=True, max_concurrency=8, show=False)
    results = batch.wait(600)
    assert all(f"topic={t}:" in r.raw for t, r in zip(topics, results, strict=True))


def kills(server: Server, rounds: int, rng: random.Random, size: int = 12) -> None:
    """Kill -9 at random moments, in each shape; what was on disk is not asked again."""
    figures: Counter[str] = Counter()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for n in range(rounds):
        shape = ("chain", "fork and join", "flow", "agent")[n % 4]
        with tempfile.TemporaryDirectory() as home:
            server.reset()
            server.configure(latency=(0.02, 0.15))
            command = [sys.executable, "-W", "ignore", "-m", "tests.support.soak", "--url", server.base_url]
            command += ["--child", home, f"K{n}", shape, str(size)]
            first = subprocess.Popen(command, env=env, cwd=ROOT)
            at = rng.randrange(1, size * 2)
            while len(server.stats().requests) < at and first.poll() is None:
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
            first.wait(60)
            before = server.wait_for(lambda stats: stats.in_flight == 0).requests
            kept = done_in(Path(home) / "kept.sqlite")
            subprocess.run(command, env=env, cwd=ROOT, check=True, timeout=900)
            asked = Counter(r.topic for r in server.stats().requests[len(before) :])
            again = [topic for topic in kept if asked[topic]]
            assert not again, f"asked again, though on disk: {again}"
            figures.update(kills=1, kept=len(kept), left=size - len(kept), repeated=repeated(before, asked))
            print(f"kill {n} of a {shape}: {dict(figures)}", flush=True)


def done_in(path: Path) -> list[str]:
    """Topics of the runs that are on disk as done."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT inputs FROM run WHERE status = 'done'").fetchall()
    return [found for (inputs,) in rows for found in re.findall(r"K\d+x\d+", inputs)]


def repeated(before: list[Request], asked: Counter[str]) -> int:
    """Calls that had been answered, of runs that were asked again."""
    return sum(r.status == 200 and not r.disconnected and asked[r.topic] > 0 for r in before)


def main(given: list[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=250, help="runs of a batch")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60, help="seconds of a run")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="crew_nb-soak-") as home:
        be_quiet(home)
        logging.disable(logging.ERROR)
        warnings.simplefilter("ignore")
        if args.child:
            folder, name, shape, size = args.child
            child(args.url, Path(folder), name, shape, int(size))
            return
        with Server() as server:
            kills(server, args.kills, random.Random(args.seed))
            Soak(server, args.runs, args.size, args.seed, args.timeout).go()


if __name__ == "__main__":
    main()
