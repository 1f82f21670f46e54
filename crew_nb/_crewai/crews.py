"""The Crew as a kind of thing that can be kicked off: copied, or refused where a copy would lose something."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._crewai import copies as _copies
from crew_nb._crewai import fast as _fast
from crew_nb._crewai import goes_on as _goes_on
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import offload as _offload
from crew_nb._crewai.kind import Ask, Ready, claim
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.placeholders import NO_DATA, Data, fill_once
from crew_nb._crewai.projects import closed_for_others, closing_project, project_of
from crew_nb._crewai.twins import hear_sync
from crew_nb._state import events as ev
from crew_nb._state.errors import UnfaithfulCopyError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from inspect import Parameter

    from crewai import Crew, Task


class _Crews:
    """The Crew, as a kind."""

    name = "crew"
    arguments = frozenset({"input_files"})
    needs = frozenset[str]()
    takes_objects = False

    def owns(self, value: object) -> bool:
        """Whether it is a Crew."""
        module = sys.modules.get("crewai.crew")  # where nobody has loaded CrewAI, nothing is a Crew
        return module is not None and isinstance(value, module.Crew)

    def template(self, given: Crew) -> Crew:
        """A copy."""
        return self.copy(given)

    def copy(self, given: Crew) -> Crew:
        """One with agents and tasks of its own."""
        return isolated_copy(given)

    def adopt(self, built: Crew, begun: datetime.datetime, factory: Any) -> tuple[Crew, frozenset[int]]:
        """The crew of a factory; what was there before, or what another run has, goes on being used, and is copied."""
        parts = {id(part): part for part in (built, *agents_of(built), *built.tasks)}
        restored = built.checkpoint_kickoff_event_id is not None  # with the stamps of when it was made
        made = [part for part in claim(parts.values()) if restored or not made_before(part, begun)]
        if (project := closing_project(built)) is not None and not claim([project]):
            raise UnfaithfulCopyError(closed_for_others(project))
        if len(made) < len(parts):
            built = isolated_copy(built, made, by=factory)
        built.stream = False
        return built, frozenset(map(id, made))

    def settle(self, subject: Crew, data: Data, *, leave_unknown: bool) -> None:
        """Agents that two tasks at once would share, tools that count their uses, and the texts."""
        twins = _separate(subject)
        _count_uses_anew(subject)
        fill_once(subject, data, leave_unknown=leave_unknown, also=twins)

    def label(self, given: Crew) -> str:
        """Its name, or its agents' roles."""
        name = given.name if given.name and given.name != "crew" else ""
        return name or ", ".join(str(a.role).strip() for a in given.agents[:3]) or "crew"

    def placeholders(self, subject: Crew, data: Data = NO_DATA) -> set[str]:
        """The names in braces in its texts."""
        return data.names(subject)

    def parameters(self, subject: Any) -> list[Parameter]:
        """None."""
        return []

    def words_in_braces(self, subject: Crew, data: Data) -> list[str]:
        """The same with those that are no placeholders, braces and all."""
        return data.words_in_braces(subject)

    def reads(self, subject: Crew) -> set[str]:
        """A trigger's payload goes to the first task, and to others that ask for it."""
        tasks = subject.tasks
        first = subject.process.value == "sequential" and any(t.allow_crewai_trigger_context is None for t in tasks[:1])
        triggered = first or any(task.allow_crewai_trigger_context for task in tasks)
        return {"crew_chat_messages", *(["crewai_trigger_payload"] if triggered else [])}

    def takes_other_inputs(self, subject: Crew) -> bool:
        """Whether it has callbacks that come before the kickoff."""
        return bool(subject.before_kickoff_callbacks)

    def known_by(self, given: Crew) -> Any:
        """The crew."""
        return given

    def inputs(self, subject: Crew, inputs: dict[str, Any] | None, taken: set[str]) -> dict[str, Any] | None:
        """All of them."""
        return inputs

    def make_ready(self, subject: Crew, *, keep_replay: bool) -> Ready:
        """Give it the direct executor where that does the same; its plain functions and sync twins go to threads."""
        hear_sync(subject)
        why = _fast.why_not(subject)
        if not why:
            _fast.accelerate(subject, keep_replay=keep_replay)
        _fast.offload(subject)
        _goes_on.where_it_ended(subject)
        return Ready(
            steps=specs(subject),
            places={str(task.id): place for place, task in enumerate(subject.tasks)},
            llms=_crewai.llms(subject),
            tools=[tool for agent in subject.agents for tool in agent.tools or []],
            path="stock" if why else "direct",
            why=why,
        )

    def asks(self, subject: Crew) -> Literal["never", "maybe", "surely"]:
        """Whether a task has `human_input=True`."""
        return "surely" if any(task.human_input for task in subject.tasks) else "never"

    def let_ask(self, subject: Crew, ask: Ask) -> None:
        """Its tasks ask by CrewAI's provider."""

    async def start(self, subject: Crew, inputs: dict[str, Any] | None, how: Mapping[str, Any]) -> Any:
        """Its `CrewOutput`."""
        output: Any = await subject.akickoff(inputs=inputs, **{n: how[n] for n in self.arguments & set(how)})
        if not isinstance(output, _crewai.load().CrewOutput):
            raise TypeError(
                f"the crew gave back {type(output).__name__} instead of its CrewOutput. "
                "An after_kickoff callback must return the result that it is given, or nothing."
            )
        return output


