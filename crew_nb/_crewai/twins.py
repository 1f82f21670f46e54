"""CrewAI's async methods and their sync twins: in runs of ours the better one of the two runs, a sync one in a thread.

`akickoff` reaches the `a...` methods only: a user's class that overrides `execute_task` alone is not heard, nor is an
instrumentor that wraps it, and some of CrewAI's own do less than their twins. A method is replaced in CrewAI's class,
where the override is looked past.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._crewai import offload as _offload
from crew_nb._state import attempt as _attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crewai import Crew

_WORSE = frozenset({"Knowledge", "KnowledgeStorage"})
"""CrewAI's classes whose async methods want an async client that their default store does not make, and embed on the
loop (1.15.30): their sync twins run for all."""

_within: ContextVar[frozenset[tuple[int, str]]] = ContextVar("crew_nb_within", default=frozenset())
"""Async methods, by object and name, for which a twin runs here: one that calls back gets CrewAI's."""


def install() -> None:
    """Hear sync methods in all that is run within runs of ours, crews in the steps of a flow too."""
    from crewai import Agent, Crew, Task
    from crewai.knowledge.knowledge import Knowledge
    from crewai.knowledge.storage.knowledge_storage import KnowledgeStorage
    from crewai.llms.base_llm import BaseLLM
    from crewai.utilities.converter import Converter

    for cls in (Agent, BaseLLM, Converter, Crew, Knowledge, KnowledgeStorage, Task):
        _hear(cls)


def hear_sync(crew: Crew) -> None:
    """The same for what a crew is made of; CrewAI's classes are changed, once each."""
    agents = _crewai.agents_of(crew)
    executors = (getattr(agent, "executor_class", None) for agent in agents)
    for cls in {*map(type, (crew, *crew.tasks, *agents, *_crewai.llms(crew))), *executors}:
        if cls is not None:
            _hear(cls)


@functools.cache
def _hear(cls: type) -> None:
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "crewai":
            pairs = [pair for pair in _pairs(base) if not hasattr(vars(base)[pair[0]], "_crew_nb")]
            for name, sync in pairs:
                setattr(base, name, _either(vars(base)[name], name, sync, base.__name__ in _WORSE))


def _pairs(cls: type) -> Iterator[tuple[str, str]]:
    """An async method of the class itself and its twin, by name: `aquery` and `query`, `invoke_async` and `invoke`."""
    is_llm = hasattr(cls, "acall")  # its other methods are private to each provider
    for name, method in vars(cls).items():
        if not inspect.iscoroutinefunction(method) or name.startswith("__") or (is_llm and name != "acall"):
            continue
        bare = name.lstrip("_")
        for twin in (bare.removeprefix("a"), bare.removesuffix("_async")):
            sync = name.removesuffix(bare) + twin
            found = getattr(cls, sync, None)
            if sync != name and inspect.isfunction(found) and not inspect.iscoroutinefunction(found):
                yield name, sync
                break


def _either(stock: Callable[..., Any], name: str, sync: str, worse: bool) -> Callable[..., Any]:
    @functools.wraps(stock)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        method = stock.__get__(self)  # bound: an instrumentor's wrapper wants to know whose method it is
        key = (id(self), name)
        if _attempt.current.get() is None or key in _within.get():
            return await method(*args, **kwargs)
        if (around := _put_around(self, sync, name, stock)) is not None and (id(self), sync) not in _within.get():
            return await _inside(around, method, self, sync, args, kwargs)
        held = type(getattr(self, "llm", None)) in _offload.held
        if not (worse or held or is_sync_meant(self, sync, name)):
            return await method(*args, **kwargs)

        def twin() -> Any:
            token = _within.set(_within.get() | {key})
            try:
                return getattr(self, sync)(*args, **kwargs)
            finally:
                _within.reset(token)

        return await _offload.in_thread(twin)

    call._crew_nb = True  # type: ignore[attr-defined]
    return call


def _put_around(owner: Any, sync: str, name: str, stock: Any) -> Any:
    """What an instrumentor has put, with wrapt, around the sync method of CrewAI's class and not around its twin."""
    around = getattr(_of_class(owner, sync), "_self_wrapper", None)
    if around is None or any(hasattr(each, "_self_wrapper") for each in (stock, _of_class(owner, name))):
        return None
    return around


def _of_class(owner: Any, name: str) -> Any:
    return next((vars(base)[name] for base in type(owner).__mro__ if name in vars(base)), None)


async def _inside(around: Any, method: Callable[..., Any], owner: Any, sync: str, args: Any, kwargs: Any) -> Any:
    """Await the async method within what is put around its sync twin, which is a plain function that calls it."""
    token = _within.set(_within.get() | {(id(owner), sync)})

    @functools.wraps(_of_class(owner, sync).__wrapped__.__get__(owner))  # its signature is looked at
    def call(*args: Any, **kwargs: Any) -> Any:
        return _offload.wait(driven(*args, **kwargs))

    async def driven(*args: Any, **kwargs: Any) -> Any:
        return await _offload.drive(method(*args, **kwargs))

    async def work() -> Any:
        return around(call, owner, args, kwargs)

    try:
        return await _offload.drive(work())
    finally:
        _within.reset(token)


def is_sync_meant(owner: Any, sync: str, name: str) -> bool:
    """Whether the user has written the sync method of an object, and not the async one that would run."""
    own = getattr(owner, "__dict__", {})
    cls: Any = type(owner)
    return sync in own or _is_overridden(cls, sync, name)


@functools.cache
def _is_overridden(cls: type, sync: str, name: str) -> bool:
    for base in cls.__mro__:
        if name in vars(base):
            return False
        if sync in vars(base):
            return base.__module__.partition(".")[0] not in ("crewai", "crew_nb")
    return False
