"""What a user hands over (a Crew, a factory, inputs) becomes plans; a user's own Crew is never run.

A plan is refused before anything starts, with the line to write instead, unless each of its runs can have a crew of
its own.
"""

from __future__ import annotations

import contextlib
import datetime
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai.callables import looked_through
from crew_nb._crewai.definitions import is_definition, started
from crew_nb._crewai.inputs import (
    Copies,
    check_lasting,
    check_there,
    is_crewais,
    is_file,
    is_named,
    one_line,
    own,
    plain_value,
    row_keys,
    rows_of,
    short,
)
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.placeholders import Data, filled, names_in
from crew_nb._crewai.projects import closed_for_others, closing_project
from crew_nb._state import labels
from crew_nb._state.errors import BlueprintError, CrewNbError, UnfaithfulCopyError
from crew_nb._state.secret_looks import HIDDEN
from crew_nb._state.secrets import Secrets, learn_environment

if TYPE_CHECKING:
    import os

    from crewai import Agent, Crew, Flow
    from crewai.flow.flow_definition import FlowDefinition
    from crewai.project import CrewDefinition

    from crew_nb._crewai.inputs import Key
    from crew_nb._crewai.kind import Kind
    from crew_nb._state.events import TaskSpec

    Definition = str | os.PathLike[str] | Mapping[str, Any] | CrewDefinition | FlowDefinition
    Startable = Crew | Agent | Flow[Any] | type[Flow[Any]] | Definition
    CrewLike = Startable | Callable[..., Startable]

STEP_KEPT = 80
"""Characters of a task's text in a label."""

Verb = Literal["kickoff", "gather", "kickoff_for_each"]

_ADVICE: dict[Verb, str] = {
    "kickoff": "inputs={inputs}",
    "gather": "a pair: (crew, {inputs})",
    "kickoff_for_each": "inputs=[{inputs}, ...]",
}
"""How inputs are given to a verb."""

BRACES_MEANT = "For braces that are meant as they are, give them as the value: {meant}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run to be: the blueprint, its inputs, and its place."""

    index: int
    source: Any
    """The Crew or the factory as the user gave it."""
    inputs: Mapping[str, Any] | None
    label: str
    verb: Verb = "kickoff"
    """What it was given to."""
    how: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of its kickoff: `input_files`, `response_format`, and the models that it is on, `llms`."""
    parts: tuple[labels.Part, ...] = ()
    """What the label is made of, where that is inputs."""
    columns: tuple[labels.Column, ...] = ()
    """What tells it from the other rows."""
    key: Key | None = None
    """What the index that came in calls its row."""
    turn: tuple[int, ...] = ()
    """When it starts among those of its batch: in this order, and where it is the same in that of their places."""
    factors: frozenset[str] = frozenset()
    """The inputs that a sweep varies, and that are to change something."""

    def build(self) -> Any:
        """What is run, this run's own; called in a worker thread, once per try.

        Raises:
            BlueprintError: When a factory returns something else than a Crew, or inputs miss a placeholder.
        """
        given = _kinds.find(self.source)
        if given is not None:
            subject, written = given.copy(self.source), frozenset[int]()
        else:
            subject, written = _call_factory(self.source, self.inputs)
        kind = given or _kinds.kind_of(subject)
        data = Data(self._taken, written)
        if not kind.takes_other_inputs(subject):
            names = kind.placeholders(subject, data)
            missing = sorted(names - set(self.inputs or {}) - set(self.defaults))
            if missing and (not self.is_taken or kind.needs & set(missing)):
                raise BlueprintError(_missing_text(missing, self.inputs, names, self.verb, BRACES_MEANT))
            reached = {
                *names,
                *kind.reads(subject),
                *({} if given else factory_arguments(self.source, self.inputs or {})),
            }
            if unused := sorted(self.factors - reached):
                raise BlueprintError(_unused_text(unused))
            for name in names & set(self.inputs or {}):
                plain_value((self.inputs or {})[name], name)
        kind.settle(subject, data, leave_unknown=self.is_taken)
        return subject

    @property
    def is_taken(self) -> bool:
        """Whether no input is left for the crew's own texts: what is in braces there is no placeholder."""
        if _kinds.find(self.source):
            return not self.inputs
        return set(self.inputs or {}) <= set(factory_arguments(self.source, self.inputs or {}))

    def relabel(
        self, words: str, columns: tuple[labels.Column, ...], secrets: Secrets
    ) -> tuple[str, tuple[labels.Column, ...]]:
        """The label `words` and the columns without what has become known as a secret since."""
        if "…" not in words or not self.parts or not self.inputs:
            return secrets.scrub(words), tuple(map(secrets.scrub_fields, columns))
        # Where it was cut short, half a secret may be left that would not be known again.
        row = _row(self.inputs, secrets)
        whole = [replace(part, skip=0) if HIDDEN in row.get(part.name, "") else part for part in self.parts]
        whole = [part for part in whole if part.name in row]
        cells = {part.name: part.shown(row[part.name]) for part in whole}
        anew = (replace(c, value=cells.get(c.name, secrets.scrub(c.value))) for c in columns)
        return labels.label(whole, row), tuple(anew)

    def kickoff_inputs(self, kind: Kind, subject: Any) -> dict[str, Any] | None:
        """The inputs of its kickoff, in the types that CrewAI's interpolation takes where that fills them in."""
        if kind.takes_objects:
            given = None if self.inputs is None else {k: own(v) for k, v in self.inputs.items()}
            taken = set() if _kinds.find(self.source) else set(factory_arguments(self.source, self.inputs or {}))
            return kind.inputs(subject, given, taken)
        found = {**self.defaults, **self._shown}
        return found or (None if self.inputs is None else {})

    @property
    def defaults(self) -> dict[str, Any]:
        """What the factory takes where the inputs say nothing: a placeholder of the same name says the same."""
        if _kinds.find(self.source):
            return {}
        return {name: value for name, value in _defaults(self.source).items() if name not in (self.inputs or {})}

    @property
    def _taken(self) -> dict[str, Any]:
        """What a factory takes by name, as far as a prompt can show it."""
        if _kinds.find(self.source):
            return {}
        taken = factory_arguments(self.source, self.inputs or {})
        return {name: value for name, value in self._shown.items() if name in taken}

    @property
    def _shown(self) -> dict[str, Any]:
        shown = {}
        for name, value in (self.inputs or {}).items():
            with contextlib.suppress(BlueprintError):  # bytes, an LLM object: an argument that is no text
                shown[name] = plain_value(value, name)
        return shown


