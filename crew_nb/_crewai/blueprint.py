"""What a user hands over (a Crew, a factory, inputs) becomes plans; a user's own Crew is never run.

A plan is refused before anything starts, with the line to write instead, unless each of its runs can have a crew of
its own.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import inspect
import os
import re
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from crew_nb._crewai.names import agents_of
from crew_nb._state.errors import BlueprintError, UnfaithfulCopyError
from crew_nb._state.secrets import SCRUBBER

if TYPE_CHECKING:
    from crewai import Crew

    CrewLike = Crew | Callable[..., Crew]

LABEL_KEPT = 200
"""Characters of a row's label."""
DEEPEST = 40
"""Levels of nesting that an input may have; what a run is known by follows some more."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)}")  # the names that CrewAI's interpolation knows

# What a copy takes over as it is: CrewAI would write it out and read it again, and warn that it is no data.
_TAKEN_OVER = frozenset(
    {"step_callback", "task_callback", "callback", "callbacks", "condition", "memory"}
    | {"before_kickoff_callbacks", "after_kickoff_callbacks"}
)

_claimed: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""Agents and tasks that a run has had, by id: a factory that hands one out again gets a copy of its crew."""


_claiming = threading.Lock()  # factories are called in many threads at once, and may share what they hand out


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run to be: the blueprint, its inputs, and its place."""

    index: int
    source: Any
    """The Crew or the factory as the user gave it."""
    inputs: Mapping[str, Any] | None
    label: str

    def build(self) -> Crew:
        """A crew of its own for this run; called in a worker thread, once per try.

        Raises:
            BlueprintError: When a factory returns something else than a Crew, or inputs miss a placeholder.
        """
        crew = isolated_copy(self.source) if _is_crew(self.source) else _call_factory(self.source, self.inputs)
        missing = [name for name in _missing(crew, self.inputs) if name not in self.braces | self.defaults]
        if missing:
            raise BlueprintError(_missing_text(missing, self.inputs, placeholders(crew)))
        if not crew.before_kickoff_callbacks:  # they may put something else in its place
            for name in placeholders(crew) & set(self.inputs or {}):
                plain_value((self.inputs or {})[name], name)
        _separate(crew)
        _count_uses_anew(crew)
        return crew

    def relabel(self, words: str) -> str:
        """The label `words` without what has become known as a secret since."""
        # Where it was cut short, half a secret may be left that would not be known again.
        return label(self.source, self.inputs) if len(words) >= LABEL_KEPT else SCRUBBER.scrub(words)

    @property
    def braces(self) -> dict[str, str]:
        """What stands in braces in the inputs themselves (LaTeX, code), each as its own value.

        A factory writes its inputs into the crew's texts, and CrewAI would take `{x}` in them for a placeholder.
        """
        if self.inputs is None or _is_crew(self.source):
            return {}
        texts = [str(v) for v in self._shown.values() if isinstance(v, str | list | dict)]
        return {name: f"{{{name}}}" for text in texts for name in _PLACEHOLDER.findall(text)}

    @property
    def kickoff_inputs(self) -> dict[str, Any] | None:
        """The inputs in the types that CrewAI's interpolation takes; the others are for the factory alone."""
        found = {**self.braces, **self.defaults, **self._shown}
        return found or (None if self.inputs is None else {})

    @property
    def defaults(self) -> dict[str, Any]:
        """What the factory takes where the inputs say nothing: a placeholder of the same name says the same."""
        if _is_crew(self.source):
            return {}
        return {name: value for name, value in _defaults(self.source).items() if name not in (self.inputs or {})}

    @property
    def _shown(self) -> dict[str, Any]:
        shown = {}
        for name, value in (self.inputs or {}).items():
            with contextlib.suppress(BlueprintError):  # bytes, an LLM object: an argument that is no text
                shown[name] = plain_value(value, name)
        return shown


def plans_for(crews: Iterable[Any]) -> list[Plan]:
    """One plan per crew of `gather`: a Crew, a factory, or a (crew, inputs) pair each.

    Raises:
        BlueprintError: When one of them is none of these, or its inputs do not fit.
    """
    given = list(crews)
    if not given:
        raise BlueprintError("gather() was given no crew. Write cnb.gather(crew_a, crew_b), or cnb.gather(*crews).")
    plans = []
    SCRUBBER.learn_environment()
    try:
        for index, item in enumerate(given):
            source, inputs = _pair(index, item) if isinstance(item, tuple) else (item, None)
            plans.append(_plan(index, source, inputs, where=f"crew {index}"))
    finally:
        for item in given:
            if inspect.iscoroutine(item):
                item.close()  # refused, and nobody else will await it
    return plans


