"""A Dask cluster of two processes on loopback, shared by the tests of one module, and factories that can travel."""

from __future__ import annotations

import asyncio
import contextlib
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import dask
import pytest
from distributed import Client, LocalCluster
from distributed.utils import offload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crewai import Crew

    from tests.support.server import Server


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> None:
    """The process that multiprocessing starts once and keeps, and Dask's thread; they are nobody's leak."""
    resource_tracker.ensure_running()
    asyncio.run(_offload())


async def _offload() -> None:
    await offload(int)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of two workers, each with one thread: as many crews as are asked for run on it anyway."""
    with _cluster() as made:
        yield made


@pytest.fixture
def fragile() -> Iterator[Client]:
    """A cluster of its own for a test that kills workers."""
    with _cluster() as made:
        yield made


@contextlib.contextmanager
def _cluster() -> Iterator[Client]:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "5s"}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as made,
    ):
        made.run(_warm)
        yield made


def _warm() -> None:
    """Load what factories need, as it takes seconds and is not what is tested."""
    import tests.support.crews  # noqa: F401


@pytest.fixture
def build(server: Server) -> Callable[..., Crew]:
    """A factory that makes all it needs, as it must to run elsewhere."""
    return factory(server.base_url)


def factory(base_url: str, make: str = "one", **options: Any) -> Callable[..., Crew]:
    """A factory of crews that ask the server at this address."""

    def build(topic: str) -> Crew:
        from crewai import LLM

        from tests.support import crews

        llm = LLM(model="openai/gpt-4o-mini", base_url=base_url, api_key="test-key")
        return getattr(crews, make)(llm, **options)

    return build