def plans_for(crews: Iterable[Any], verb: Verb = "gather") -> list[Plan]:
    """One plan per crew of `gather`: a Crew, a factory, or a (crew, inputs) pair each.

    Raises:
        BlueprintError: When one of them is none of these, or its inputs do not fit.
    """
    given = list(crews)
    if not given:
        raise BlueprintError("gather() was given no crew. Write cnb.gather(crew_a, crew_b); a list after * is empty.")
    plans = []
    copies = Copies()
    learn_environment()
    try:
        for index, item in enumerate(given):
            source, inputs = _pair(index, item) if isinstance(item, tuple) else (item, None)
            with _looking_at(f"crew {index}"):
                plans.append(_plan(index, source, inputs, where=f"crew {index}", verb=verb, copies=copies))
        _refuse_shared_servers(plans)
    finally:
        for item in given:
            if inspect.iscoroutine(item):
                item.close()  # refused, and nobody else will await it
    return _labelled(plans)


def _pair(index: int, given: tuple[Any, ...]) -> tuple[Any, Any]:
    if len(given) != 2 or (isinstance(given[0], Mapping) and not is_definition(given[0])):
        what = f"a tuple of {len(given)}" if len(given) != 2 else "a pair that begins with the inputs"
        raise BlueprintError(f"crew {index}: {what} is no pair of a crew and its inputs. Write (crew, inputs).")
    return given[0], given[1]


def plans_for_each(source: Any, inputs: Any) -> list[Plan]:
    """One plan per input of `kickoff_for_each`: a list of dicts, a DataFrame, an iterable of mappings, a grid.

    Raises:
        BlueprintError: When the crew or one of the inputs cannot be run.
    """
    rows = rows_of(inputs)
    source = startable(source)
    if len(rows) > 1 and (project := closing_project(source)) is not None:
        raise UnfaithfulCopyError(closed_for_others(project))
    keys = row_keys(inputs)
    plans = plans_from(template(source), rows, from_frame=hasattr(inputs, "columns"))
    return plans if keys is None else [replace(plan, key=key) for plan, key in zip(plans, keys, strict=True)]


