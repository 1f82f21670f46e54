"""The Crew as a kind of thing that can be kicked off: copied, or refused where a copy would lose something."""

from __future__ import annotations

import contextlib
import datetime
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import fast as _fast
from crew_nb._crewai import names as _crewai
from crew_nb._crewai.inputs import PLACEHOLDER, short
from crew_nb._crewai.kind import Ready
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.twins import hear_sync
from crew_nb._state import events as ev
from crew_nb._state.errors import UnfaithfulCopyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crewai import Crew, Task

# What a copy takes over as it is: CrewAI would write it out and read it again, and warn that it is no data.
_TAKEN_OVER = frozenset(
    {"step_callback", "task_callback", "callback", "callbacks", "condition", "memory"}
    | {"before_kickoff_callbacks", "after_kickoff_callbacks"}
)

_claimed: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""Agents and tasks that a run has had, by id: a factory that hands one out again gets a copy of its crew."""

_claiming = threading.Lock()  # factories are called in many threads at once, and may share what they hand out


class _Crews:
    """The Crew, as a kind."""

    name = "crew"

    def owns(self, value: object) -> bool:
        """Whether it is a Crew."""
        module = sys.modules.get("crewai.crew")  # where nobody has loaded CrewAI, nothing is a Crew
        return module is not None and isinstance(value, module.Crew)

    def copy(self, given: Crew) -> Crew:
        """One with agents and tasks of its own."""
        return isolated_copy(given)

    def adopt(self, built: Crew, begun: datetime.datetime) -> Crew:
        """The crew of a factory, made the run's own."""
        parts = [built, *agents_of(built), *built.tasks]
        if not _claim(parts):
            built = isolated_copy(built)
        elif any(_made_before(part, begun) for part in parts):
            with contextlib.suppress(UnfaithfulCopyError):  # this run has it alone so far
                built = isolated_copy(built)  # it was there before: the user goes on using it
        built.stream = False
        return built

    def separate(self, subject: Crew) -> None:
        """Agents that two tasks at once would share, and tools that count their uses."""
        _separate(subject)
        _count_uses_anew(subject)

    def label(self, given: Crew) -> str:
        """Its name, or its agents' roles."""
        name = given.name if given.name and given.name != "crew" else ""
        return name or ", ".join(str(a.role).strip() for a in given.agents[:3]) or "crew"

    def placeholders(self, subject: Crew) -> set[str]:
        """The names in braces in its texts."""
        return placeholders(subject)

    def missing(self, subject: Crew, inputs: Mapping[str, Any] | None) -> list[str]:
        """Those that no input fills."""
        return _missing(subject, inputs)

    def takes_other_inputs(self, subject: Crew) -> bool:
        """Whether it has callbacks that come before the kickoff."""
        return bool(subject.before_kickoff_callbacks)

    def make_ready(self, subject: Crew, *, keep_replay: bool) -> Ready:
        """Give it the direct executor where that does the same; its plain functions and sync twins go to threads."""
        hear_sync(subject)
        why = _fast.why_not(subject)
        if not why:
            _fast.accelerate(subject, keep_replay=keep_replay)
        _fast.offload(subject)
        return Ready(
            steps=_specs(subject),
            places={str(task.id): place for place, task in enumerate(subject.tasks)},
            llms=_crewai.llms(subject),
            tools=[tool for agent in subject.agents for tool in agent.tools or []],
            path="stock" if why else "direct",
            why=why,
        )

    async def start(self, subject: Crew, inputs: dict[str, Any] | None) -> Any:
        """Its `CrewOutput`."""
        output: Any = await subject.akickoff(inputs=inputs)
        if not isinstance(output, _crewai.load().CrewOutput):
            raise TypeError(
                f"the crew gave back {type(output).__name__} instead of its CrewOutput. "
                "An after_kickoff callback must be a plain function and return the result that it is given."
            )
        return output


CREW = _Crews()


