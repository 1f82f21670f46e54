"""A run goes on where an earlier try of it ended: what its tasks had done is taken over, and nothing of it run again.

A task is taken over where it is asked what it was asked then: its texts and its agent's, filled in, and its context.
CrewAI's own ways to begin at a task do not serve: `replay` has the last kickoff of this machine only, checkpoints begin
at the first task without an output, where async ones behind it may be done, and both give async tasks a context that
a kickoff does not give them (1.15.30).
"""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import offload as _offload
from crew_nb._crewai.names import agents_of
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.attempt import DoneTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
                        return self._take(task, place, done, agent or task.agent, context)
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

    def _take(self, task: Any, place: int, done: DoneTask, agent: Any, context: str | None) -> Any:
        """Leave the task, and its file, as it is when it has just run."""
        output = done.output.model_copy()
        role = getattr(agent, "role", "") or ""
        task.agent, task.prompt_context, task.output = agent, context, output
        task.processed_by_agents.add(role)
        task.start_time = task.end_time = datetime.datetime.now()
        if task.output_file and not Path(task.output_file).expanduser().exists():
            structured = output.pydantic.model_dump_json() if output.pydantic else output.raw
            task._save_file(output.json_dict or structured)
        self._attempt.post(
            ev.TaskTaken(
                run=self._attempt.index,
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
