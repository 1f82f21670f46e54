"""`python -m crew_nb.benchmark`: bare CrewAI against crew_nb, on the same crews, in one process and one run.

It measures and asserts nothing. Machines are noisy: read the ratios, and the medians. The LLM is a sleep in an
`OfflineLLM`, or the loopback server of the tests, in a process of its own, which counts what is in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import logging
import os
import platform
import statistics
import sys
import time
import types
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._crewai.samples import CALLS_IN_A_ROW, Shapes, http_llm, offline_crew

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from crew_nb._crewai.names import Crew

    Factory = Callable[[], Crew]

TICK = 0.01
"""Seconds between two ticks of the stand-in for the kernel's loop."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One way to run n crews, measured; the median of the repeats. Seconds, unless another unit is named."""

    shape: str
    llm: str
    way: str
    n: int
    wall: float
    ideal: float
    """The longest chain of LLM latency in one crew."""
    cpu_per_crew_ms: float
    stall_max: float
    """The longest that a 10 ms ticker on the launching loop was held up."""
    stall_p99: float
    rss_mb: float
    """Resident memory of the process after the last repeat."""
    in_flight: int | None
    """Most LLM calls in flight at once: as the server saw them, or as the LLM object did."""
    in_flight_mean: float | None = None
    """The same over the whole time that it took, as the server saw them."""
    messages_per_second: float | None = None
    bytes_per_message: float | None = None

    @property
    def to_ideal(self) -> float:
        """Wall by ideal."""
        return self.wall / self.ideal


class Ticker:
    """How long the launching loop is held up."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def __aenter__(self) -> Ticker:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            self.late.append(max(0.0, time.perf_counter() - due))


async def bare_gather(factory: Factory, n: int) -> None:
    """What people write today."""
    await asyncio.gather(*[factory().akickoff() for _ in range(n)])


async def bare_kickoff_async(factory: Factory, n: int) -> None:
    """The same with CrewAI's threads."""
    await asyncio.gather(*[factory().kickoff_async() for _ in range(n)])


async def with_crew_nb(factory: Factory, n: int) -> None:
    """All at once, without a board."""
    import crew_nb as cnb

    results = await cnb.gather(*[factory] * n, max_concurrency=n, show=False)
    results.raise_for_errors()


class Viewer:
    """A board that somebody looks at, without a kernel: counts what it would send."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, int]] = []

    async def run(self, factory: Factory, n: int) -> None:
        """All at once, tokens streamed, drawn as in a notebook."""
        from crew_nb._cells import display as _display
        from crew_nb._crewai import blueprint as _blueprint
        from crew_nb._handles.batch import Batch
        from crew_nb._state.options import options

        batch = Batch(_blueprint.plans_for([factory] * n), options(max_concurrency=n, stream=True, show=False))
        with redirect_stdout(StringIO()):  # there is no cell for the output: IPython prints it
            _display.KernelView(batch)
        board = batch.board
        board.send = lambda content, buffers=None: self.sent.append((time.time(), len(json.dumps(content))))
        board._on_message(None, {"t": "hello", "view": "benchmark", "row": list(range(40))}, None)
        batch.start()
        (await batch).raise_for_errors()
        board.close()


async def streamed_unseen(factory: Factory, n: int) -> None:
    """All at once, tokens streamed, and no board."""
    import crew_nb as cnb

    (await cnb.gather(*[factory] * n, max_concurrency=n, stream=True, show=False)).raise_for_errors()


async def on_cores(factory: Factory, n: int) -> None:
    """All at once on processes of this machine, which the first time has warmed."""
    import crew_nb as cnb

    (await cnb.gather(*[factory] * n, max_concurrency=n, on="cores", show=False)).raise_for_errors()


class RawCalls:
    """As many calls of OpenAI's own client, without CrewAI: what is left to it is not ours."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def run(self, factory: Factory, n: int) -> None:
        """All at once."""
        from openai import AsyncOpenAI

        async with AsyncOpenAI(base_url=self._base_url, api_key="test-key") as client:
            ask = client.chat.completions.create
            asked: Any = [{"role": "user", "content": "topic=A"}]
            await asyncio.gather(*[ask(model="gpt-4o-mini", messages=asked) for _ in range(n)])


WAYS: dict[str, Callable[[Factory, int], Coroutine[Any, Any, None]]] = {
    "bare gather": bare_gather,
    "bare kickoff_async": bare_kickoff_async,
    "crew_nb": with_crew_nb,
}