def isolated_copy(crew: Crew) -> Crew:
    """A copy of the crew with agents and tasks of its own; LLM objects and tools are shared with the original.

    `Crew.copy()` finds agents by role and tasks by text, so that equal ones are mixed up (CrewAI 1.15.30,
    task.py:1184, crew.py:2258), and it keeps the inputs of an earlier kickoff; both are put right by position here.

    Raises:
        UnfaithfulCopyError: When something of the crew would be lost, with what it is and the factory to write.
    """
    from crewai import Crew

    lost = _lost_by_copying(crew)
    if lost:
        raise UnfaithfulCopyError(_unfaithful(lost))
    crew = _still(crew)
    known = {id(agent) for agent in crew.agents}
    others = list({id(t.agent): t.agent for t in crew.tasks if t.agent and id(t.agent) not in known}.values())
    parts = (crew, *crew.agents, *others, *filter(None, [crew.manager_agent]), *crew.tasks)
    laid = {id(part): _lay_aside(part) for part in parts}
    try:
        # Agents that only a task names would be missed by the copy, so it is shown them too.
        twin = crew.model_copy(update={"agents": [*crew.agents, *others]}).copy()
    except Exception as error:
        raise UnfaithfulCopyError(_unfaithful(f"CrewAI could not copy it ({error})")) from error
    clones = {id(a): b for a, b in zip([*crew.agents, *others], twin.agents, strict=True)}
    twin.agents = twin.agents[: len(crew.agents)]
    if crew.manager_agent is not None and twin.manager_agent is not None:
        clones[id(crew.manager_agent)] = twin.manager_agent
    for agent, clone in _by_id(crew, clones):
        clone.llm = agent.llm
        for text in ("role", "goal", "backstory"):
            setattr(clone, text, getattr(agent, f"_original_{text}", None) or getattr(agent, text))
    tasks = {id(a): b for a, b in zip(crew.tasks, twin.tasks, strict=True)}
    for task, copy in zip(crew.tasks, twin.tasks, strict=True):
        copy.agent = clones[id(task.agent)] if task.agent is not None else None
        if isinstance(task.context, list):
            copy.context = [tasks[id(t)] for t in task.context if id(t) in tasks]
        for text in ("description", "expected_output", "output_file"):
            setattr(copy, text, getattr(task, f"_original_{text}", None) or getattr(task, text))
    for part, copy in [(crew, twin), *_by_id(crew, clones), *zip(crew.tasks, twin.tasks, strict=True)]:
        _put_back(copy, laid[id(part)])
    twin.stream = False  # a streaming crew hands out an iterator; tokens reach the board by events
    assert isinstance(twin, Crew)
    return twin


def _still(crew: Crew) -> Crew:
    """The crew as it is now: a run that has its parts, if a factory hands them out again, changes their texts."""
    agents = {id(a): a.model_copy() for a in agents_of(crew)}
    tasks = {id(t): t.model_copy(update={"agent": agents.get(id(t.agent))}) for t in crew.tasks}
    for task in tasks.values():
        if isinstance(task.context, list):
            task.context = [tasks[id(t)] for t in task.context]
    still = {"agents": [agents[id(a)] for a in crew.agents], "tasks": list(tasks.values())}
    return crew.model_copy(update={**still, "manager_agent": agents.get(id(crew.manager_agent))})


def _lay_aside(part: Any) -> dict[str, Any]:
    """What a copy takes over of an agent, a task or a crew; the part, which is ours, is left without it."""
    known = type(part).model_fields
    laid = {name: vars(part)[name] for name in _TAKEN_OVER if name in known and vars(part).get(name)}
    for name in laid:
        setattr(part, name, known[name].get_default(call_default_factory=True))
    return laid


def _put_back(copy: Any, laid: dict[str, Any]) -> None:
    for name, value in laid.items():
        if not vars(copy)[name]:  # CrewAI itself hands a crew's memory over
            setattr(copy, name, list(value) if isinstance(value, list) else value)


def _separate(crew: Crew) -> None:
    """Give each async task an agent of its own where it shares one: an agent can be at one task at a time.

    CrewAI would raise "Executor is already running"; the crew is ours, and an agent keeps nothing between tasks.
    """
    had: set[int] = set()
    for task in crew.tasks:
        agent = task.agent
        if agent is None:
            continue
        if id(agent) in had and any(t.async_execution and t.agent is agent for t in crew.tasks):
            bare = agent.model_copy()
            laid = _lay_aside(bare)
            twin = bare.copy()
            _put_back(twin, laid)
            twin.llm = agent.llm
            task.agent = twin
        had.add(id(agent))


def _count_uses_anew(crew: Crew) -> None:
    """Give the run its own copy of each tool with a `max_usage_count`: the count is kept in the tool."""
    own: dict[int, Any] = {}
    for part in (*agents_of(crew), *crew.tasks):
        tools = getattr(part, "tools", None) or []
        for tool in tools:
            if getattr(tool, "max_usage_count", None) is not None and id(tool) not in own:
                own[id(tool)] = twin = tool.model_copy(update={"current_usage_count": 0})
                own[id(twin)] = twin
        if any(id(tool) in own for tool in tools):
            part.tools = [own.get(id(tool), tool) for tool in tools]


