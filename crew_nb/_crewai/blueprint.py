"""What a user hands over (a Crew, a factory, inputs) becomes plans; a user's own Crew is never run.

A plan is refused before anything starts, with the line to write instead, unless each of its runs can have a crew of
its own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import factories as _factories
from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import naming as _naming
from crew_nb._crewai.definitions import is_definition
from crew_nb._crewai.inputs import (
    Copies,
    check_files,
    check_lasting,
    check_there,
    given,
    is_file,
    missing_text,
    own,
    plain_value,
    row_keys,
    rows_of,
    short,
)
from crew_nb._crewai.placeholders import Data, names_in
from crew_nb._crewai.projects import closed_for_others, closing_project
from crew_nb._crewai.startable import startable, template
from crew_nb._state import labels
from crew_nb._state.errors import BlueprintError, CrewNbError, UnfaithfulCopyError
from crew_nb._state.secret_looks import HIDDEN
from crew_nb._state.secrets import learn_environment

if TYPE_CHECKING:
    from crew_nb._crewai.inputs import Key, Verb
    from crew_nb._crewai.kind import Kind
    from crew_nb._state.secrets import Secrets

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
            subject, written = _factories.call(self.source, self.inputs)
        kind = given or _kinds.kind_of(subject)
        data = Data(self._taken, written)
        if not kind.takes_other_inputs(subject):
            names = kind.placeholders(subject, data)
            missing = sorted(names - set(self.inputs or {}) - set(self.defaults))
            if missing and (not self.is_taken or kind.needs & set(missing)):
                raise BlueprintError(missing_text(missing, self.inputs, names, self.verb, BRACES_MEANT))
            reached = {
                *names,
                *kind.reads(subject),
                *({} if given else _factories.arguments(self.source, self.inputs or {})),
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
        return set(self.inputs or {}) <= set(_factories.arguments(self.source, self.inputs or {}))

    def relabel(
        self, words: str, columns: tuple[labels.Column, ...], secrets: Secrets
    ) -> tuple[str, tuple[labels.Column, ...]]:
        """The label `words` and the columns without what has become known as a secret since."""
        if "…" not in words or not self.parts or not self.inputs:
            return secrets.scrub(words), tuple(map(secrets.scrub_fields, columns))
        # Where it was cut short, half a secret may be left that would not be known again.
        row = _naming.row_of(self.inputs, secrets)
        whole = [replace(part, skip=0) if HIDDEN in row.get(part.name, "") else part for part in self.parts]
        whole = [part for part in whole if part.name in row]
        cells = {part.name: part.shown(row[part.name]) for part in whole}
        anew = (replace(c, value=cells.get(c.name, secrets.scrub(c.value))) for c in columns)
        return labels.label(whole, row), tuple(anew)

    def kickoff_inputs(self, kind: Kind, subject: Any) -> dict[str, Any] | None:
        """The inputs of its kickoff, in the types that CrewAI's interpolation takes where that fills them in."""
        if kind.takes_objects:
            given = None if self.inputs is None else {k: own(v) for k, v in self.inputs.items()}
            taken = set() if _kinds.find(self.source) else set(_factories.arguments(self.source, self.inputs or {}))
            return kind.inputs(subject, given, taken)
        found = {**self.defaults, **self._shown}
        return found or (None if self.inputs is None else {})

    @property
    def defaults(self) -> dict[str, Any]:
        """What the factory takes where the inputs say nothing: a placeholder of the same name says the same."""
        if _kinds.find(self.source):
            return {}
        return {
            name: value for name, value in _factories.defaults(self.source).items() if name not in (self.inputs or {})
        }

    @property
    def _taken(self) -> dict[str, Any]:
        """What a factory takes by name, as far as a prompt can show it."""
        if _kinds.find(self.source):
            return {}
        taken = _factories.arguments(self.source, self.inputs or {})
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
                plans.append(planned(index, source, inputs, where=f"crew {index}", verb=verb, copies=copies))
        _refuse_shared_servers(plans)
    finally:
        for item in given:
            if inspect.iscoroutine(item):
                item.close()  # refused, and nobody else will await it
    return _named(plans)


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
                planned(i, blueprint, row, where=where, verb=verb, copies=copies, checked=True, from_frame=from_frame)
            )
    with _looking_at("inputs"):
        plans[:] = _named(plans)
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
        OptionError: When one of `input_files` is no file.
    """
    check_files(how.get("input_files", {}))
    if "response_format" in how:
        for plan in plans:
            kind = _kinds.find(plan.source)
            if kind is not None and "response_format" not in kind.arguments:
                raise BlueprintError(
                    f"response_format= is for an Agent. For a {kind.name}, write output_pydantic=... on its last task."
                )
    return [replace(plan, how={**plan.how, **how}) for plan in plans] if how else plans


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
        f" Where it is a placeholder, write {given(names, plan.verb)}." if names else ""
    )


def _unused_text(factors: list[str]) -> str:
    names = ", ".join(factors)
    return f"the factor {names} changes nothing: no parameter of the function and no text of the crew has that name."


def planned(
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
    """One run: its inputs checked and copied.

    Raises:
        BlueprintError: When it cannot be run, with `where` it was given.
    """
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
        taken = _factories.arguments(source, inputs or {}, verb) if kind is None else {}
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
                raise BlueprintError(missing_text(missing, inputs, names, verb, BRACES_MEANT))
            if not checked:
                source = template(source)
        copies = copies or Copies()
        given = None if inputs is None else {key: copies.of(value) for key, value in inputs.items()}
    except BlueprintError as error:
        raise type(error)(f"{where}: {error}") from error.__cause__
    except RecursionError:
        raise BlueprintError(f"{where}: the inputs are nested too deep, or hold themselves.") from None
    return Plan(index=index, source=source, inputs=given, label="", verb=verb)


def _named(plans: list[Plan]) -> list[Plan]:
    names = _naming.names([(plan.source, plan.inputs) for plan in plans])
    return [
        replace(plan, label=name.label, parts=name.parts, columns=name.columns)
        for plan, name in zip(plans, names, strict=True)
    ]