def offline(latency: float, tokens_per_second: float | None = None) -> Any:
    """An `OfflineLLM` that counts how many of its calls are in flight."""
    import threading

    from crew_nb._crewai.offline import OfflineLLM

    count = threading.Lock()
    flying = 0

    class Counting(OfflineLLM):
        peak: int = 0

        def _move(self, by: int) -> None:
            nonlocal flying
            with count:
                flying += by
                self.peak = max(self.peak, flying)

        def call(self, *args: Any, **kwargs: Any) -> Any:
            self._move(1)
            try:
                return super().call(*args, **kwargs)
            finally:
                self._move(-1)

        async def acall(self, *args: Any, **kwargs: Any) -> Any:
            self._move(1)
            try:
                return await super().acall(*args, **kwargs)
            finally:
                self._move(-1)

    return Counting(model="offline", latency=latency, tokens_per_second=tokens_per_second)


def measure(
    way: str,
    run: Callable[[Factory, int], Coroutine[Any, Any, None]],
    shape: str,
    n: int,
    repeats: int,
    llm: Any,
    server: Any,
    latency: float,
) -> Measure:
    """One way, so many times; the median of the walls, the worst of the stalls."""
    import psutil

    factory: Factory = getattr(Shapes(llm), shape)
    if run is on_cores:
        factory = functools.partial(offline_crew, shape, latency)
    walls, cpus, late, peaks, means = [], [], [], [], []
    owner = getattr(run, "__self__", None)
    viewer = owner if isinstance(owner, Viewer) else None
    # Warm: imports, pools, processes and connections are no part of what is compared.
    asyncio.run(run(factory, n if run is on_cores else 1))
    if viewer is not None:
        viewer.sent.clear()
    for _ in range(repeats):
        if server is not None:
            server.reset()
            server.configure(latency=latency)
        else:
            llm.peak = 0
        walled, busy, ticks = asyncio.run(_timed(run, factory, n))
        walls.append(walled)
        cpus.append(busy)
        late.append(sorted(ticks))
        seen = server.stats() if server is not None else llm
        peaks.append(seen.peak)
        if server is not None:
            means.append(sum(r.ended - r.arrived for r in seen.requests if r.ended) / walled)
    worst = max(late, key=lambda ticks: ticks[-1])
    span = viewer.sent[-1][0] - viewer.sent[0][0] if viewer is not None and len(viewer.sent) > 1 else 0.0
    return Measure(
        shape=shape,
        llm="HTTP" if server is not None else "offline",
        way=way,
        n=n,
        wall=statistics.median(walls),
        ideal=latency * CALLS_IN_A_ROW[shape],
        cpu_per_crew_ms=1000 * statistics.median(cpus) / n,
        stall_max=worst[-1],
        stall_p99=worst[int(len(worst) * 0.99)],
        rss_mb=psutil.Process().memory_info().rss / 2**20,
        in_flight=None if run is on_cores else max(peaks),
        in_flight_mean=statistics.median(means) if means else None,
        messages_per_second=len(viewer.sent) / span if viewer is not None and span else None,
        bytes_per_message=statistics.mean(size for _, size in viewer.sent) if viewer and viewer.sent else None,
    )


async def _timed(
    run: Callable[[Factory, int], Coroutine[Any, Any, None]], factory: Factory, n: int
) -> tuple[float, float, list[float]]:
    _crewai.silence()
    async with Ticker() as ticker:
        await asyncio.sleep(5 * TICK)
        wall, cpu = time.perf_counter(), _busy(run)
        await run(factory, n)
        wall, cpu = time.perf_counter() - wall, _busy(run) - cpu
        await asyncio.sleep(2 * TICK)
    return wall, cpu, ticker.late


def _busy(run: Any) -> float:
    """Processor time of this process, and of those that carry out its runs."""
    import psutil

    others = psutil.Process().children(recursive=True) if run is on_cores else ()
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in others)


