"""What can be handed over: a Crew, a Flow, an Agent, a definition, a factory; anything else is refused with a line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai.callables import looked_through
from crew_nb._crewai.definitions import is_definition, started
from crew_nb._crewai.factories import name_of
from crew_nb._crewai.inputs import is_crewais, is_named, short
from crew_nb._state.errors import BlueprintError

if TYPE_CHECKING:
    import os

    from crewai import Agent, Crew, Flow
    from crewai.flow.flow_definition import FlowDefinition
    from crewai.project import CrewDefinition

    Definition = str | os.PathLike[str] | Mapping[str, Any] | CrewDefinition | FlowDefinition
    Startable = Crew | Agent | Flow[Any] | type[Flow[Any]] | Definition
    CrewLike = Startable | Callable[..., Startable]


def template(source: Any) -> Any:
    """The blueprint as it is now: what the user does to the Crew later does not reach the queued runs."""
    kind = _kinds.find(source)
    if kind is None:
        return source
    return kind.template(source)


def startable(source: Any) -> Any:
    """What is started: what CrewAI makes of a definition, anything else itself.

    Raises:
        BlueprintError: When it is no definition, nothing that can be started and no factory, with what to write.
    """
    if is_definition(source):
        return started(source)
    _check_source(source)
    return source


def _check_source(source: Any) -> None:
    if _kinds.find(source):
        return
    kind = type(source).__name__
    if inspect.iscoroutine(source) or inspect.isawaitable(source):
        raise BlueprintError(
            "got something awaitable, such as crew.akickoff(). Give the crew itself: cnb.gather(crew_a, crew_b); "
            "it is kicked off for you."
        )
    if isinstance(source, list | set | Iterator):
        raise BlueprintError(f"got a {kind} where a crew was expected. Write cnb.gather(*crews), with the star.")
    if isinstance(source, Mapping | str | bytes | int | float) or source is None:
        raise BlueprintError(
            f"{short(source)} is not a crew. Give a Crew, a function that returns one, or the path of a definition."
        )
    if is_named(source, "BaseAgent"):
        raise BlueprintError(
            f"a {kind} cannot be started by itself. Write Crew(agents=[agent], tasks=[Task(..., agent=agent)])."
        )
    if is_named(source, "Task"):
        raise BlueprintError("a Task is not a Crew. Write Crew(agents=[task.agent], tasks=[task]).")
    if words := _starts(source):
        raise BlueprintError(words)
    if inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source):
        raise BlueprintError(
            f"{name_of(source)} is an async factory. Write a plain `def {name_of(source)}(...)` that returns the Crew; "
            "crews run in parallel anyway."
        )
    if not callable(source):
        builds = callable(getattr(source, "crew", None))
        line = f"`lambda: {kind}().crew()`" if builds else "a function that returns one"
        raise BlueprintError(f"a {kind} is not a crew. Give a Crew, or {line}.")
    if inspect.isclass(source):
        line = f"`lambda: {source.__name__}().crew()`" if hasattr(source, "crew") else "`lambda: ...`"
        raise BlueprintError(f"{source.__name__} is a class. Give a function that returns a Crew: {line}.")


_STARTS = re.compile("a?kickoff(_for_each)?(_async)?|train|test|replay|fork")
"""Methods that start what they belong to."""
_OUTSIDE = {
    "train": "It asks at the keyboard: write crew.train(n_iterations=2, filename='trained.pkl', inputs={...}) in a "
    "cell of its own. What it has learnt is in every run of a Crew(..., trained_agents_file='trained.pkl').",
    "test": "Write crew.test(n_iterations=2, eval_llm='openai/gpt-4o-mini', inputs={...}) in a cell of its own; or "
    "here, at once and with intervals: cnb.sweep(build_crew, inputs=[...], over={...}, scores=[cnb.judge(...)]).",
    "replay": "It knows the last kickoff only. Here a run goes on where it ended: batch.retry(), or the same cell with "
    "resume=True. crew.replay(task_id=...) in a cell of its own needs keep_replay=True at the launch.",
}
"""What CrewAI does beside kickoffs, and what to write for it."""


def _starts(source: Any) -> str:
    """What to write in the place of a crew's own `kickoff`, or of a function that only calls it; empty for others."""
    function = looked_through(source)
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    if owner is None or not _STARTS.fullmatch(name) or not is_crewais(owner):
        return ""
    kind = _kinds.find(owner)
    if name in _OUTSIDE:
        return f"{name} of a {kind.name if kind else type(owner).__name__} is no kickoff. {_OUTSIDE[name]}"
    return (
        f"{name} of a {kind.name if kind else type(owner).__name__} starts it, and its calls are paid before there is "
        "a run. Give the crew itself: cnb.kickoff(crew, inputs={...}) or cnb.kickoff_for_each(crew, inputs=[...])."
    )