def plans_from(blueprint: Any, rows: Iterable[Any], *, from_frame: bool = False) -> list[Plan]:
    """One plan per input, of a blueprint that was checked and copied before.

    Args:
        blueprint: What is run.
        rows: The inputs of each run.
        from_frame: Whether they are those of a table, where None is a missing value.

    Raises:
        BlueprintError: When one of the inputs cannot be run.
    """
    learn_environment()
    verb: Verb = "kickoff_for_each"
    copies = Copies()
    plans = []
    for i, row in enumerate(rows):
        where = f"inputs[{i}]"
        with _looking_at(where):
            plans.append(
                _plan(i, blueprint, row, where=where, verb=verb, copies=copies, checked=True, from_frame=from_frame)
            )
    with _looking_at("inputs"):
        plans[:] = _labelled(plans)
    return plans


@contextlib.contextmanager
def _looking_at(where: str) -> Iterator[None]:
    """Say whose value it is that raises when it is looked at."""
    try:
        yield
    except CrewNbError:
        raise
    except Exception as error:
        raise BlueprintError(
            f"{where}: a value cannot be looked at, its class raises {type(error).__name__}. Give its text, or what it "
            "holds, in its place."
        ) from error


def _refuse_shared_servers(plans: list[Plan]) -> None:
    known: list[Any] = []
    for plan in plans:
        if (project := closing_project(plan.source)) is None:
            continue
        if any(project is other for other in known):
            raise UnfaithfulCopyError(f"crew {plan.index}: {closed_for_others(project)}")
        known.append(project)


def with_arguments(plans: list[Plan], how: Mapping[str, Any]) -> list[Plan]:
    """The plans with further arguments of their kickoff.

    Raises:
        BlueprintError: When what is started takes no such argument.
    """
    if "response_format" in how:
        for plan in plans:
            kind = _kinds.find(plan.source)
            if kind is not None and "response_format" not in kind.arguments:
                raise BlueprintError(
                    f"response_format= is for an Agent. For a {kind.name}, write output_pydantic=... on its last task."
                )
    return [replace(plan, how={**plan.how, **how}) for plan in plans] if how else plans


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
            f"{_name(source)} is an async factory. Write a plain `def {_name(source)}(...)` that returns the Crew; "
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


def built(factory: Callable[..., Any], inputs: Mapping[str, Any] | None) -> Any:
    """What the factory returns for these inputs.

    Raises:
        BlueprintError: When that is no Crew, or an input is missing.
    """
    crew = factory(**factory_arguments(factory, inputs or {}))
    if inspect.iscoroutine(crew):
        crew.close()
        raise BlueprintError(f"{_name(factory)}() returned a coroutine. Write a plain function that returns the Crew.")
    if _kinds.find(crew) is None:
        got = "nothing (is its `return` missing?)" if crew is None else f"a {type(crew).__name__}"
        raise BlueprintError(f"{_name(factory)}() returned {got}. A factory returns a Crew, a Flow or an Agent.")
    return crew


def _call_factory(factory: Callable[..., Any], inputs: Mapping[str, Any] | None) -> tuple[Any, frozenset[int]]:
    begun = datetime.datetime.now()  # in local time, as CrewAI's own stamps are
    subject = built(factory, inputs)
    return _kinds.kind_of(subject).adopt(subject, begun, factory)


def factory_arguments(factory: Callable[..., Any], inputs: Mapping[str, Any], verb: Verb = "kickoff") -> dict[str, Any]:
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
        return {k: own(v) for k, v in inputs.items() if k not in named}
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in by_name if p.default is p.empty and p.name not in inputs]
    if missing:
        raise BlueprintError(_missing_text(missing, inputs, {p.name for p in by_name}, verb, of=f"{_name(factory)}()"))
    unnamed = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if unnamed:
        raise BlueprintError(
            f"{_name(factory)}() takes {', '.join(unnamed)} by position only, and inputs are given by name. "
            f"Write def {_name(factory)}({', '.join(unnamed)}), without the slash."
        )
    return {p.name: own(inputs[p.name]) for p in by_name if p.name in inputs}


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


def idle_inputs(plan: Plan, subject: Any) -> str:
    """In words, that no input of the plan reaches its Crew object; empty where one does, or a callback may use them."""
    names = set(plan.inputs or {})
    kind = _kinds.find(plan.source)
    if kind is None or not names or kind.takes_other_inputs(subject):
        return ""
    files = {name for name, value in (plan.inputs or {}).items() if is_file(value)}
    if names & (kind.placeholders(subject) | kind.reads(subject) | files):
        return ""
    braces = " or ".join(f"{{{name}}}" for name in sorted(map(str, names)))
    return (
        f"No text of the crew has {braces}: the inputs change nothing, and all runs ask the same. "
        "Write it into a task's description, or pass the function that builds the crew."
    )