def table(measures: list[Measure]) -> str:
    """The measures as Markdown, with ratios to the ideal and to bare `gather` of the same shape, LLM and n."""
    bare = {(m.shape, m.llm, m.n): m.wall for m in measures if m.way == "bare gather"}
    lines = [
        "| crews | LLM | n | way | wall | ÷ ideal | bare ÷ this | CPU a crew | stall max / p99 "
        "| in flight: most, mean | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for m in measures:
        faster = bare.get((m.shape, m.llm, m.n), 0.0) / m.wall
        flying = ", ".join(f"{count:.0f}" for count in (m.in_flight, m.in_flight_mean) if count is not None)
        lines.append(
            f"| {m.shape} | {m.llm} | {m.n} | {m.way} | {m.wall:.2f} s | {m.to_ideal:.2f} "
            f"| {f'{faster:.1f}×' if faster else ''} | {m.cpu_per_crew_ms:.1f} ms "
            f"| {m.stall_max:.3f} / {m.stall_p99:.3f} s | {flying} | {m.rss_mb:.0f} MB |"
        )
    return "\n".join(lines)


def machine() -> str:
    """What it ran on, in a line."""
    from importlib.metadata import version

    return (
        f"Python {platform.python_version()}, CrewAI {version('crewai')}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}"
    )


def plot(measures: list[Measure], path: Path) -> None:
    """Wall by ideal over n, a line per way, as SVG or whatever the path's ending says."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for way in dict.fromkeys(m.way for m in measures):
        points = [(m.n, m.to_ideal) for m in measures if m.way == way and m.shape == "one" and m.llm == "offline"]
        if len(points) > 1:
            axes.plot(*zip(*points, strict=True), marker="o", label=way)
    axes.set(xscale="log", yscale="log", xlabel="crews at once", ylabel="wall ÷ slowest crew")
    axes.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.suptitle(f"One-task crews, every LLM call alike. {machine()}", fontsize=9)
    figure.savefig(path)


def _load() -> list[float]:
    """Processes that want a processor, over 1, 5 and 15 minutes; empty where the system does not tell."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else []


def _server() -> AbstractContextManager[Any]:
    """The tests' loopback server, where this is a checkout."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    try:
        from tests.support.server import Server
    except ImportError:
        print("no HTTP part: the loopback server is in the repository's tests", file=sys.stderr)
        return nullcontext()
    finally:
        del sys.path[0]
    return Server()


def main(argv: list[str] | None = None) -> None:
    """Measure and print; `--help` tells the options."""
    parser = argparse.ArgumentParser(prog="python -m crew_nb.benchmark", description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[1, 16, 64], help="crews at once")
    parser.add_argument("--shapes", nargs="+", default=list(CALLS_IN_A_ROW), choices=list(CALLS_IN_A_ROW))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--latency", type=float, default=0.5, help="seconds of each LLM call")
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many")
    parser.add_argument("--bare-up-to", type=int, default=64, help="repeat bare CrewAI only up to so many crews")
    parser.add_argument("--no-http", action="store_true", help="leave the HTTP server out")
    parser.add_argument("--json", type=Path, help="write the measures there")
    parser.add_argument("--plot", type=Path, help="draw them there")
    chosen = parser.parse_args(argv)
    os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("OTEL_SDK_DISABLED", "true")
    os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")
    _crewai.load()  # its import is not what is measured

    logging.getLogger("crewai").setLevel(logging.ERROR)

    import crew_nb as cnb

    cnb.set_record(None)
    measures: list[Measure] = []
    before = _load()

    def take(way: str, run: Any, shape: str, n: int, repeats: int, llm: Any, server: Any = None) -> None:
        found = measure(way, run, shape, n, repeats, llm, server, chosen.latency)
        measures.append(found)
        print(table([found]).splitlines()[-1], file=sys.stderr, flush=True)

    # Bare CrewAI comes first: once crew_nb has frozen the import heap, bare runs would gain from it too.
    for way in [w for w in WAYS if w in chosen.ways]:
        for shape in chosen.shapes:
            for n in chosen.n:
                repeats = chosen.repeats if n <= chosen.bare_up_to or way == "crew_nb" else 1
                take(way, WAYS[way], shape, n, repeats, offline(chosen.latency))
    if "crew_nb" in chosen.ways:
        n = max(m for m in chosen.n if m <= 64)
        for way, run in (("streamed, unseen", streamed_unseen), ("streamed, with a board", Viewer().run)):
            take(way, run, "one", n, chosen.repeats, offline(chosen.latency, 50.0))
    if not chosen.no_http:
        with _server() as server:
            if server is not None:
                llm = http_llm(server.base_url)
                for way in [w for w in ("bare gather", "crew_nb") if w in chosen.ways]:
                    for n in chosen.n:
                        take(way, WAYS[way], "one", n, 1 if way == "bare gather" else chosen.repeats, llm, server)
                for n in chosen.n if "crew_nb" in chosen.ways else ():
                    take("streamed, unseen", streamed_unseen, "one", n, chosen.repeats, llm, server)
                    take("raw calls", RawCalls(server.base_url).run, "one", n, chosen.repeats, llm, server)
    if "crew_nb" in chosen.ways and find_spec("distributed") is not None:
        # Last: the processes stay warm, and would take their time from what is measured after them.
        for n in chosen.n:
            take('crew_nb, on="cores"', on_cores, "one", n, chosen.repeats, offline(chosen.latency))
    print(f"\n{machine()}\n\n{table(measures)}")
    if chosen.json:
        load = {"before": before, "after": _load()}
        told = {"machine": machine(), "load": load, "measures": [asdict(m) for m in measures]}
        chosen.json.write_text(json.dumps(told, indent=1))
    if chosen.plot:
        plot(measures, chosen.plot)


class _Verb(types.ModuleType):
    """The program and the verb `cnb.benchmark(factory, n=4)` share one name; importing this must not hide the verb."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """`cnb.benchmark`."""
        from crew_nb._cells.benchmark import benchmark

        return benchmark(*args, **options)


sys.modules[__name__].__class__ = _Verb

if __name__ == "__main__":
    main()