def _pair(index: int, given: tuple[Any, ...]) -> tuple[Any, Any]:
    if len(given) != 2 or isinstance(given[0], Mapping):
        what = f"a tuple of {len(given)}" if len(given) != 2 else "a pair that begins with the inputs"
        raise BlueprintError(f"crew {index}: {what} is no pair of a crew and its inputs. Write (crew, inputs).")
    return given[0], given[1]


def plans_for_each(source: Any, inputs: Any) -> list[Plan]:
    """One plan per input of `kickoff_for_each`: a list of dicts, a DataFrame, or any iterable of mappings.

    Raises:
        BlueprintError: When the crew or one of the inputs cannot be run.
    """
    rows = _rows(inputs)
    check_source(source)
    return plans_from(template(source), rows)


def plans_from(blueprint: Any, rows: Iterable[Any]) -> list[Plan]:
    """One plan per input, of a blueprint that was checked and copied before.

    Raises:
        BlueprintError: When one of the inputs cannot be run.
    """
    SCRUBBER.learn_environment()
    return [_plan(i, blueprint, row, where=f"inputs[{i}]", checked=True) for i, row in enumerate(rows)]


def template(source: Any) -> Any:
    """The blueprint as it is now: what the user does to the Crew later does not reach the queued runs."""
    if not _is_crew(source):
        return source
    SCRUBBER.learn_from(source)  # before the inputs are shown and kept: its keys may stand in them
    return isolated_copy(source)


def check_source(source: Any) -> None:
    """Refuse what is neither a Crew nor a factory.

    Raises:
        BlueprintError: With what it is and what to write instead.
    """
    if _is_crew(source):
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
        raise BlueprintError(f"{_short(source)} is not a crew. Give a Crew, or a function that returns one.")
    if _named(source, "Flow"):
        raise BlueprintError(
            "a Flow is not a Crew. Run it with `await flow.kickoff_async()`, or give the crews that it kicks off."
        )
    if _named(source, "BaseAgent"):
        raise BlueprintError("an Agent is not a Crew. Write Crew(agents=[agent], tasks=[Task(..., agent=agent)]).")
    if _named(source, "Task"):
        raise BlueprintError("a Task is not a Crew. Write Crew(agents=[task.agent], tasks=[task]).")
    if inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source):
        raise BlueprintError(
            f"{_name(source)} is an async factory. Write a plain `def {_name(source)}(...)` that returns the Crew; "
            "crews run in parallel anyway."
        )
    if not callable(source):
        method = getattr(source, "crew", None)
        hint = f" Give its method: {kind}().crew" if callable(method) else ""
        raise BlueprintError(f"a {kind} is not a crew. Give a Crew, or a function that returns one.{hint}")
    if inspect.isclass(source):
        raise BlueprintError(
            f"{source.__name__} is a class. Give a function that returns a Crew, "
            f"such as {source.__name__}().crew or `lambda: ...`."
        )


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
            return f"the task {_short(task.description)} takes its context from a task outside the crew"
    return ""


def _unfaithful(lost: str) -> str:
    return (
        f"this Crew cannot be copied faithfully: {lost}. Give a factory, which builds a fresh crew for each run:\n\n"
        "    def build_crew():\n        ...  # agents and tasks made here\n"
        "        return Crew(agents=[...], tasks=[...])\n\n"
        "and pass build_crew instead of the Crew."
    )


def built(factory: Callable[..., Any], inputs: Mapping[str, Any] | None) -> Crew:
    """What the factory returns for these inputs.

    Raises:
        BlueprintError: When that is no Crew, or an input is missing.
    """
    crew = factory(**factory_arguments(factory, inputs or {}))
    if inspect.iscoroutine(crew):
        crew.close()
        raise BlueprintError(f"{_name(factory)}() returned a coroutine. Write a plain function that returns the Crew.")
    if not _is_crew(crew):
        got = "nothing (is its `return` missing?)" if crew is None else f"a {type(crew).__name__}"
        raise BlueprintError(f"{_name(factory)}() returned {got}. A factory returns a crewai.Crew.")
    return crew  # type: ignore[no-any-return]


def _call_factory(factory: Callable[..., Any], inputs: Mapping[str, Any] | None) -> Crew:
    begun = datetime.datetime.now()  # in local time, as CrewAI's own stamps are
    crew = built(factory, inputs)
    parts = [crew, *agents_of(crew), *crew.tasks]
    if not _claim(parts):
        crew = isolated_copy(crew)
    elif any(_made_before(part, begun) for part in parts):
        with contextlib.suppress(UnfaithfulCopyError):  # this run has it alone so far
            crew = isolated_copy(crew)  # it was there before: the user goes on using it
    crew.stream = False
    return crew


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