def named(step: TaskSpec, inputs: Mapping[str, Any], secrets: Secrets) -> TaskSpec:
    """A step whose name says with which inputs: a task without a name is called by its text."""
    return replace(step, name=filled(step.name, _row(inputs, secrets))) if "{" in step.name else step


def roles(crew: Any, inputs: Mapping[str, Any]) -> set[str]:
    """The roles of a crew's agents, filled in."""
    row = _row(inputs)
    return {filled(agent.role, row) for agent in agents_of(crew)}


def unfilled(plan: Plan, subject: Any) -> str:
    """In words, what stays in braces in the subject's texts as no input is there for it; empty where nothing does."""
    kind = _kinds.kind_of(subject)
    if not plan.is_taken or kind.takes_other_inputs(subject):
        return ""
    known = {f"{{{name}}}" for name in plan.kickoff_inputs(kind, subject) or {}}
    braces = [words for words in kind.words_in_braces(subject, Data(plan._taken)) if words not in known]
    if not braces:
        return ""
    names = [name for words in braces for name in names_in(words)]
    return f"Nothing was filled in for {', '.join(braces)}: no input has that name, and the text went out as it is." + (
        f" Where it is a placeholder, write {_given(names, plan.verb)}." if names else ""
    )


def _given(names: Iterable[str], verb: Verb) -> str:
    return _ADVICE[verb].replace("{inputs}", "{" + ", ".join(f'"{name}": ...' for name in names) + "}")


def _missing_text(
    missing: list[str],
    inputs: Mapping[str, Any] | None,
    taken: set[str],
    verb: Verb,
    more: str = "",
    of: str = "the crew",
) -> str:
    names = ", ".join(missing)
    given = f"the inputs have only {', '.join(map(str, inputs))}" if inputs else "no inputs were given"
    write = _given([*(k for k in inputs or {} if k in taken), *missing], verb)
    meant = ", ".join(f'"{name}": "{{{name}}}"' for name in missing)
    return f"{of} needs {names}, but {given}. Write {write}. {more.replace('{meant}', meant)}".strip()


def _unused_text(factors: list[str]) -> str:
    names = ", ".join(factors)
    return f"the factor {names} changes nothing: no parameter of the function and no text of the crew has that name."


def _plan(
    index: int,
    source: Any,
    inputs: Any,
    *,
    where: str,
    verb: Verb,
    copies: Copies | None = None,
    checked: bool = False,
    from_frame: bool = False,
) -> Plan:
    try:
        if not checked:
            source = startable(source)
        if inputs is not None:
            if isinstance(inputs, list | tuple) and inputs and isinstance(inputs[0], Mapping):
                raise BlueprintError(
                    f"inputs are a {type(inputs).__name__} of {len(inputs)}, and one run takes one dict. "
                    "Write cnb.kickoff_for_each(crew, inputs) to run the crew once for each."
                )
            if not isinstance(inputs, Mapping):
                raise BlueprintError(
                    f'inputs are {short(inputs)}, not a dict of names and values. Write {{"topic": {inputs!r:.60}}}.'
                )
            for key in inputs:
                if not isinstance(key, str):
                    raise BlueprintError(
                        f'the input name {key!r} is not a string. Write {{"{key}": ...}}; '
                        "of a DataFrame, df.rename(columns={" + f"{key!r}: " + '"topic"}).'
                    )
        # What a factory takes by name may be any object.
        kind = _kinds.find(source)
        taken = factory_arguments(source, inputs or {}, verb) if kind is None else {}
        # A column that no text of the crew names may have gaps; of a factory nobody knows what it names.
        known = None if kind is None or kind.takes_other_inputs(source) else kind.placeholders(source)
        for key, value in (inputs or {}).items():
            if known is None or key in known:
                check_there(value, key, from_frame=from_frame)
            if key in taken or (kind is not None and kind.takes_objects):
                check_lasting(value, key)
            else:
                plain_value(value, key)
        if kind is not None:
            names = kind.placeholders(source)
            missing = sorted(names - set(inputs or {}))
            if missing and (inputs or kind.needs) and not kind.takes_other_inputs(source):
                raise BlueprintError(_missing_text(missing, inputs, names, verb, BRACES_MEANT))
            if not checked:
                source = template(source)
        copies = copies or Copies()
        given = None if inputs is None else {key: copies.of(value) for key, value in inputs.items()}
    except BlueprintError as error:
        raise type(error)(f"{where}: {error}") from error.__cause__
    except RecursionError:
        raise BlueprintError(f"{where}: the inputs are nested too deep, or hold themselves.") from None
    return Plan(index=index, source=source, inputs=given, label="", verb=verb)


