"""The direct path: which crews it is faithful for, and what an isolated crew gets to take it.

Only crews of ours are changed, never the user's objects; what is put in CrewAI's place acts in runs of ours only.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import goes_on as _goes_on
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import offload as _offload
from crew_nb._crewai import patches, sources
from crew_nb._crewai import twins as _twins
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.offload import offload
from crew_nb._state import attempt as _attempt

if TYPE_CHECKING:
    from crewai import Crew

__all__ = ["accelerate", "install", "offload", "unfamiliar", "why_not"]


def install() -> None:
    """Spare runs of ours, on both paths, what CrewAI does over and over for each crew; other crews notice nothing."""
    _twins.install()
    patches.skip_idle_listeners(_is_ours_here)
    patches.tell_pieces(_is_ours_here)
    patches.keep_what_is_read(_is_ours_here)
    patches.remember_set_up(_is_ours_here)
    patches.ask_for_models(_is_ours_here, _is_in_call, _offload.waiting)
    patches.keep_output(_is_ours_here)
    patches.wait_for_files(_offload.wait, _offload.can_wait)
    _goes_on.install()
    patches.wait_in_threads(_is_ours_here, _offload.waiting, _offload.driven, _offload.can_wait)


def _is_ours_here() -> bool:
    return _attempt.current.get() is not None


def _is_in_call() -> bool:
    return _attempt.call.get() is not None


@functools.cache
def unfamiliar() -> str:
    """Why the direct path cannot stand on this CrewAI's source, in a line; empty where it can. Loads it."""
    moved = sources.executor_moved()
    more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
    what = f"{', '.join(moved[:3])}{more} {'is' if len(moved) == 1 else 'are'}"
    return f"in CrewAI {_crewai.version()}, {what} not as it was checked" if moved else ""


def why_not(crew: Crew) -> str:
    """Why this crew takes CrewAI's own executor, for people; empty where the direct one does the same."""
    if reason := unfamiliar():
        return reason
    from crewai import Agent
    from crewai.agents.agent_executor import AgentExecutor

    if crew.planning:
        return "the crew plans (planning=True)"
    if getattr(crew, "_train", False):
        return "the crew is in training"
    if crew.checkpoint or crew.checkpoint_kickoff_event_id:
        return "checkpoints are on"
    for agent in agents_of(crew):
        name = f"agent {agent.role!r}"
        if not isinstance(agent, Agent):
            return f"{name} is a {type(agent).__name__}, which brings its own way to run"
        if agent.executor_class is not AgentExecutor and not _is_ours(agent.executor_class):
            return f"{name} has its own executor class"
        if agent.planning_enabled:
            return f"{name} plans (planning or reasoning is on)"
        if agent.checkpoint:
            return "checkpoints are on"
        if getattr(agent, "a2a", None):
            return f"{name} talks to remote agents (a2a)"
        if agent.agent_executor is not None and agent.agent_executor._is_executing:
            return f"{name} is at work in another crew"
    return ""


def accelerate(crew: Crew, *, keep_replay: bool = False) -> None:
    """Give an isolated crew, for which `why_not` is empty, the direct executor.

    Args:
        crew: Ours; it is changed.
        keep_replay: Whether the outputs of its tasks are written to CrewAI's store for `crewai replay`.
    """
    from crew_nb._crewai.direct import DirectExecutor

    for agent in agents_of(crew):
        _give(agent, DirectExecutor)
    make_manager = crew._create_manager_agent

    def create_manager_agent() -> None:
        make_manager()
        _give(crew.manager_agent, DirectExecutor)

    create_manager_agent._crew_nb = "a run"  # type: ignore[attr-defined]  # no copy takes it over
    # The manager of a hierarchical crew is made at kickoff.
    object.__setattr__(crew, "_create_manager_agent", create_manager_agent)
    if not keep_replay:
        crew._task_output_handler = _NoReplay()  # type: ignore[assignment]


def _give(agent: Any, executor_class: type) -> None:
    if agent.executor_class is not executor_class:
        agent.executor_class = executor_class
        agent.agent_executor = None  # made anew for each kickoff


def _is_ours(executor_class: type) -> bool:
    from crew_nb._crewai.direct import DirectExecutor

    return executor_class is DirectExecutor


class _NoReplay:
    """Stands where CrewAI keeps the outputs of the last kickoff on this machine, in one SQLite file for all crews."""

    def reset(self) -> None:
        pass

    def update(self, task_index: int, log: dict[str, Any]) -> None:
        pass

    def add(self, *args: Any, **kwargs: Any) -> None:
        pass

    def load(self) -> list[dict[str, Any]]:
        return []
