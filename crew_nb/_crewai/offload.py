"""Sync work of a crew goes to threads, with its context, so that it does not stall the loop its siblings share.

CrewAI's `akickoff` calls guardrails, callbacks, conditions, memory, knowledge and MCP set-up on the loop, as plain
functions. A crew's coroutine is therefore driven in a greenlet: a plain function deep inside it can wait for a thread
(`waiting`), while the loop goes on with other crews. Order, results and errors are those of a plain call. Only what is
named in `offload` waits so: CrewAI holds no lock at these places.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from greenlet import getcurrent, greenlet

from crew_nb._crewai import names as _crewai
from crew_nb._state import attempt as _attempt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from crewai import Crew, Task

P = ParamSpec("P")
T = TypeVar("T")


class Delegations:
    """The executions that a thread has started on the run's loop (delegated work, a sync twin)."""

    def __init__(self) -> None:
        self._futures: set[concurrent.futures.Future[Any]] = set()
        self._cancelled = False

    def wait_for(self, future: concurrent.futures.Future[Any]) -> Any:
        """What comes of it; from the thread."""
        self._futures.add(future)
        if self._cancelled:  # checked after the add: whichever comes second sees the other
            future.cancel()
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            # An ordinary exception in threads: CrewAI would take it for a failure and try again.
            raise _crewai.abort("The run was cancelled") from None
        finally:
            self._futures.discard(future)

    def cancel(self) -> None:
        """Stop them all, and those to come."""
        self._cancelled = True
        for future in list(self._futures):
            future.cancel()


home: contextvars.ContextVar[asyncio.AbstractEventLoop | None] = contextvars.ContextVar("crew_nb_home", default=None)
"""The loop that the run's LLM clients live on."""
delegations: contextvars.ContextVar[Delegations | None] = contextvars.ContextVar("crew_nb_delegations", default=None)
"""In a thread of the run: what it has started on that loop."""


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What `function` returns, run in a thread; variables that it sets are set here too, as if it had run here."""
    context = contextvars.copy_context()
    try:
        return await _in_thread(context, function, *args, **kwargs)
    except asyncio.CancelledError:
        context = contextvars.Context()  # the thread is still in the other one
        raise
    finally:
        for variable in context:
            value = context[variable]
            if variable is not delegations and variable.get(None) is not value:
                variable.set(value)


async def in_tool_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """The same, but variables that it sets are its own."""
    return await _in_thread(contextvars.copy_context(), function, *args, **kwargs)


async def _in_thread(context: contextvars.Context, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    loop, started = asyncio.get_running_loop(), Delegations()
    context.run(delegations.set, started)
    if home.get() is None:
        context.run(home.set, loop)
    call = functools.partial(context.run, _attempt.marked(function), *args, **kwargs)
    try:
        return await loop.run_in_executor(None, call)
    except asyncio.CancelledError:
        started.cancel()
        raise


held: set[object] = set()
"""LLM classes and functions that said to be async and have held up the shared loop: they are called in threads."""


async def on_loop(what: object, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Await a crew's own async function; in a thread, on a loop of its own, once it has held up the shared one.

    `what` is its name in `held`; the engine's watch reads it here, from the frame of a call that blocks.
    """
    if what not in held:
        return await function(*args, **kwargs)

    async def call() -> T:
        return await function(*args, **kwargs)

    return await in_thread(lambda: asyncio.run(call()))


class _Step(greenlet):  # type: ignore[misc]
    """Runs a coroutine up to its next await."""

    def switch_in(self, value: Any, error: BaseException | None = None) -> Any:
        """What the step comes to, or an awaitable that a plain function within it waits for."""
        here = getcurrent()
        self.parent = here
        self.gr_context = here.gr_context
        if error is None:
            return self.switch(value)
        return self.throw(type(error), error, error.__traceback__)  # without it, where it was raised would be lost


def _advance(coroutine: Coroutine[Any, Any, T], value: Any, error: BaseException | None) -> tuple[bool, Any]:
    try:
        return False, coroutine.send(value) if error is None else coroutine.throw(error)
    except StopIteration as end:
        return True, end.value


