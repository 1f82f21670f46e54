"""What all tests share: a quiet CrewAI with its files in a temporary place, the LLM server, and the leak check."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import hypothesis
import psutil
import pytest

from crew_nb._record import record as _record
from tests.support.passed import pytest_runtest_makereport as pytest_runtest_makereport
from tests.support.quiet import be_quiet
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_HOME = tempfile.TemporaryDirectory(prefix="crew_nb-tests-")
# While pytest loads this file, before anything imports CrewAI; kernels and workers inherit it.
be_quiet(_HOME.name)
# No test reaches a real provider, whoever runs it.
for _name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
    os.environ.pop(_name, None)

# How long an example takes is no test of ours: others may use the cores.
hypothesis.settings.register_profile("crew_nb", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("crew_nb")

GRACE = 30.0
"""Seconds that what a test has ended may take to be gone."""
_POOLS = ("crew_nb-", "CrewAISyncHandler", "asyncio_", "ThreadPoolExecutor-")  # the last: LiteLLM's own, for its log
"""Threads that may stay while they are idle: those of our pool, of CrewAI's event bus, and of a loop's executor."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often what happens at random moments is done."""
    parser.addoption("--rounds", type=int, default=4, help="rounds of the tests at random moments (4)")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """Rounds of a test at random moments."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def server(_server: Server) -> Server:
    """The LLM server, as new."""
    _server.reset()
    return _server


@pytest.fixture(autouse=True)
def _own_record(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test finds what another one, or its own earlier try, has kept."""
    monkeypatch.setenv("CREW_NB_HOME", str(tmp_path_factory.mktemp("record")))
    monkeypatch.setattr(_record, "_current", None)
    monkeypatch.setattr(_record, "_opened", {})
    yield
    for kept in _record._opened.values():
        kept.close()


@pytest.fixture(autouse=True)
def _nothing_left(_own_record: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """No asyncio task, busy thread or process survives a test."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_task_left_on_the_tests_loop")
    # What outlives the test is started here if it is wanted, so that it is not taken for a leak.
    for name in {"_server", "kernel"} & set(request.fixturenames):
        request.getfixturevalue(name)
    threads = set(threading.enumerate())
    processes = set(psutil.Process().children(recursive=True))
    yield

    def left() -> list[str]:
        return [
            *(f"thread {t.name}" for t in threading.enumerate() if t not in threads and _counts(t)),
            *(f"process {p.pid}" for p in psutil.Process().children(recursive=True) if p not in processes),
            *(f"task {t.get_coro()} of the engine" for t in _engine_tasks() if not _is_a_clients(t)),
        ]

    end = time.monotonic() + GRACE
    while found := left():
        if time.monotonic() > end:
            _stop_all()
            pytest.fail(f"left behind: {'; '.join(found[:20])}")
        time.sleep(0.01)


def _stop_all() -> None:
    """What a test that failed has left running must not trouble the next ones."""
    batches = list(getattr(_engine(), "stoppers", ()))
    for batch in batches:
        batch.cancel()
    for batch in batches:
        batch.wait_quietly(GRACE)


@pytest.fixture
async def _no_task_left_on_the_tests_loop() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    end = time.monotonic() + GRACE
    while found := asyncio.all_tasks() - before - {asyncio.current_task()}:
        if time.monotonic() > end:
            pytest.fail(f"left behind on the loop: {[t.get_coro() for t in found]}")
        await asyncio.sleep(0.01)


def _counts(thread: threading.Thread) -> bool:
    if not thread.name.startswith(_POOLS):
        return not thread.daemon
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename.endswith(("threading.py", "queue.py")):
        frame = frame.f_back
    # An idle worker waits inside its pool's own function, and in nothing that was handed to it.
    return frame is not None and frame.f_code.co_name not in ("_worker", "_next")


def _is_a_clients(task: asyncio.Task[object]) -> bool:
    """LiteLLM logs in one task of its own, which begins with its first call and never ends."""
    return getattr(task.get_coro(), "__qualname__", "") == "LoggingWorker._worker_loop"


def _engine() -> Any:
    """The engine, where it was imported."""
    return getattr(sys.modules.get("crew_nb._engine.engine"), "engine", None)


def _engine_tasks() -> set[asyncio.Task[object]]:
    loop = getattr(_engine(), "_loop", None)
    return asyncio.all_tasks(loop) if loop is not None and loop.is_running() else set()