CREW = _Crews()


def isolated_copy(crew: Crew, kept: Iterable[Any] = (), *, by: Any = None) -> Crew:
    """A copy of the crew with agents and tasks of its own; LLM objects and tools are shared with the original.

    Args:
        crew: It is not changed.
        kept: Parts of it that are ours already, and stay themselves.
        by: The factory that handed it out, if one did.

    Raises:
        UnfaithfulCopyError: When something of the crew would be lost, with what it is and what to write.
    """
    try:
        return _copies.isolated(crew, kept)
    except UnfaithfulCopyError as error:
        raise UnfaithfulCopyError(_unfaithful(str(error), crew, by)) from error.__cause__
    except Exception as error:
        raise UnfaithfulCopyError(_unfaithful(f"copying it failed ({error!r})", crew, by)) from error


def _separate(crew: Crew) -> list[Any]:
    """The agents that async tasks get of their own where they share one: an agent can be at one task at a time.

    CrewAI would raise "Executor is already running"; the crew is ours, and between tasks an agent keeps its limiter
    and its cache only, which its twins share.
    """
    had: set[int] = set()
    twins = []
    for task in crew.tasks:
        agent = task.agent
        if agent is None:
            continue
        if id(agent) in had and any(t.async_execution and t.agent is agent for t in crew.tasks):
            others = [part for part in (crew, *agents_of(crew), *crew.tasks) if part is not agent]
            task.agent = twin = _copies.Copies(others).of(agent)
            twin._rpm_controller = agent._rpm_controller
            if agent.cache_handler is not None:
                twin.set_cache_handler(agent.cache_handler)
            _offload.replace(twin, "get_delegation_tools", functools.partial(_but, agent))
            twins.append(twin)
        had.add(id(agent))
    return twins


def _but(agent: Any, tools_for: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An agent has no work for itself: its twin is told of all coworkers but the one that it stands for."""
    return lambda agents: tools_for([other for other in agents if other is not agent])


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


def _unfaithful(lost: str, crew: Crew, factory: Any) -> str:
    project = project_of(crew)
    if project is not None:
        line = f"`lambda: {type(project).__name__}().crew()`, which makes all of it anew for each run"
    elif factory is not None:
        name = getattr(factory, "__name__", "it")
        line = f"a function in which all agents and tasks are made: {name}() hands out some that were there before"
    else:
        line = (
            "a factory, which builds a fresh crew for each run:\n\n"
            "    def build_crew():\n        ...  # agents and tasks made here\n"
            "        return Crew(agents=[...], tasks=[...])\n\n"
            "and pass build_crew instead of the Crew"
        )
    return f"this Crew cannot be copied faithfully: {lost}. Give {line}."


def made_before(part: Any, moment: datetime.datetime) -> bool:
    """Whether it was there at that time."""
    made = getattr(getattr(part.security_config, "fingerprint", None), "created_at", None)
    return isinstance(made, type(moment)) and made < moment


def specs(crew: Crew) -> tuple[ev.TaskSpec, ...]:
    """Its tasks as they are before they start, with what each waits for."""
    return tuple(
        ev.TaskSpec(
            name=" ".join((task.name or task.description or "task").split())[
                :1_000
            ],  # a whole secret is known, half of one is not
            agent=str(getattr(task.agent, "role", "") or "").strip(),
            joins=joins,
            is_named=bool(task.name),
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