def _labelled(plans: list[Plan]) -> list[Plan]:
    """The plans, each with a label for people that tells it from the others: by its inputs, or by what is run."""
    rows = [_row(plan.inputs or {}) for plan in plans]
    bound = {n: _row(_bound(plan.source)) for n, plan in enumerate(plans) if not rows[n]}
    first = labels.telling(bound.values())
    kind = _kind_of_all(plans)
    for n, row in bound.items():
        rows[n] = {name: row[name] for name in first if name in row}
    parts = labels.parts(rows)
    telling = labels.telling(rows)
    words = [
        labels.label(part, row) if row else _title(plan.source)
        for plan, part, row in zip(plans, parts, rows, strict=True)
    ]
    columns = [
        labels.columns(part, row, telling) if row else (labels.Column(kind, word),)
        for part, row, word in zip(parts, rows, words, strict=True)
    ]
    # The same inputs, or none, for different crews: what is run tells the rows apart.
    for name, title in ((kind, _title), ("task", _first_task)):
        alike = {word for word, count in Counter(words).items() if count > 1}
        titles = [title(plan.source) if word in alike else "" for plan, word in zip(plans, words, strict=True)]
        if len(set(titles) - {""}) > 1:
            words = [_with(title, word) for title, word in zip(titles, words, strict=True)]
            columns = [
                (labels.Column(name, title), *column) if title else column
                for title, column in zip(titles, columns, strict=True)
            ]
    return [
        replace(plan, label=word, parts=() if n in bound else parts[n], columns=column)
        for n, (plan, word, column) in enumerate(zip(plans, words, columns, strict=True))
    ]


def _kind_of_all(plans: Iterable[Plan]) -> str:
    """What people call what is run; of several kinds a word for all of them."""
    kinds = {kind.name if (kind := _kinds.find(plan.source)) else "function" for plan in plans}
    return kinds.pop() if len(kinds) == 1 else "what is run"


def _with(title: str, word: str) -> str:
    return _cut(word if word.startswith(title) else f"{title}: {word}", labels.LABEL_KEPT)


def _cut(text: str, kept: int) -> str:
    return text if len(text) <= kept else f"{text[: kept - 1]}…"


def _row(inputs: Mapping[str, Any], secrets: Secrets | None = None) -> dict[str, str]:
    """Inputs as people read them, a line each, without secrets."""
    known = secrets if secrets is not None else Secrets(given=inputs)
    return {str(name): one_line(value, known) for name, value in known.scrub_inputs(inputs).items()}


def _title(source: Any) -> str:
    kind = _kinds.find(source)
    return _cut(kind.label(source) if kind else _name(source), labels.LABEL_KEPT)


def _first_task(source: Any) -> str:
    """What the first task of a crew is; empty for anything else."""
    tasks = getattr(source, "tasks", None) or [None]
    text = getattr(tasks[0], "name", "") or getattr(tasks[0], "description", "")
    return _cut(one_line(text, Secrets(given={})), STEP_KEPT)


def _bound(source: Any) -> dict[str, Any]:
    """The values that a factory brings with it: its defaults (`lambda t=topic: ...`), a partial's, an object's."""
    if _kinds.find(source):
        return {}
    function = getattr(source, "func", source)
    function = getattr(function, "__func__", function)
    found: dict[str, Any] = dict(getattr(getattr(source, "__self__", None), "__dict__", {}))
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # no function, or a cell that is not filled yet
        found |= inspect.getclosurevars(function).nonlocals
    with contextlib.suppress(TypeError, ValueError):  # builtins tell no signature
        found |= zip(inspect.signature(function).parameters, getattr(source, "args", ()), strict=False)
    return {n: v for n, v in {**found, **_defaults(source)}.items() if isinstance(v, str | int | float)}


def _name(source: Any) -> str:
    source = getattr(source, "func", source)  # of a partial
    return str(getattr(source, "__name__", None) or getattr(type(source), "__name__", "factory"))
