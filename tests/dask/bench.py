"""What a run costs on Dask, beside this process and beside a naive `client.map`: `python -m tests.dask.bench [n]`.

Measures, asserts only that every run is done. Crews of one task on the offline LLM, no network but Dask's own.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from distributed import Client, LocalCluster

import crew_nb as cnb
from tests.support.quiet import be_quiet

if TYPE_CHECKING:
    from crewai import Crew

MANY = 2_000


def quick(topic: str) -> Crew:
    """A crew whose LLM answers at once: what is left is overhead."""
    from tests.support import crews

    return crews.one(cnb.OfflineLLM(latency=0.0, tokens_per_second=None))


def slow(topic: str) -> Crew:
    """A crew whose LLM takes half a second."""
    from tests.support import crews

    return crews.one(cnb.OfflineLLM(latency=0.5, tokens_per_second=None))


def naive(topic: str, seconds: float) -> str:
    """What one writes without crew_nb: a Dask task per crew."""
    crew = slow(topic) if seconds else quick(topic)
    return str(crew.kickoff(inputs={"topic": topic}).raw)


def _cpu() -> float:
    me = psutil.Process()
    times = [p.cpu_times() for p in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def main() -> None:
    """Print one line per way."""
    count = int(sys.argv[1]) if sys.argv[1:] else 200
    with tempfile.TemporaryDirectory() as home:
        be_quiet(home)  # the workers are started with it
        _measure(count)


def _measure(count: int) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        cnb.kickoff_for_each(quick, _topics(4), on=client, show=False).wait()  # CrewAI is loaded everywhere
        client.gather(client.map(naive, [f"w{n}" for n in range(4)], [0.0] * 4))

        def told(words: str, n: int, began: float, used: float) -> None:
            wall, cpu = time.perf_counter() - began, _cpu() - used
            print(f"{words}: {n} runs in {wall:.2f} s, {1e3 * wall / n:.1f} ms each, CPU {1e3 * cpu / n:.1f} ms each")

        for factory, seconds, n in ((quick, 0.0, count), (slow, 0.5, 64)):
            for words, on in (("here", None), ("on Dask", client)):
                began, used = time.perf_counter(), _cpu()
                batch = cnb.kickoff_for_each(factory, _topics(n), on=on, show=False, max_concurrency=64)
                assert {r.status for r in batch.wait()} == {"done"}
                told(f"LLM {seconds} s, {words}", n, began, used)
            began, used = time.perf_counter(), _cpu()
            client.gather(client.map(naive, [f"{seconds}-{n}" for n in range(n)], [seconds] * n, pure=False))
            told(f"LLM {seconds} s, naive client.map", n, began, used)
        if count >= 200:
            began, used, mine, kept = time.perf_counter(), _cpu(), time.process_time(), _store()
            batch = cnb.kickoff_for_each(slow, _topics(MANY), on=client, show=False, max_concurrency=256)
            results = batch.wait()
            assert {r.status for r in results} == {"done"}
            told("LLM 0.5 s, on Dask, 256 at once", MANY, began, used)
            print(f"workers: { {w: sum(r.state.worker == w for r in results) for w in ('0', '1')} }")
            print(f"of it here (client and scheduler): CPU {1e3 * (time.process_time() - mine) / MANY:.1f} ms a run")
            memory = psutil.Process().memory_info().rss >> 20
            print(f"events: {len(batch.events) / MANY:.1f} a run; memory here {memory} MB")
            print(f"store: {(_store() - kept) / MANY / 1e3:.1f} kB a run")


def _store() -> int:
    return sum(f.stat().st_size for f in Path(os.environ["CREW_NB_HOME"]).rglob("*") if f.is_file())


def _topics(count: int) -> list[dict[str, str]]:
    return [{"topic": f"t{n}"} for n in range(count)]


if __name__ == "__main__":
    main()