def factory_arguments(factory: Callable[..., Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the inputs that the factory's signature takes by name.

    Raises:
        BlueprintError: When a parameter without a default has no input.
    """
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # builtins tell no signature
        return {}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        named = {p.name for p in parameters if p.kind is p.POSITIONAL_ONLY}
        return {k: _own(v) for k, v in inputs.items() if k not in named}
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in by_name if p.default is p.empty and p.name not in inputs]
    if missing:
        raise BlueprintError(_missing_text(missing, inputs, {p.name for p in by_name}, of=f"{_name(factory)}()"))
    unnamed = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if unnamed:
        raise BlueprintError(
            f"{_name(factory)}() takes {', '.join(unnamed)} by position only, and inputs are given by name. "
            f"Write def {_name(factory)}({', '.join(unnamed)}), without the slash."
        )
    return {p.name: _own(inputs[p.name]) for p in by_name if p.name in inputs}


def _own(value: Any) -> Any:
    """The value with lists and dicts of its own: a factory may change what it is given, and is called for each try."""
    if type(value) is dict:
        return {k: _own(v) for k, v in value.items()}
    return [_own(v) for v in value] if type(value) is list else value


def _defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a factory's parameters that a prompt can show."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # builtins tell no signature
        return {}
    shown = {}
    for parameter in parameters:
        if parameter.default is not parameter.empty and parameter.default is not None:
            with contextlib.suppress(BlueprintError):  # an LLM object, say
                shown[parameter.name] = plain_value(parameter.default, parameter.name)
    return shown


def placeholders(crew: Crew) -> set[str]:
    """The names in braces in the crew's texts, which inputs fill."""
    found: set[str] = set()
    for task in crew.tasks:
        for text in (task.description, task.expected_output, task.output_file):
            found.update(_PLACEHOLDER.findall(text or ""))
    for agent in crew.agents:
        for text in (agent.role, agent.goal, agent.backstory):
            found.update(_PLACEHOLDER.findall(text or ""))
    return found


def _missing(crew: Crew, inputs: Mapping[str, Any] | None) -> list[str]:
    if crew.before_kickoff_callbacks:
        return []  # they may add inputs
    return sorted(placeholders(crew) - set(inputs or {}))


def idle_inputs(plan: Plan, crew: Crew) -> str:
    """In words, that no input of the plan reaches its Crew object; empty where one does, or a callback may use them."""
    names = set(plan.inputs or {})
    if callable(plan.source) or not names or names & placeholders(crew) or crew.before_kickoff_callbacks:
        return ""
    braces = " or ".join(f"{{{name}}}" for name in sorted(map(str, names)))
    return (
        f"No text of the crew has {braces}: the inputs change nothing, and all runs ask the same. "
        "Write it into a task's description, or pass the function that builds the crew."
    )


def _missing_text(missing: list[str], inputs: Mapping[str, Any] | None, taken: set[str], of: str = "the crew") -> str:
    names = ", ".join(missing)
    example = ", ".join(f'"{name}": ...' for name in [*(k for k in inputs or {} if k in taken), *missing])
    given = f"the inputs have only {', '.join(map(str, inputs))}" if inputs else "no inputs were given"
    return f"{of} needs {names}, but {given}. Write inputs={{{example}}}."


def _plan(index: int, source: Any, inputs: Any, *, where: str, checked: bool = False) -> Plan:
    try:
        if not checked:
            check_source(source)
        if inputs is not None:
            if isinstance(inputs, list | tuple) and inputs and isinstance(inputs[0], Mapping):
                raise BlueprintError(
                    f"inputs are a {type(inputs).__name__} of {len(inputs)}, and one run takes one dict. "
                    "Write cnb.kickoff_for_each(crew, inputs) to run the crew once for each."
                )
            if not isinstance(inputs, Mapping):
                raise BlueprintError(
                    f'inputs are {_short(inputs)}, not a dict of names and values. Write {{"topic": {inputs!r:.60}}}.'
                )
            for key in inputs:
                if not isinstance(key, str):
                    raise BlueprintError(
                        f'the input name {key!r} is not a string. Write {{"{key}": ...}}; '
                        "of a DataFrame, df.rename(columns={" + f"{key!r}: " + '"topic"}).'
                    )
        # What a factory takes by name may be any object.
        own = {} if _is_crew(source) else factory_arguments(source, inputs or {})
        for key, value in (inputs or {}).items():
            if key in own:
                _learn_secrets(value)
            else:
                plain_value(value, key)
        if _is_crew(source):
            missing = _missing(source, inputs)
            if missing:
                raise BlueprintError(_missing_text(missing, inputs, placeholders(source)))
            if not checked:
                source = template(source)
    except BlueprintError as error:
        raise type(error)(f"{where}: {error}") from error.__cause__
    except RecursionError:
        raise BlueprintError(f"{where}: the inputs are nested too deep, or hold themselves.") from None
    return Plan(
        index=index, source=source, inputs=None if inputs is None else dict(inputs), label=label(source, inputs)
    )


def label(source: Any, inputs: Mapping[str, Any] | None) -> str:
    """A row's name for people: its inputs, or the crew's name."""
    if inputs:
        # Before it is cut: a part of a secret would not be known again.
        text = ", ".join(f"{k}={_one_line(v)}" for k, v in SCRUBBER.scrub_inputs(inputs).items())
    elif _is_crew(source):
        name = source.name if source.name and source.name != "crew" else ""
        text = name or ", ".join(str(a.role).strip() for a in source.agents[:3]) or "crew"
    else:
        text = _name(source)
    return text if len(text) <= LABEL_KEPT else text[: LABEL_KEPT - 1] + "…"


def plain_value(value: Any, key: str = "", depth: int = 0) -> Any:
    """The value in a type that CrewAI's interpolation takes (str, int, float, bool, None, lists and dicts of these).

    Dates, paths, URLs, decimals, enums, sets, NumPy values, dataclasses and pydantic models are turned into the nearest
    of them.

    Raises:
        BlueprintError: When there is no such type, or more than `DEEPEST` levels, with what to write instead.
    """

    def inner(item: Any) -> Any:
        return plain_value(item, key, depth + 1)

    if depth > DEEPEST:
        raise BlueprintError(f"the input {key} is nested more than {DEEPEST} levels deep. Give its text.")
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, enum.Enum)):
        return value if type(value).__module__ == "builtins" or value is None else _unbox(value)
    if isinstance(value, Mapping):
        return {str(k): inner(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [inner(v) for v in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, enum.Enum):
        return inner(value.value)
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, os.PathLike | decimal.Decimal | uuid.UUID | datetime.timedelta):
        return str(value)
    package = type(value).__module__.partition(".")[0]
    if package in ("numpy", "pandas"):
        return inner(value.tolist()) if hasattr(value, "tolist") else str(value)
    if package == "ipaddress" or type(value).__module__ == "pydantic.networks":
        return str(value)
    if _named(value, "BaseFile") or type(value).__module__.startswith("crewai_files"):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: inner(getattr(value, field.name)) for field in fields(value)}
    if hasattr(type(value), "model_fields") and not _is_crewais(value):
        content = {name: vars(value).get(name) for name in type(value).model_fields}
        return inner(content["root"] if set(content) == {"root"} else {**content, **(value.model_extra or {})})
    name = f'"{key}": ' if key else ""
    raise BlueprintError(
        f"the input {key or _short(value)} is a {type(value).__name__}, which a prompt cannot show. "
        f"Write {{{name}str(...)}} or give its text."
    )