def _by_id(crew: Crew, clones: Mapping[int, Any]) -> Iterator[tuple[Any, Any]]:
    for agent in agents_of(crew):
        yield agent, clones[id(agent)]


def _lost_by_copying(crew: Crew) -> str:
    """What `Crew.copy()` would lose of this crew, in words; empty where it is faithful."""
    from crewai import Crew
    from crewai.llms.base_llm import BaseLLM

    if type(crew) is not Crew:
        return f"it is a {type(crew).__name__}, and a copy would be a plain Crew"
    if crew.knowledge_sources or any(getattr(a, "knowledge_sources", None) for a in crew.agents):
        return "its knowledge sources would not be carried over whole"
    if isinstance(crew.function_calling_llm, BaseLLM) or any(
        isinstance(getattr(a, "function_calling_llm", None), BaseLLM) for a in crew.agents
    ):
        return "its function_calling_llm would be replaced by another one"
    if isinstance(crew.planning_llm, BaseLLM) and crew.planning:
        return "its planning_llm would be replaced by another one"
    in_crew = {id(t) for t in crew.tasks}
    for task in crew.tasks:
        if isinstance(task.context, list) and any(id(t) not in in_crew for t in task.context):
            return f"the task {short(task.description)} takes its context from a task outside the crew"
    return ""


def _unfaithful(lost: str) -> str:
    return (
        f"this Crew cannot be copied faithfully: {lost}. Give a factory, which builds a fresh crew for each run:\n\n"
        "    def build_crew():\n        ...  # agents and tasks made here\n"
        "        return Crew(agents=[...], tasks=[...])\n\n"
        "and pass build_crew instead of the Crew."
    )


def _made_before(part: Any, moment: datetime.datetime) -> bool:
    made = getattr(getattr(part.security_config, "fingerprint", None), "created_at", None)
    return isinstance(made, datetime.datetime) and made < moment


def _claim(parts: list[Any]) -> bool:
    """Whether no run had any of these before; they are this run's from now on."""
    with _claiming:
        if any(_claimed.get(id(part)) is part for part in parts):
            return False
        for part in parts:
            _claimed[id(part)] = part
        return True


def placeholders(crew: Crew) -> set[str]:
    """The names in braces in the crew's texts, which inputs fill."""
    found: set[str] = set()
    for task in crew.tasks:
        for text in (task.description, task.expected_output, task.output_file):
            found.update(PLACEHOLDER.findall(text or ""))
    for agent in crew.agents:
        for text in (agent.role, agent.goal, agent.backstory):
            found.update(PLACEHOLDER.findall(text or ""))
    return found


def _missing(crew: Crew, inputs: Mapping[str, Any] | None) -> list[str]:
    if crew.before_kickoff_callbacks:
        return []  # they may add inputs
    return sorted(placeholders(crew) - set(inputs or {}))


def _specs(crew: Crew) -> tuple[ev.TaskSpec, ...]:
    return tuple(
        ev.TaskSpec(
            name=" ".join((task.name or task.description or "task").split())[:80],
            agent=str(getattr(task.agent, "role", "") or "").strip(),
            joins=joins,
            is_async=bool(task.async_execution),
            asks_human=bool(task.human_input),
        )
        for task, joins in zip(crew.tasks, _joins(crew.tasks), strict=True)
    )


def _joins(tasks: Sequence[Task]) -> Iterator[tuple[int, ...]]:
    """For each task, those whose output reaches its prompt; of what all before it said, only what is new since."""
    places = {id(task): place for place, task in enumerate(tasks)}
    at_work: set[int] = set()
    taken: set[int] = set()
    for place, task in enumerate(tasks):
        if not task.async_execution:
            at_work.clear()  # CrewAI waits for them first
        if isinstance(task.context, list):
            joins = tuple(p for t in task.context if (p := places.get(id(t), place)) < place and p not in at_work)
        elif task.async_execution or not task.context:
            joins = ()  # CrewAI gives an async task nothing that it does not name (crewAI #6417)
        else:
            joins = tuple(p for p in range(place) if p not in taken)
        taken.update(joins)
        if task.async_execution:
            at_work.add(place)
        yield joins
