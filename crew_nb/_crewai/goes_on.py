"""A run goes on where an earlier try of it ended: what its tasks had done is taken over, and nothing of it run again.

A task is taken over where it is asked what it was asked then: its texts and its agent's, filled in, and its context.
CrewAI's own ways to begin at a task do not serve: `replay` has the last kickoff of this machine only, checkpoints begin
at the first task without an output, where async ones behind it may be done, and both give async tasks a context that
a kickoff does not give them (1.15.30). A crew in a step of a flow is the user's own, made anew in each try: its tasks
are known by what they are asked there, in that round.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import threading
from collections import Counter
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import offload as _offload
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.patches import put_around
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.attempt import DoneTask
from crew_nb._state.state import total
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from crewai import Crew, Task

    from crew_nb._state.attempt import Attempt

ANOTHER = "it is asked another thing than before"


def where_it_ended(crew: Crew) -> None:
    """Let an isolated crew take over what an earlier try of the current attempt's run has done, and keep what it does.

    Args:
        crew: Ours, made ready in all else; it is changed.
    """
    attempt = _attempt.current.get()
    if attempt is None or (len(crew.tasks) == 1 and not crew.after_kickoff_callbacks):
        return  # its one task and the run are done at once
    if why := _why_not(crew):
        if attempt.done:
            attempt.log(f"begun anew, nothing is taken over: {why}")
        return
    tasks = _Tasks(attempt)
    for place, task in enumerate(crew.tasks):
        _offload.replace(task, "aexecute_sync", tasks.taken_or_run(task, place))
        if hasattr(task, "condition"):
            _offload.replace(task, "should_execute", tasks.decided_or_asked(place))


def _why_not(crew: Crew) -> str:
    """Why a second half of this crew would not be that of a whole run; empty where it would."""
    agents = agents_of(crew)
    if getattr(crew, "_memory", None) is not None or any(getattr(agent, "memory", None) for agent in agents):
        return "the crew has a memory, in which what an earlier try has saved may be missing, or be there twice"
    tools = (tool for part in (*agents, *crew.tasks) for tool in getattr(part, "tools", None) or ())
    if any(getattr(tool, "max_usage_count", None) is not None for tool in tools):
        return "a tool has a max_usage_count, and its uses so far are not known"
    return ""


class _Tasks:
    """The tasks of one crew in one attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._before = dict(attempt.done)
        """What earlier tries have done."""
        self._moved = False
        """Whether a task has been run: from then on conditions may see another thing."""

    def taken_or_run(self, task: Task, place: int) -> Callable[[Any], Any]:
        """For a task's way to run."""

        def wrap(run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def call(agent: Any = None, context: str | None = None, tools: Any = None) -> Any:
                asked = _digest(task, agent or task.agent, context)
                done = self._before.get(place)
                if done is not None and done.output is not None:
                    if done.asked == asked and not done.unfit:
                        return _take(self._attempt, task, place, done, agent or task.agent, context)
                    self._attempt.log(f"run again: {done.unfit or ANOTHER}", place)
                self._moved = True
                output = await run(agent=agent, context=context, tools=tools)
                await self._attempt.keep(place, DoneTask(asked=asked, output=output))
                return output

            return call

        return wrap

    def decided_or_asked(self, place: int) -> Callable[[Any], Any]:
        """For a task's condition."""

        def wrap(ask: Callable[[Any], bool]) -> Callable[[Any], bool]:
            def call(context: Any) -> bool:
                done = self._before.get(place)
                if done is not None and not self._moved:
                    return done.output is not None
                holds = ask(context)
                if not holds and _offload.can_wait():
                    _offload.wait(self._attempt.keep(place, DoneTask(asked="its condition")))
                return holds

            return call

        return wrap


class InStep:
    """A step of a flow that was not done: what crews' tasks in it have done is known by what they were asked."""

    def __init__(self, attempt: Attempt, step: int) -> None:
        self.usage = Usage()
        """What was taken over in it took when it was asked."""
        self.cost: float | None = None
        self._attempt = attempt
        self._step = step
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._before = dict(attempt.done)
        self._asked: Counter[str] = Counter()
        self._counting = threading.Lock()  # a crew's async tasks are in threads
        self._late: list[asyncio.Task[None]] = []

    def know(self, task: Task, agent: Any, context: str | None) -> tuple[int, str] | None:
        """What the task is known by, and a digest of what it is asked; None where it is to be run in every case."""
        agent = agent or task.agent
        crew = getattr(agent, "crew", None)
        if crew is None or isinstance(crew, str) or _attempt.current.get() is not self._attempt or _why_not(crew):
            return None
        asked = _digest(task, agent, context)
        with self._counting:
            self._asked[asked] += 1
            known = f"{self._step} {asked} {self._asked[asked]}"
        return -1 - int(hashlib.sha256(known.encode()).hexdigest()[:15], 16), asked

    def taken(self, task: Task, agent: Any, context: str | None, known: tuple[int, str] | None) -> Any:
        """The task's output where an earlier try has it; None where the task is to be run."""
        done = self._before.get(known[0]) if known is not None else None
        if done is None or done.unfit or done.output is None:
            return None
        with self._counting:
            self.usage += done.usage
            self.cost = total(self.cost, done.cost)
        place = self._attempt.places.get(str(task.id), -1)
        return _take(self._attempt, task, place, done, agent or task.agent, context)

    async def keep(self, task: Task, known: tuple[int, str] | None, output: Any, began: float) -> None:
        """Put what a task has done on disk; on the engine's loop."""
        place = self._attempt.places.get(str(task.id))
        if known is not None and place is not None:
            key, asked = known
            await self._attempt.keep(key, DoneTask(asked=asked, output=output, step=place, began=began))

    def keep_from_here(self, task: Task, known: tuple[int, str] | None, output: Any, began: float) -> None:
        """The same from a plain function."""
        work = self.keep(task, known, output, began)
        if _offload.can_wait():
            _offload.wait(work)
        elif threading.get_ident() == self._thread:  # the loop is held by code of the user's, which cannot wait for it
            self._late.append(self._loop.create_task(work))
        else:
            asyncio.run_coroutine_threadsafe(work, self._loop).result()


in_step: ContextVar[InStep | None] = ContextVar("crew_nb_in_step", default=None)
"""The step that this code runs in, if any."""


def install() -> None:
    """Let tasks of crews that run in steps be taken over; all others notice nothing."""
    from crewai import Task

    put_around(Task, "execute_sync", _taken_or_run, "goes on")
    put_around(Task, "aexecute_sync", _taken_or_awaited, "goes on")
    put_around(Task, "_execute_task_async", _taken_or_in_thread, "goes on")


def _taken_or_run(run: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Task, agent: Any = None, context: str | None = None, tools: Any = None) -> Any:
        step = in_step.get()
        if step is None:
            return run(self, agent, context, tools)
        known, began = step.know(self, agent, context), _clock.now()
        output = step.taken(self, agent, context, known)
        if output is None:
            output = run(self, agent, context, tools)
            step.keep_from_here(self, known, output, began)
        return output

    return call


def _taken_or_awaited(run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(self: Task, agent: Any = None, context: str | None = None, tools: Any = None) -> Any:
        step = in_step.get()
        if step is None:
            return await run(self, agent, context, tools)
        known, began = step.know(self, agent, context), _clock.now()
        output = step.taken(self, agent, context, known)
        if output is None:
            output = await run(self, agent, context, tools)
            await step.keep(self, known, output, began)
        return output

    return call


def _taken_or_in_thread(run: Callable[..., None]) -> Callable[..., None]:
    def call(self: Task, agent: Any, context: str | None, tools: Any, future: Future[Any]) -> None:
        step = in_step.get()
        if step is None:
            run(self, agent, context, tools, future)
            return
        known, began = step.know(self, agent, context), _clock.now()
        output = step.taken(self, agent, context, known)
        if output is not None:
            future.set_result(output)
            return
        run(self, agent, context, tools, future)
        if future.exception() is None:
            step.keep_from_here(self, known, future.result(), began)

    return call


def _take(attempt: Attempt, task: Any, place: int, done: DoneTask, agent: Any, context: str | None) -> Any:
    """Leave the task, and its file, as it is when it has just run; its output."""
    output = done.output.model_copy()
    role = getattr(agent, "role", "") or ""
    task.agent, task.prompt_context, task.output = agent, context, output
    task.processed_by_agents.add(role)
    task.start_time = task.end_time = datetime.datetime.now()
    if task.output_file and not Path(task.output_file).expanduser().exists():
        structured = output.pydantic.model_dump_json() if output.pydantic else output.raw
        task._save_file(output.json_dict or structured)
    attempt.post(
        ev.TaskTaken(
            run=attempt.index,
            at=_clock.now(),
            task=place,
            agent=str(role).strip(),
            output=str(output.raw),
            usage=done.usage,
            cost=done.cost,
        )
    )
    return output


def _digest(task: Any, agent: Any, context: str | None) -> str:
    """What tells what a task is asked from all else that it may be asked."""
    texts = [task.description, task.expected_output, context or ""]
    texts += [str(getattr(agent, name, "") or "") for name in ("role", "goal", "backstory")]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