def _unbox(value: Any) -> Any:
    """A NumPy scalar or a str/int/float subclass as the plain type."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _rows(inputs: Any) -> list[Any]:
    rows: list[Any]
    if isinstance(inputs, Mapping):
        raise BlueprintError(
            "inputs is one dict. Write inputs=[{...}, {...}], a list with one dict per run "
            "(or cnb.kickoff(crew, inputs={...}) for one)."
        )
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
        raise BlueprintError(
            f'inputs is {_short(inputs)}. Write inputs=[{{"topic": "AI"}}, ...], a list with one dict per run.'
        )
    if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):
        rows = inputs.to_dict("records")
    elif hasattr(inputs, "to_dicts"):  # polars
        rows = inputs.to_dicts()
    else:
        rows = list(inputs)
    if not rows:
        raise BlueprintError(
            "inputs is empty: there is nothing to run. Write inputs=[{...}], a list with one dict per run."
        )
    return rows


def _is_crew(value: Any) -> bool:
    module = sys.modules.get("crewai.crew")  # where nobody has loaded CrewAI, nothing is a Crew
    return module is not None and isinstance(value, module.Crew)


def _is_crewais(value: Any) -> bool:
    """Whether it is an LLM, an agent or another of CrewAI's objects, which are models but no data."""
    return any(c.__module__.partition(".")[0] == "crewai" for c in type(value).__mro__)


def _named(value: Any, name: str) -> bool:
    return any(c.__name__ == name and c.__module__.startswith("crewai") for c in type(value).__mro__)


def _name(source: Any) -> str:
    return str(getattr(source, "__name__", None) or getattr(type(source), "__name__", "factory"))


def _short(value: Any) -> str:
    text = repr(value)
    return f"{text[:57]}…" if len(text) > 60 else text


def _one_line(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    try:
        shown = type(value).__name__ if _is_crewais(value) else str(value)
    except Exception:  # a user's class may raise anything
        shown = type(value).__name__
    return " ".join(SCRUBBER.scrub(shown).split())


def _learn_secrets(value: Any, depth: int = 0) -> None:
    """Let the objects in an input tell which of their fields are secret; dicts are looked through for that anyway."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple | set | frozenset):
        SCRUBBER.learn_from(value)
    elif depth < DEEPEST:
        for item in value:
            _learn_secrets(item, depth + 1)