@types.coroutine
def drive(coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a coroutine in whose plain functions `waiting` may wait."""
    value: Any = None
    error: BaseException | None = None
    while True:
        step = _Step(functools.partial(_advance, coroutine, error=error))
        result = step.switch_in(value)
        while not step.dead:
            try:
                value = yield from result.__await__()
            except BaseException as raised:  # handed to the function that waits
                result = step.switch_in(None, raised)
            else:
                result = step.switch_in(value)
        finished, given = result
        if finished:
            return given  # type: ignore[no-any-return]
        value, error = None, None
        try:
            value = yield given
        except BaseException as raised:
            error = raised


def can_wait() -> bool:
    """Whether this plain function was called below `drive`."""
    return isinstance(getcurrent(), _Step)


def wait(awaitable: Awaitable[T]) -> T:
    """Await from a plain function; only below `drive`."""
    step = getcurrent()
    assert isinstance(step, _Step)
    assert step.parent is not None
    return step.parent.switch(awaitable)  # type: ignore[no-any-return]


def waiting(function: Callable[P, T]) -> Callable[P, T]:
    """The function, run in a thread where it is called below `drive`, and as it is anywhere else."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if can_wait():
            return wait(in_thread(function, *args, **kwargs))
        return function(*args, **kwargs)

    return call


def offload(crew: Crew) -> None:
    """Move what an isolated crew would run on the loop into threads; for the direct and the stock path.

    Moved: before- and after-kickoff callbacks, task callbacks, guardrails (functions and LLMs), conditions, planning,
    memory, knowledge, the set-up of MCP and platform tools, output files. Not moved: hooks and event handlers, which
    belong to the whole process, and before them `step_callback`, which runs in a thread anyway.
    """
    moved = _same_for_same(_moved)  # CrewAI compares task callbacks, so as to call each once
    crew.before_kickoff_callbacks = [_giving_on(moved(f)) for f in crew.before_kickoff_callbacks]
    crew.after_kickoff_callbacks = [_giving_on(moved(f)) for f in crew.after_kickoff_callbacks]
    crew.task_callback = moved(crew.task_callback)
    replace(crew, "_handle_crew_planning", waiting)
    agents = _crewai.agents_of(crew)
    remembers = getattr(crew, "_memory", None) is not None or any(getattr(a, "memory", None) for a in agents)
    if remembers:
        replace(crew, "_drain_memory_writes", waiting)
        replace(crew, "_create_manager_agent", lambda create: _then_offload_manager(crew, create))
    for agent in agents:
        _offload_agent(agent, remembers)
    for task in crew.tasks:
        _offload_task(task, moved)
    replace(crew, "akickoff", driven)


_SET_UP = {"knowledge_sources": "set_knowledge", "mcps": "get_mcp_tools", "apps": "get_platform_tools"}
"""What an agent has, and the method that CrewAI calls on the loop for it."""


def _offload_agent(agent: Any, remembers: bool) -> None:
    for field, name in _SET_UP.items():
        if getattr(agent, field, None):
            replace(agent, name, waiting)
    replace(agent, "_get_knowledge_search_query", waiting)  # it asks the LLM
    if remembers and "_retrieve_memory_context" not in vars(agent):
        replace(agent, "_retrieve_memory_context", waiting)
        replace(agent, "create_agent_executor", lambda create: _then_save_in_threads(agent, create))


def _then_offload_manager(crew: Crew, create: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(create)
    def call() -> None:
        create()
        _offload_agent(crew.manager_agent, remembers=True)

    return call


def _then_save_in_threads(agent: Any, create: Callable[..., None]) -> Callable[..., None]:
    """An executor saves to memory when it has its answer: it asks an LLM what to keep."""

    @functools.wraps(create)
    def call(*args: Any, **kwargs: Any) -> None:
        create(*args, **kwargs)
        if "_save_to_memory" not in vars(agent.agent_executor):
            replace(agent.agent_executor, "_save_to_memory", waiting)
            # Delegated work and work with a time limit are asyncio tasks of their own.
            replace(agent.agent_executor, "invoke_async", driven)

    return call


def _offload_task(task: Task, moved: Callable[[Any], Any]) -> None:
    task.callback = moved(task.callback)
    # Both fields: CrewAI makes the private one anew, of the other, wherever a model takes the task (under a manager).
    if getattr(task, "_guardrail", None):
        task.guardrail = task._guardrail = _guard(task._guardrail)
    if getattr(task, "_guardrails", None):
        task.guardrails = task._guardrails = [_guard(g) for g in task._guardrails]
    if getattr(task, "condition", None):
        task.condition = moved(task.condition)  # type: ignore[attr-defined]
    if task.output_file:
        replace(task, "_save_file", waiting)
    if task.async_execution:
        replace(task, "aexecute_sync", driven)  # an asyncio task of its own


def _moved(function: Any) -> Any:
    """A function of the user's that waits in a thread; of an async one CrewAI gets the result, not the coroutine."""
    if function is None:
        return None
    start: Any = waiting(function)
    if inspect.iscoroutinefunction(function):
        start = functools.partial(on_loop, function, function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = start(*args, **kwargs)
        return wait(result) if inspect.isawaitable(result) and can_wait() else result

    return call


def _giving_on(callback: Any) -> Any:
    """A callback around a kickoff: one that returns nothing is there for what it does, and its value goes on."""

    @functools.wraps(callback)
    def call(value: Any) -> Any:
        result = callback(value)
        return value if result is None else result

    return call


def _same_for_same(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Equal functions get the same wrapper."""
    known: list[tuple[Any, Any]] = []

    def moved(function: Any) -> Any:
        for original, wrapper in known:
            if original == function:
                return wrapper
        known.append((function, wrap(function)))
        return known[-1][1]

    return moved


def _guard(guardrail: Any) -> Any:
    """A guardrail that waits; an LLM's does in all runs of ours, and its class tells CrewAI's events what it is."""
    return guardrail if hasattr(guardrail, "_validate_output") else _moved(guardrail)


def driven(function: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """The function, below `drive`."""

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> T:
        return await drive(function(*args, **kwargs))

    return call


def replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Put another function in one object's place of a method; models refuse that to the ordinary assignment."""
    if (method := getattr(owner, name, None)) is not None:
        wrapper = wrap(method)
        wrapper._crew_nb = "a run"  # no copy takes it over
        object.__setattr__(owner, name, wrapper)
